"""Train a Keras network, on any of Keras's backends."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ferlib.core.errors import ArtifactError, FerlibError
from ferlib.evaluation import best_epoch
from ferlib.export.onnx import save_network
from ferlib.models import ModelSpec
from ferlib.runs.classifier import load_keras_model
from ferlib.runs.folder import read_config
from ferlib.training.batches import TrainingBatches
from ferlib.training.callbacks import RunRecorder, find_checkpoint, weights_path
from ferlib.training.fused_batch_norm import fuse_normalization
from ferlib.training.options import TrainingOptions

logger = logging.getLogger(__name__)


def train_network(
    spec: ModelSpec,
    train: tuple[np.ndarray, np.ndarray],
    val: tuple[np.ndarray, np.ndarray],
    run_dir: Path,
    options: TrainingOptions,
    *,
    model_options: dict,
    sample_weight: np.ndarray,
    resume: bool = False,
    tensorboard: bool = False,
    on_epoch: Callable[[list[dict[str, float]]], None] | None = None,
) -> keras.Model:
    """Train a network, keep the epoch of the best validation accuracy, and write it as Keras and ONNX models.

    Parameters
    ----------
    spec : ModelSpec
    train, val : tuple of (ndarray of shape (n, H, W, C), dtype uint8; ndarray of shape (n, n_classes), dtype float32)
        Images that fit the model, and targets that sum to 1. Those of `train` may be twice as wide, the right half
        being what a second output shall answer.
    run_dir : Path
        Where history, checkpoint and models are written.
    options : TrainingOptions
    model_options : dict
        Keywords of the builder, ``n_classes``, ``image_size`` and ``channels`` among them.
    sample_weight : ndarray of shape (n,), dtype float32
        Each training image's weight in the loss.
    resume : bool
        Continue from the folder's checkpoint, if there is one.
    tensorboard : bool
        Write logs for TensorBoard into ``logs`` in the run's folder.
    on_epoch : callable, optional
        Called with the history after each epoch.

    Returns
    -------
    keras.Model
        The network that was written, in float32.

    Raises
    ------
    FerlibError
        The loss became infinite or not-a-number, or the network cannot take the images that a crop leaves.
    ArtifactError
        The run to start from has no network, or one of another kind.
    """
    steps = -(-len(train[0]) // options.batch_size)
    network = build_for_training(spec, options, model_options)
    if options.init_from is not None:
        _copy_weights(options.init_from, network, spec)
    n_classes = val[1].shape[1]
    n_more = train[1].shape[1] - n_classes
    model = _add_output(network, n_more, options.seed) if n_more else network
    # Nothing is asked of the second output in validation, so its loss there is nothing.
    val_targets = np.pad(val[1], ((0, 0), (0, n_more)))
    history, last = find_checkpoint(run_dir) if resume else ([], None)
    batches = TrainingBatches(
        *train,
        batch_size=options.batch_size,
        augmentation=options.augmentation,
        sample_weight=sample_weight,
        mixup=options.mixup,
        cutmix=options.cutmix,
        seed=options.seed,
        first_epoch=len(history),
    )
    callbacks = [RunRecorder(run_dir, history, options, on_epoch)]
    if tensorboard:
        callbacks.append(keras.callbacks.TensorBoard(run_dir / "logs", write_graph=False))
    frozen = min(options.frozen_epochs, options.epochs)
    for start, stop in ((0, frozen), (frozen, options.epochs)):
        if start == stop:
            continue
        if start < frozen:
            _freeze_backbone(model, frozen=True)
        elif frozen:
            _freeze_backbone(model, frozen=False)
        compile_network(model, options, steps * (stop - start), options.peak_rate(start), n_classes)
        if last is not None and start < len(history) <= stop:
            model.load_weights(last)
            logger.info("continuing after epoch %d", len(history))
        stopped_early = bool(history) and len(history) - best_epoch(history) >= options.patience
        if len(history) < stop and not stopped_early:
            model.fit(
                batches,
                validation_data=(val[0].astype(np.float32), val_targets),
                validation_batch_size=256,
                initial_epoch=len(history),
                epochs=stop,
                shuffle=False,  # TrainingBatches shuffles
                callbacks=callbacks,
                verbose=0,
            )
    trained = spec.build(**model_options, seed=options.seed, dtype="float32")
    model.load_weights(weights_path(run_dir, "best", best_epoch(history)))
    trained.set_weights(network.get_weights())
    save_network(trained, run_dir, train[0][:8])
    return trained


def build_for_training(spec: ModelSpec, options: TrainingOptions, model_options: dict) -> keras.Model:
    """Return the untrained network, for images of any size where training crops them.

    Parameters
    ----------
    spec : ModelSpec
    options : TrainingOptions
    model_options : dict
        Keywords of the builder, ``n_classes``, ``image_size`` and ``channels`` among them.

    Raises
    ------
    FerlibError
        The network cannot take the images that a crop leaves.
    """
    size = tuple(model_options["image_size"])
    if options.augmentation is not None and options.augmentation.output_size(*size) != size:
        model_options = {**model_options, "image_size": (None, None)}
    try:
        model = spec.build(**model_options, seed=options.seed, dtype=choose_precision(options.precision))
    except (TypeError, ValueError) as error:
        if model_options["image_size"] != (None, None):
            raise
        raise FerlibError(f"{spec.name} takes images of one size only; train it without crop.") from error
    fuse_normalization(model)
    return model


def _copy_weights(run_dir: str, network: keras.Model, spec: ModelSpec) -> None:
    """Give a network the weights of a finished run's, which has to be of the same kind."""
    config = read_config(run_dir)
    weights = load_keras_model(run_dir).get_weights()
    if config["model"] != spec.name or [w.shape for w in weights] != [w.shape for w in network.get_weights()]:
        values = {
            name: json.dumps(value).strip("[]").replace(" ", "") for name, value in config["model_options"].items()
        }
        options = "".join(f" --model-option {name}={value}" for name, value in values.items())
        n_classes = len(config["class_names"])
        raise ArtifactError(
            f"{run_dir} cannot be started from: its weights are those of --model {config['model']}{options} "
            f"for {n_classes} emotions."
        )
    network.set_weights(weights)


