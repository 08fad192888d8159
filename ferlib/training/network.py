"""Train a Keras network: batches, schedule, recording and resuming, on any of Keras's backends."""

import logging
import sys
import time
import warnings
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

_LAST_WEIGHTS = "last.weights.h5"


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
        seed: int,
        first_epoch: int = 0,
    ) -> None:
        super().__init__()
        self.images = images
        self.targets = targets
        self.batch_size = batch_size
        self.augmentation = augmentation
        self.sample_weight = sample_weight
        self.seed = seed
        self._start_epoch(first_epoch)

    def __len__(self) -> int:
        """Return the number of batches; the last one may be smaller."""
        return -(-len(self.images) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return batch `index` of the current epoch: float32 pictures of 0 to 255, targets, weights."""
        chosen = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        images = self.images[chosen]
        if self.augmentation is not None:
            images = self.augmentation(images, np.random.default_rng([self.seed, self._epoch, index]))
        return images.astype(np.float32), self.targets[chosen], self.sample_weight[chosen]

    def on_epoch_end(self) -> None:
        """Shuffle anew; Keras calls this between epochs."""
        self._start_epoch(self._epoch + 1)

    def _start_epoch(self, epoch: int) -> None:
        """Draw the order of the pictures."""
        self._epoch = epoch
        self._order = np.random.default_rng([self.seed, epoch]).permutation(len(self.images))


class RunRecorder(keras.callbacks.Callback):
    """Write history, best weights and a checkpoint after each epoch; stop when validation no longer improves.

    What decides (best epoch, patience) is read off the history, so a resumed training decides as it would have.

    Parameters
    ----------
    run_dir : Path
    history : list of dict
        Rows of the epochs already done; grows in place.
    patience : int
        Epochs without a better validation accuracy before training stops.
    epochs : int
        How many epochs there will be at most, for the progress bar.
    """

    def __init__(self, run_dir: Path, history: list[dict[str, float]], *, patience: int, epochs: int) -> None:
        super().__init__()
        self.run_dir = run_dir
        self.history = history
        self.patience = patience
        self.epochs = epochs

    def on_train_begin(self, logs: dict | None = None) -> None:  # noqa: ARG002
        """Open the progress bar."""
        steps = self.params["steps"]
        self._bar = track(total=self.epochs * steps, initial=len(self.history) * steps, desc="train", unit="batch")

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:  # noqa: ARG002
        """Take the time."""
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:  # noqa: ARG002
        """Move the progress bar."""
        self._bar.update()

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
            _save_weights(self.model, folder / _best_weights(best))
        _save_weights(self.model, folder / _LAST_WEIGHTS)
        for old in set(folder.glob(_best_weights("*"))) - {folder / _best_weights(best)}:
            old.unlink()
        self._say(
            f"epoch {epoch + 1}/{self.epochs}  loss {row['loss']:.3f}  accuracy {row['accuracy']:.3f}  "
            f"val loss {row['val_loss']:.3f}  val accuracy {row['val_accuracy']:.3f}"
            f"{'  best' if best == epoch + 1 else ''}"
        )
        if epoch + 1 - best >= self.patience:
            self._say(f"no better validation accuracy for {self.patience} epochs: stopping early")
            self.model.stop_training = True

    def _say(self, line: str) -> None:
        """Write a line above the progress bar."""
        self._bar.write(line, file=sys.stderr)

    def on_train_end(self, logs: dict | None = None) -> None:  # noqa: ARG002
        """Close the progress bar."""
        self._bar.close()


def train_network(
    spec: ModelSpec,
    train: tuple[np.ndarray, np.ndarray],
    val: tuple[np.ndarray, np.ndarray],
    run_dir: Path,
    options: TrainingOptions,
    *,
    model_options: dict,
    resume: bool = False,
) -> None:
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
    resume : bool
        Continue from the folder's checkpoint, if there is one.

    Raises
    ------
    FerlibError
        The loss became infinite or not-a-number.
    """
    steps = -(-len(train[0]) // options.batch_size)
    model = spec.build(**model_options, seed=options.seed, dtype=choose_precision(options.precision))
    _compile(model, options, steps)
    history: list[dict[str, float]] = []
    last = run_dir / "checkpoint" / _LAST_WEIGHTS
    if resume and last.exists():
        model.load_weights(last)
        # The weights know how far they came; a history written just before a kill may know one epoch more.
        history = read_history(run_dir)[: int(model.optimizer.iterations) // steps]
        logger.info("continuing after epoch %d", len(history))
    stopped_early = bool(history) and len(history) - best_epoch(history) >= options.patience
    if len(history) < options.epochs and not stopped_early:
        batches = TrainingBatches(
            *train,
            batch_size=options.batch_size,
            augmentation=options.augmentation,
            sample_weight=_sample_weight(train[1], options.class_weight),
            seed=options.seed,
            first_epoch=len(history),
        )
        model.fit(
            batches,
            validation_data=(val[0].astype(np.float32), val[1]),
            validation_batch_size=256,
            initial_epoch=len(history),
            epochs=options.epochs,
            shuffle=False,  # TrainingBatches shuffles
            callbacks=[RunRecorder(run_dir, history, patience=options.patience, epochs=options.epochs)],
            verbose=0,
        )
    model.load_weights(run_dir / "checkpoint" / _best_weights(best_epoch(history)))
    trained = spec.build(**model_options, seed=options.seed, dtype="float32")
    trained.set_weights(model.get_weights())
    save_network(trained, run_dir, train[0][:8])


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
    import onnxruntime

    expected = model.predict_on_batch(images.astype(np.float32))
    with replacing(run_dir / KERAS_MODEL) as path:
        model.save(path)
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


def choose_precision(precision: str) -> str:
    """Return Keras's dtype policy for a wish; ``"auto"`` asks the processor whether it computes in bfloat16."""
    if precision != "auto":
        return precision
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text().split() if cpuinfo.exists() else []
    return "mixed_bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


def _compile(model: keras.Model, options: TrainingOptions, steps: int) -> None:
    """Give the model its loss, and an optimizer whose variables exist, so that weights with its state can be loaded."""
    total, warmup = steps * options.epochs, round(steps * min(options.warmup_epochs, options.epochs / 4))
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=options.learning_rate * 0.01,
        warmup_target=options.learning_rate,
        warmup_steps=max(1, warmup),
        decay_steps=max(1, total - warmup),
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=options.weight_decay)
    # Shrinking normalisation and biases towards zero regularises nothing.
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    model.compile(
        optimizer,
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=options.label_smoothing),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
    )
    optimizer.build(model.trainable_variables)


def _sample_weight(targets: np.ndarray, class_weight: str) -> np.ndarray:
    """Return each picture's weight in the loss, float32 (n,), 1 on average."""
    if class_weight == "none":
        return np.ones(len(targets), np.float32)
    from sklearn.utils.class_weight import compute_sample_weight

    return compute_sample_weight("balanced", targets.argmax(axis=1)).astype(np.float32)


def _best_weights(epoch: int | str) -> str:
    """Return the file name of an epoch's weights."""
    return f"best-{epoch}.weights.h5"


def _save_weights(model: keras.Model, path: Path) -> None:
    """Write weights and optimizer state whole or not at all."""
    # Keras wants the suffix .weights.h5, of which a temporary name keeps only the last part.
    temporary = path.with_name(f"new-{path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save_weights(temporary)
    temporary.replace(path)
