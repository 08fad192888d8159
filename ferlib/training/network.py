"""Train a Keras network: batches, schedule, recording and resuming, on any of Keras's backends."""

import logging
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

# Keras chooses its backend when it is imported; whoever imports this module is about to train.
import keras
import numpy as np

from ferlib.artifacts import KERAS_MODEL, ONNX_MODEL, read_history, write_history
from ferlib.errors import FerlibError
from ferlib.evaluation import best_epoch
from ferlib.files import replacing
from ferlib.models import ModelSpec
from ferlib.prepare import Augmentation
from ferlib.progress import track
from ferlib.quiet import silent_stderr
from ferlib.training.options import TrainingOptions

logger = logging.getLogger(__name__)

# After so many epochs in a row without a lower validation loss, the schedule "plateau" halves the learning rate.
_PLATEAU = 3


class TrainingBatches(keras.utils.PyDataset):
    """Shuffled, augmented batches whose content depends on the seed, the epoch and the batch's number alone.

    So a resumed training sees the pictures that an uninterrupted one would have seen.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C), dtype uint8
    targets : ndarray of shape (n, n_classes), dtype float32
        One-hot or soft labels.
    batch_size : int
    augmentation : Augmentation or None
    sample_weight : ndarray of shape (n,), dtype float32
    mixup, cutmix : float
        Parameters of the beta distributions of blending; see `TrainingOptions`.
    seed : int
    first_epoch : int
        Where training starts, from 0.
    """

    def __init__(
        self,
        images: np.ndarray,
        targets: np.ndarray,
        *,
        batch_size: int,
        augmentation: Augmentation | None,
        sample_weight: np.ndarray,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        seed: int,
        first_epoch: int = 0,
    ) -> None:
        super().__init__()
        self.images = images
        self.targets = targets
        self.batch_size = batch_size
        self.augmentation = augmentation
        self.sample_weight = sample_weight
        self.mixup = mixup
        self.cutmix = cutmix
        self.seed = seed
        self._start_epoch(first_epoch)

    def __len__(self) -> int:
        """Return the number of batches; the last one may be smaller."""
        return -(-len(self.images) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return batch `index` of the current epoch: float32 pictures of 0 to 255, targets, weights."""
        chosen = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        rng = np.random.default_rng([self.seed, self._epoch, index])
        images, targets, weights = self.images[chosen], self.targets[chosen], self.sample_weight[chosen]
        if self.augmentation is not None:
            images = self.augmentation(images, rng)
        images = images.astype(np.float32)
        if self.mixup or self.cutmix:
            images, targets = blend_batch(images, targets, rng, mixup=self.mixup, cutmix=self.cutmix)
        return images, targets, weights

    def on_epoch_end(self) -> None:
        """Shuffle anew; Keras calls this between epochs."""
        self._start_epoch(self._epoch + 1)

    def _start_epoch(self, epoch: int) -> None:
        """Draw the order of the pictures."""
        self._epoch = epoch
        self._order = np.random.default_rng([self.seed, epoch]).permutation(len(self.images))


def blend_batch(
    images: np.ndarray, targets: np.ndarray, rng: np.random.Generator, *, mixup: float, cutmix: float
) -> tuple[np.ndarray, np.ndarray]:
    """Blend each picture of a batch, and its target, with another one of the batch: mixup, or cutmix, or either.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C), dtype float32
    targets : ndarray of shape (n, n_classes), dtype float32
    rng : numpy.random.Generator
    mixup, cutmix : float
        Parameters of the beta distributions, above 0 for what is wanted.

    Returns
    -------
    images, targets : ndarray
        Of the same shapes.
    """
    partner = rng.permutation(len(images))
    if mixup and not (cutmix and rng.random() < 0.5):
        share = rng.beta(mixup, mixup, len(images)).astype(np.float32)
        images = _blend(images, images[partner], share[:, np.newaxis, np.newaxis, np.newaxis])
        return images, _blend(targets, targets[partner], share[:, np.newaxis])
    height, width = images.shape[1:3]
    side = np.sqrt(1 - rng.beta(cutmix, cutmix))
    # A rectangle that sticks out is clipped, so that every pixel is pasted equally often.
    y, x = rng.uniform(0, height), rng.uniform(0, width)
    top, bottom = np.clip(np.round([y - side * height / 2, y + side * height / 2]), 0, height).astype(int)
    left, right = np.clip(np.round([x - side * width / 2, x + side * width / 2]), 0, width).astype(int)
    images = images.copy()
    images[:, top:bottom, left:right] = images[partner, top:bottom, left:right]
    kept = np.float32(1 - (bottom - top) * (right - left) / (height * width))
    return images, _blend(targets, targets[partner], kept)


def _blend(first: np.ndarray, second: np.ndarray, share: np.ndarray | np.float32) -> np.ndarray:
    """Return `share` of the first and the rest of the second."""
    return first * share + second * (1 - share)


class RunRecorder(keras.callbacks.Callback):
    """Write history, best weights and a checkpoint after each epoch; stop when validation no longer improves.

    What decides (best epoch, patience, plateaus) is read off the history, so a resumed training decides as it would
    have.

    Parameters
    ----------
    run_dir : Path
    history : list of dict
        Rows of the epochs already done; grows in place.
    options : TrainingOptions
    on_epoch : callable, optional
        Called with the history after each epoch.
    """

    def __init__(
        self,
        run_dir: Path,
        history: list[dict[str, float]],
        options: TrainingOptions,
        on_epoch: Callable[[list[dict[str, float]]], None] | None = None,
    ) -> None:
        super().__init__()
        self.run_dir = run_dir
        self.history = history
        self.options = options
        self.on_epoch = on_epoch
        # Validation looks at the averaged weights, and the best of those are kept.
        self._average = keras.callbacks.SwapEMAWeights() if options.ema else keras.callbacks.Callback()

    def set_model(self, model: keras.Model) -> None:
        """Take the model."""
        super().set_model(model)
        self._average.set_model(model)

    def on_train_begin(self, logs: dict | None = None) -> None:  # noqa: ARG002
        """Open the progress bar."""
        steps, epochs = self.params["steps"], self.options.epochs
        self._bar = track(total=epochs * steps, initial=len(self.history) * steps, desc="train", unit="batch")
        self._follow_plateau()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:  # noqa: ARG002
        """Take the time."""
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:  # noqa: ARG002
        """Move the progress bar."""
        self._bar.update()

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Put the averaged weights in place."""
        self._average.on_test_begin(logs)

    def on_test_end(self, logs: dict | None = None) -> None:
        """Put the weights back that training goes on with."""
        self._average.on_test_end(logs)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Record the epoch; the last weights come last, because what they hold is what a resumed training goes by."""
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}}
        row["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row["seconds"] = round(time.perf_counter() - self._started, 2)
        if not np.isfinite([row["loss"], row["val_loss"]]).all():
            raise FerlibError(f"The loss is {row['loss']} after epoch {epoch + 1}; try a lower learning rate.")
        self.history.append(row)
        best = best_epoch(self.history)
        folder = self.run_dir / "checkpoint"
        write_history(self.run_dir, self.history)
        if best == epoch + 1:
            self._average.on_test_begin()
            _save_weights(self.model, folder / _weights_name("best", best))
            self._average.on_test_end()
        _save_weights(self.model, folder / _weights_name("last", epoch + 1))
        keep = {folder / _weights_name("best", best), folder / _weights_name("last", epoch + 1)}
        for old in set(folder.glob("*.weights.h5")) - keep:
            old.unlink()
        self._say(
            f"epoch {epoch + 1}/{self.options.epochs}  loss {row['loss']:.3f}  accuracy {row['accuracy']:.3f}  "
            f"val loss {row['val_loss']:.3f}  val accuracy {row['val_accuracy']:.3f}"
            f"{'  best' if best == epoch + 1 else ''}"
        )
        self._follow_plateau()
        if self.on_epoch is not None:
            self.on_epoch(self.history)
        if epoch + 1 - best >= self.options.patience:
            self._say(f"no better validation accuracy for {self.options.patience} epochs: stopping early")
            self.model.stop_training = True

    def _follow_plateau(self) -> None:
        """Set the learning rate that the history asks for."""
        if self.options.schedule == "plateau":
            rate = _peak_rate(self.options, len(self.history)) * 0.5 ** count_plateaus(self.history)
            self.model.optimizer.learning_rate = rate

    def _say(self, line: str) -> None:
        """Write a line above the progress bar."""
        self._bar.write(line, file=sys.stderr)

    def on_train_end(self, logs: dict | None = None) -> None:  # noqa: ARG002
        """Close the progress bar."""
        self._bar.close()


def count_plateaus(history: list[dict[str, float]], patience: int = _PLATEAU) -> int:
    """Return how often `patience` epochs in a row brought no lower validation loss."""
    lowest, waited, plateaus = np.inf, 0, 0
    for row in history:
        if row["val_loss"] < lowest:
            lowest, waited = row["val_loss"], 0
        else:
            waited += 1
        if waited == patience:
            waited, plateaus = 0, plateaus + 1
    return plateaus


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
        Pictures that fit the model, and targets that sum to 1.
    run_dir : Path
        Where history, checkpoint and models are written.
    options : TrainingOptions
    model_options : dict
        Keywords of the builder, ``n_classes``, ``image_size`` and ``channels`` among them.
    sample_weight : ndarray of shape (n,), dtype float32
        Each training picture's weight in the loss.
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
        The loss became infinite or not-a-number, or the network cannot take the pictures that a crop leaves.
    """
    steps = -(-len(train[0]) // options.batch_size)
    model = _build_for_training(spec, options, model_options)
    history, last = _find_checkpoint(run_dir) if resume else ([], None)
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
        _compile(model, options, steps * (stop - start), _peak_rate(options, start))
        if last is not None and start < len(history) <= stop:
            model.load_weights(last)
            logger.info("continuing after epoch %d", len(history))
        stopped_early = bool(history) and len(history) - best_epoch(history) >= options.patience
        if len(history) < stop and not stopped_early:
            model.fit(
                batches,
                validation_data=(val[0].astype(np.float32), val[1]),
                validation_batch_size=256,
                initial_epoch=len(history),
                epochs=stop,
                shuffle=False,  # TrainingBatches shuffles
                callbacks=callbacks,
                verbose=0,
            )
    trained = spec.build(**model_options, seed=options.seed, dtype="float32")
    trained.load_weights(run_dir / "checkpoint" / _weights_name("best", best_epoch(history)))
    save_network(trained, run_dir, train[0][:8])
    return trained


def _build_for_training(spec: ModelSpec, options: TrainingOptions, model_options: dict) -> keras.Model:
    """Return the untrained network, for pictures of any size where training crops them."""
    size = tuple(model_options["image_size"])
    if options.augmentation is not None and options.augmentation.output_size(*size) != size:
        model_options = {**model_options, "image_size": (None, None)}
    try:
        return spec.build(**model_options, seed=options.seed, dtype=choose_precision(options.precision))
    except (TypeError, ValueError) as error:
        if model_options["image_size"] != (None, None):
            raise
        raise FerlibError(f"{spec.name} takes pictures of one size only; train it without crop.") from error


def _find_checkpoint(run_dir: Path) -> tuple[list[dict[str, float]], Path | None]:
    """Return the history up to the last weights, and these; none of both for a folder without."""
    epochs = [int(path.name.split(".")[0].split("-")[1]) for path in run_dir.glob("checkpoint/last-*.weights.h5")]
    if not epochs:
        return [], None
    # A history written just before a kill may know one epoch more than the weights.
    return read_history(run_dir)[: max(epochs)], run_dir / "checkpoint" / _weights_name("last", max(epochs))


def _freeze_backbone(model: keras.Model, *, frozen: bool) -> None:
    """Keep the weights of the layer named ``backbone`` from being trained, or no longer."""
    try:
        model.get_layer("backbone").trainable = not frozen
    except ValueError:
        raise FerlibError(f"{model.name} has no backbone to freeze; frozen_epochs is for transfer.") from None


def save_network(model: keras.Model, run_dir: Path, images: np.ndarray) -> None:
    """Write a network as ``model.keras`` and ``model.onnx`` and make sure that both say the same.

    Parameters
    ----------
    model : keras.Model
    run_dir : Path
    images : ndarray of shape (n, H, W, C), dtype uint8
        Some pictures to compare the probabilities on.

    Raises
    ------
    FerlibError
        The exported network's probabilities differ by 1e-4 or more.
    """
    expected = model.predict_on_batch(images.astype(np.float32))
    with replacing(run_dir / KERAS_MODEL) as path:
        model.save(path)
    if keras.backend.backend() == "tensorflow":
        export_onnx(model, run_dir, images, expected)
        return
    # Keras exports to ONNX through TensorFlow or PyTorch; the model is the same on each.
    np.savez(run_dir / "export.npz", images=images, expected=expected)
    try:
        subprocess.run(  # noqa: S603
            [sys.executable, "-c", _EXPORT, str(run_dir)],
            env={**os.environ, "KERAS_BACKEND": "tensorflow"},
            check=True,
            capture_output=True,
            text=True,
        )
    except subprocess.CalledProcessError as error:
        if "No module named 'tensorflow'" not in error.stderr:
            raise FerlibError(f"The network could not be exported to ONNX:\n{error.stderr[-2000:]}") from None
        logger.warning(
            "no TensorFlow here, so no %s; `python -m ferlib.train --resume` writes it where there is one", ONNX_MODEL
        )
    finally:
        (run_dir / "export.npz").unlink()


_EXPORT = """
import pathlib, sys
import numpy as np
from ferlib.artifacts import load_keras_model
from ferlib.quiet import start_keras
start_keras()
from ferlib.training.network import export_onnx
run_dir = pathlib.Path(sys.argv[1])
arrays = np.load(run_dir / "export.npz")
export_onnx(load_keras_model(run_dir), run_dir, arrays["images"], arrays["expected"])
"""


def export_onnx(model: keras.Model, run_dir: Path, images: np.ndarray, expected: np.ndarray) -> None:
    """Write ``model.onnx``, unless its probabilities for pictures differ from those expected.

    Parameters
    ----------
    model : keras.Model
        On Keras's TensorFlow backend.
    run_dir : Path
    images : ndarray of shape (n, H, W, C), dtype uint8
    expected : ndarray of shape (n, n_classes), dtype float32

    Raises
    ------
    FerlibError
        The exported network's probabilities differ by 1e-4 or more.
    """
    import onnxruntime

    model.predict_on_batch(images.astype(np.float32))  # only what was called once can be exported
    _hold_constants(model)
    with replacing(run_dir / ONNX_MODEL) as path:
        with silent_stderr(), warnings.catch_warnings():
            # Keras 3.15's exporter looks for a name that NumPy 2 warns about.
            warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
            model.export(path, format="onnx", verbose=False)
        session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
        exported = session.run(None, {session.get_inputs()[0].name: images.astype(np.float32)})[0]
        difference = float(np.abs(exported - expected).max())
        if not difference < 1e-4:
            raise FerlibError(f"The exported ONNX network differs from the Keras one by {difference:.1e}.")


def _hold_constants(model: keras.Model) -> None:
    """Give normalisation layers their means and variances as arrays; tensors would become inputs of the ONNX graph."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            _hold_constants(layer)
        elif isinstance(layer, keras.layers.Normalization):
            layer.mean, layer.variance = (keras.ops.convert_to_numpy(value) for value in (layer.mean, layer.variance))


def choose_precision(precision: str) -> str:
    """Return Keras's dtype policy for a wish; ``"auto"`` asks the processor whether it computes in bfloat16."""
    if precision != "auto":
        return precision
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text().split() if cpuinfo.exists() else []
    return "mixed_bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


def _peak_rate(options: TrainingOptions, epochs_done: int) -> float:
    """Return the highest learning rate from an epoch on."""
    # A high rate would spoil a backbone's weights as soon as they may change.
    return options.learning_rate * (0.1 if 0 < options.frozen_epochs <= epochs_done else 1.0)


def _compile(model: keras.Model, options: TrainingOptions, steps: int, peak: float) -> None:
    """Give the model its loss, and an optimizer whose variables exist, so that weights with its state can be loaded."""
    optimizer = _make_optimizer(options, max(1, steps), peak)
    model.compile(
        optimizer,
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=options.label_smoothing),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
    )
    optimizer.build(model.trainable_variables)


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
    # Shrinking normalisation and biases towards zero regularises nothing.
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return optimizer


def _weights_name(which: str, epoch: int) -> str:
    """Return the file name of an epoch's weights, ``which`` being "best" or "last"."""
    return f"{which}-{epoch}.weights.h5"


def _save_weights(model: keras.Model, path: Path) -> None:
    """Write weights and optimizer state whole or not at all."""
    # Keras wants the suffix .weights.h5, of which a temporary name keeps only the last part.
    temporary = path.with_name(f"new-{path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save_weights(temporary)
    temporary.replace(path)
