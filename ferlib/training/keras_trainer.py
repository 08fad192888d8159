"""Train a Keras network on any of Keras's backends."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ferlib.core.errors import ArtifactError, DataError, OptionError
from ferlib.core.images import fit_to_model
from ferlib.data import ImageDataset
from ferlib.evaluation import best_epoch
from ferlib.evaluation.calibration import fit_calibration
from ferlib.export.onnx import save_network
from ferlib.models import ModelSpec
from ferlib.runs.classifier import load_keras_model
from ferlib.runs.folder import CHECKPOINT, LOGS, Run
from ferlib.runs.records import PhotographsOutput, TestTimeAugmentation
from ferlib.training.batches import Arrays, TrainingBatches
from ferlib.training.callbacks import RunRecorder, find_checkpoint, weights_path
from ferlib.training.options import ClassWeight, Precision, TrainingOptions
from ferlib.training.photographs import add_photographs_output, photographs_shares
from ferlib.training.targets import blend_with_teacher, mean_shares, vote_targets
from ferlib.training.trainer import FitResult, training_images

logger = logging.getLogger(__name__)

OnEpoch = Callable[[list[dict[str, float]]], None]


@dataclass
class KerasTrainer:
    """Trainer of Keras networks; an interrupted fit continues after its last finished epoch.

    The network is trained with named outputs: ``label``, and ``votes`` if there are raters' votes to learn. The run
    keeps the weights of the epoch with the highest validation accuracy of ``label``.

    See `ferlib.training.train_model` for the parameters.
    """

    spec: ModelSpec
    options: TrainingOptions
    model_options: Mapping[str, Any]
    tensorboard: bool = False
    export: bool = True
    on_epoch: OnEpoch | None = None
    # Averaging with the mirror image doubles the time, for 0 to 0.2 points on val.
    test_time_augmentation: TestTimeAugmentation = "none"
    n_members: None = None

    @property
    def backend(self) -> str:
        """The Keras backend."""
        return str(keras.backend.backend())

    def fit(self, dataset: ImageDataset, run: Run, *, resume: bool) -> FitResult:
        """Train the network and write it; see `Trainer.fit`."""
        options, class_names = self.options, dataset.class_names
        images, labels = training_images(self.spec, dataset, options)
        val = dataset.split("val")
        one_hot = np.eye(len(class_names), dtype=np.float32)
        cache = run.path / CHECKPOINT / "teacher.npy"
        targets = {"label": blend_with_teacher(images, one_hot[labels], class_names, options, cache)}
        if options.votes is not None:
            train = dataset.split("train")
            targets["votes"] = vote_targets(options.votes, train.names, class_names, train.labels)
        sizes = {"n_classes": len(class_names), "image_size": self.spec.image_size, "channels": self.spec.channels}
        network = build_for_training(self.spec, options, {**sizes, **self.model_options})
        if options.init_from is not None:
            _copy_weights(Run(options.init_from), network, self.spec)
        model = name_outputs(network, len(class_names), options)
        history, weights = find_checkpoint(run) if resume else ([], None)
        weight = sample_weight(labels, options.class_weight)
        batches = TrainingBatches(images, targets, weight, options, first_epoch=len(history))
        val_images = fit_to_model(val.images, image_size=self.spec.image_size, channels=self.spec.channels)
        val_targets = dict.fromkeys(targets, one_hot[val.labels])
        # Validation measures the labels only.
        val_weights = {name: np.full(len(val), float(name == "label"), np.float32) for name in targets}
        validation = (val_images.astype(np.float32), val_targets, val_weights)
        self._fit_epochs(model, batches, validation, run, history, weights)
        # Not into the compiled model: with a frozen backbone, the optimizer's state had fewer variables.
        keras.Model(model.input, model.output).load_weights(weights_path(run, "best", best_epoch(history)))
        trained = self.spec.build(**sizes, **self.model_options, seed=options.seed, dtype="float32")
        trained.set_weights(network.get_weights())
        photographs = None
        if options.votes is not None:
            trained, photographs = self.add_photographs(trained, model, dataset, labels, targets["votes"])
        save_network(trained, run.path, images[:8], onnx=self.export)
        return FitResult(parameters=int(trained.count_params()), photographs=photographs)

    def add_photographs(
        self,
        trained: keras.Model,
        model: keras.Model,
        dataset: ImageDataset,
        labels: np.ndarray,
        votes: np.ndarray,
    ) -> tuple[keras.Model, PhotographsOutput]:
        """Return the trained network with an output for photographs, calibrated on the raters' majority in val."""
        assert self.options.votes is not None
        n_classes = len(dataset.class_names)
        label_shares = np.maximum(np.bincount(labels, minlength=n_classes), 1) / len(labels)
        vote_shares = mean_shares(votes)
        trained = add_photographs_output(
            trained, model.get_layer("votes"), label_shares=label_shares, vote_shares=vote_shares
        )
        val = dataset.split("val")
        images = fit_to_model(val.images, image_size=self.spec.image_size, channels=self.spec.channels)
        answers = trained.predict(images.astype(np.float32), batch_size=256, verbose=0)["photographs"]
        rated = vote_targets(self.options.votes, val.names, dataset.class_names)
        # A probability is that of the emotion that most raters name.
        clear = (rated == rated.max(axis=1, keepdims=True)).sum(axis=1) == 1
        if not clear.any():
            raise DataError("--votes: raters agree on an emotion for no image of val, so nothing can be calibrated.")
        calibration = fit_calibration(rated[clear].argmax(axis=1), answers[clear], per_class=False)
        shares = photographs_shares(vote_shares).round(6)
        return trained, PhotographsOutput(shares=tuple(shares.tolist()), calibration=calibration)

    def _fit_epochs(
        self,
        model: keras.Model,
        batches: TrainingBatches,
        validation: tuple[np.ndarray, Arrays, Arrays],
        run: Run,
        history: list[dict[str, float]],
        weights: Path | None,
    ) -> None:
        """Train the epochs that the history lacks, starting from the last one's weights; the history grows in place."""
        options = self.options
        recorder = RunRecorder(run, history, options, self.on_epoch)
        callbacks: list[keras.callbacks.Callback] = [recorder]
        if self.tensorboard:
            callbacks.append(keras.callbacks.TensorBoard(run.path / LOGS, write_graph=False))
        frozen = min(options.frozen_epochs, options.epochs)
        for start, stop in ((0, frozen), (frozen, options.epochs)):
            if start == stop:
                continue
            if frozen:
                freeze_backbone(model, frozen=start < frozen)
            compile_network(model, options, len(batches) * (stop - start), options.peak_rate(start))
            if weights is not None and start < len(history) <= stop:
                model.load_weights(weights)
                logger.info("continuing after epoch %d", len(history))
            stopped_early = bool(history) and len(history) - best_epoch(history) >= options.patience
            if len(history) < stop and not stopped_early:
                try:
                    model.fit(
                        batches,
                        validation_data=validation,
                        validation_batch_size=256,
                        initial_epoch=len(history),
                        epochs=stop,
                        shuffle=False,  # TrainingBatches shuffles
                        callbacks=callbacks,
                        verbose=0,
                    )
                finally:
                    # `on_epoch` may end the training.
                    recorder.on_train_end()