def _add_output(network: keras.Model, n_classes: int, seed: int) -> keras.Model:
    """Return a network that shares all layers but the last, with probabilities of its own beside those of the first."""
    features = network.layers[-1].input
    initializer = keras.initializers.GlorotUniform(seed)
    second = keras.layers.Dense(
        n_classes, activation="softmax", kernel_initializer=initializer, dtype="float32", name="second"
    )(features)
    return keras.Model(network.input, keras.layers.Concatenate(dtype="float32")([network.output, second]))


def _freeze_backbone(model: keras.Model, *, frozen: bool) -> None:
    """Keep the weights of the layer named ``backbone`` from being trained, or no longer."""
    try:
        model.get_layer("backbone").trainable = not frozen
    except ValueError:
        raise FerlibError(f"{model.name} has no backbone to freeze; frozen_epochs is for transfer.") from None


def choose_precision(precision: str) -> str:
    """Return Keras's dtype policy for a wish; ``"auto"`` asks the processor whether it computes in bfloat16."""
    if precision != "auto":
        return precision
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text().split() if cpuinfo.exists() else []
    return "mixed_bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


def compile_network(model: keras.Model, options: TrainingOptions, steps: int, peak: float, n_classes: int) -> None:
    """Give the model its loss, and an optimizer whose variables exist, so that weights with its state can be loaded.

    Parameters
    ----------
    model : keras.Model
    options : TrainingOptions
    steps : int
        Batches until the learning rate has run through its schedule.
    peak : float
        Highest learning rate.
    n_classes : int
        How many of the outputs are probabilities of the classes; the others are a second output's.
    """
    optimizer = _make_optimizer(options, max(1, steps), peak)
    model.compile(
        optimizer,
        loss=_make_loss(options, n_classes),
        metrics=[_make_accuracy(n_classes)],
    )
    optimizer.build(model.trainable_variables)


def _make_loss(options: TrainingOptions, n_classes: int) -> Callable:
    """Return the cross-entropy of the labels, and of a second output if there is one, for each image of a batch."""
    crossentropy = keras.losses.categorical_crossentropy

    def loss(y_true: Any, y_pred: Any) -> Any:
        first = crossentropy(y_true[:, :n_classes], y_pred[:, :n_classes], label_smoothing=options.label_smoothing)
        if y_pred.shape[1] == n_classes:
            return first
        return first + options.aux_loss_weight * crossentropy(y_true[:, n_classes:], y_pred[:, n_classes:])

    return loss


def _make_accuracy(n_classes: int) -> Callable:
    """Return the metric by the name of ``accuracy``: whether the likeliest class is the label's."""

    def accuracy(y_true: Any, y_pred: Any) -> Any:
        return keras.metrics.categorical_accuracy(y_true[:, :n_classes], y_pred[:, :n_classes])

    return accuracy


def _make_optimizer(options: TrainingOptions, steps: int, peak: float) -> keras.optimizers.Optimizer:
    """Return the optimizer, with its schedule over `steps` from a peak rate."""
    rate: float | keras.optimizers.schedules.LearningRateSchedule = peak
    if options.schedule == "cosine":
        warmup = max(1, round(steps * min(options.warmup_epochs / options.epochs, 1 / 4)))
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=peak * 0.01,
            warmup_target=peak,
            warmup_steps=warmup,
            decay_steps=max(1, steps - warmup),
        )
    averaging = {"use_ema": bool(options.ema), "ema_momentum": options.ema}
    if options.optimizer == "adam":
        return keras.optimizers.Adam(rate, **averaging)
    if options.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(
            rate, momentum=0.9, nesterov=True, weight_decay=options.weight_decay, **averaging
        )
    else:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=options.weight_decay, **averaging)
    # Shrinking normalization and biases towards zero regularizes nothing.
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return optimizer