def build_for_training(spec: ModelSpec, options: TrainingOptions, model_options: Mapping[str, Any]) -> keras.Model:
    """Return the untrained network, without a fixed image size if training crops the images.

    `model_options` include ``n_classes``, ``image_size`` and ``channels``.
    """
    size = tuple(model_options["image_size"])
    cropped = options.augmentation is not None and options.augmentation.output_size(*size) != size
    arguments = {**model_options, "image_size": (None, None)} if cropped else model_options
    try:
        network = spec.build(**arguments, seed=options.seed, dtype=choose_precision(options.precision))
    except (TypeError, ValueError, OptionError) as error:
        if not cropped:
            raise
        raise OptionError(f"{spec.name} needs images of a fixed size: train it without crop.") from error
    if keras.backend.backend() != "tensorflow":
        return network
    from ferlib.training.tensorflow_layers import adapt_to_tensorflow

    return adapt_to_tensorflow(network)


def name_outputs(network: keras.Model, n_classes: int, options: TrainingOptions) -> keras.Model:
    """Return the network with the output ``label``, and with votes a dense layer ``votes`` on the same features."""
    outputs = {"label": network.output}
    if options.votes is not None:
        votes = keras.layers.Dense(
            n_classes,
            activation="softmax",
            kernel_initializer=keras.initializers.GlorotUniform(options.seed),
            dtype="float32",
            name="votes",
        )
        outputs["votes"] = votes(network.layers[-1].input)
    return keras.Model(network.input, outputs, name=network.name)


def compile_network(model: keras.Model, options: TrainingOptions, steps: int, peak_rate: float) -> None:
    """Compile a network from `name_outputs` for a number of optimizer steps, and create the optimizer's variables."""
    losses = {"label": keras.losses.CategoricalCrossentropy(label_smoothing=options.label_smoothing)}
    loss_weights = {"label": 1.0}
    if options.votes is not None:
        losses["votes"] = keras.losses.CategoricalCrossentropy()
        loss_weights["votes"] = options.aux_loss_weight
    optimizer = make_optimizer(options, max(1, steps), peak_rate)
    accuracy = keras.metrics.CategoricalAccuracy(name="accuracy")
    model.compile(optimizer, loss=losses, loss_weights=loss_weights, metrics={"label": [accuracy]})
    # A checkpoint holds the optimizer's state, which can be loaded only into existing variables.
    optimizer.build(model.trainable_variables)


def make_optimizer(options: TrainingOptions, steps: int, peak_rate: float) -> keras.optimizers.Optimizer:
    """Return the optimizer with its learning-rate schedule over a number of steps."""
    rate: float | keras.optimizers.schedules.LearningRateSchedule = peak_rate
    if options.schedule == "cosine":
        warmup = max(1, round(steps * min(options.warmup_epochs / options.epochs, 1 / 4)))
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=peak_rate * 0.01,
            warmup_target=peak_rate,
            warmup_steps=warmup,
            decay_steps=max(1, steps - warmup),
        )
    averaging = {"use_ema": bool(options.ema), "ema_momentum": options.ema}
    if options.optimizer == "adam":
        return keras.optimizers.Adam(rate, **averaging)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=options.weight_decay, **averaging)
    # Decay of normalization parameters and biases does not regularize.
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return optimizer


def choose_precision(precision: Precision) -> str:
    """Return a Keras dtype policy; ``"auto"`` is mixed bfloat16 if the processor has instructions for it."""
    if precision != "auto":
        return precision
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text().split() if cpuinfo.exists() else []
    return "mixed_bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


def sample_weight(labels: np.ndarray, class_weight: ClassWeight) -> np.ndarray:
    """Return the weight of each image in the loss, float32 (n,), with mean 1."""
    if class_weight == "none":
        return np.ones(len(labels), np.float32)
    from sklearn.utils.class_weight import compute_sample_weight

    return np.asarray(compute_sample_weight("balanced", labels), np.float32)


def _copy_weights(run: Run, network: keras.Model, spec: ModelSpec) -> None:
    """Give a network the weights of a finished run of the same architecture."""
    config = run.config
    weights = load_keras_model(run.path).get_weights()
    if config.model != spec.name or [w.shape for w in weights] != [w.shape for w in network.get_weights()]:
        values = {name: json.dumps(value).strip("[]").replace(" ", "") for name, value in config.model_options.items()}
        options = "".join(f" --model-option {name}={value}" for name, value in values.items())
        raise ArtifactError(
            f"The weights of {run.path} do not fit: it was trained with --model {config.model}{options} "
            f"for {len(config.class_names)} classes."
        )
    network.set_weights(weights)


def freeze_backbone(model: keras.Model, *, frozen: bool) -> None:
    """Set whether the layer named ``backbone`` keeps its weights in training."""
    try:
        model.get_layer("backbone").trainable = not frozen
    except ValueError:
        raise OptionError(f"{model.name} has no backbone: --frozen-epochs is for transfer.") from None
