"""Keras callback that records each epoch, and the checkpoint that an interrupted training continues from."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from ferlib.core.console import logger, progress_bar, write_line
from ferlib.core.errors import DivergedError
from ferlib.evaluation import best_epoch
from ferlib.runs.folder import CHECKPOINT, Run
from ferlib.training.options import TrainingOptions

History = list[dict[str, float]]
Logs = dict[str, Any] | None

# Epochs without a lower validation loss after which the schedule "plateau" halves the learning rate.
_PLATEAU_PATIENCE = 3


class RunRecorder(keras.callbacks.Callback):
    """Write the history, the best weights and a checkpoint after each epoch, and stop early.

    The best epoch, patience and plateaus are derived from the history, so a resumed training makes the same decisions
    as an uninterrupted one. The history grows in place; `on_epoch` is called with it after each epoch.
    """

    def __init__(
        self,
        run: Run,
        history: History,
        options: TrainingOptions,
        on_epoch: Callable[[History], None] | None = None,
    ) -> None:
        super().__init__()
        self.run = run
        self.history = history
        self.options = options
        self.on_epoch = on_epoch
        # Averaged weights are validated, and the best of them are kept.
        self._swap = keras.callbacks.SwapEMAWeights() if options.ema else keras.callbacks.Callback()

    def set_model(self, model: keras.Model) -> None:
        """Set the model."""
        super().set_model(model)
        self._swap.set_model(model)

    def on_train_begin(self, logs: Logs = None) -> None:  # noqa: ARG002
        """Open the progress bar."""
        steps, epochs = self.params["steps"], self.options.epochs
        self._bar = progress_bar(total=epochs * steps, initial=len(self.history) * steps, desc="train", unit="batch")
        self._reduce_on_plateau()

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:  # noqa: ARG002
        """Start timing the epoch."""
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:  # noqa: ARG002
        """Advance the progress bar."""
        self._bar.update()

    def on_test_begin(self, logs: Logs = None) -> None:
        """Swap the averaged weights in."""
        self._swap.on_test_begin(logs)

    def on_test_end(self, logs: Logs = None) -> None:
        """Swap the averaged weights out."""
        self._swap.on_test_end(logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Record the epoch. The last weights are written last, because a resumed training starts from them."""
        row: dict[str, float] = {"epoch": epoch + 1, **_plain_names(logs or {})}
        row["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row["seconds"] = round(time.perf_counter() - self._started, 2)
        if not np.isfinite([row["loss"], row["val_loss"]]).all():
            raise DivergedError(f"The loss is {row['loss']} after epoch {epoch + 1}; try a lower --learning-rate.")
        self.history.append(row)
        best = best_epoch(self.history)
        self.run.write_history(self.history)
        if best == epoch + 1:
            self._swap.on_test_begin()
            _save_weights(self.model, weights_path(self.run, "best", best))
            self._swap.on_test_end()
        last = weights_path(self.run, "last", epoch + 1)
        _save_weights(self.model, last)
        for old in set(last.parent.glob("*.weights.h5")) - {last, weights_path(self.run, "best", best)}:
            old.unlink()
        self._write(
            f"epoch {epoch + 1}/{self.options.epochs}  loss {row['loss']:.3f}  accuracy {row['accuracy']:.3f}  "
            f"val loss {row['val_loss']:.3f}  val accuracy {row['val_accuracy']:.3f}"
            f"{'  best' if best == epoch + 1 else ''}"
        )
        self._reduce_on_plateau()
        if self.on_epoch is not None:
            self.on_epoch(self.history)
        if epoch + 1 - best >= self.options.patience:
            self._write(f"validation accuracy has not improved for {self.options.patience} epochs: stopping early")
            self.model.stop_training = True

    def on_train_end(self, logs: Logs = None) -> None:  # noqa: ARG002
        """Close the progress bar."""
        self._bar.close()

    def _reduce_on_plateau(self) -> None:
        """Set the learning rate of the schedule ``"plateau"``."""
        if self.options.schedule == "plateau":
            rate = self.options.peak_rate(len(self.history)) * 0.5 ** count_plateaus(self.history)
            self.model.optimizer.learning_rate = rate

    def _write(self, line: str) -> None:
        """Write a line unless ``--quiet`` is given, also to a log file, which has no progress bar."""
        if logger.level < logging.WARNING:
            write_line(line, error=True)


def count_plateaus(history: History) -> int:
    """Return how often several consecutive epochs brought no lower validation loss."""
    lowest, waited, plateaus = np.inf, 0, 0
    for row in history:
        if row["val_loss"] < lowest:
            lowest, waited = row["val_loss"], 0
        else:
            waited += 1
        if waited == _PLATEAU_PATIENCE:
            waited, plateaus = 0, plateaus + 1
    return plateaus


def find_checkpoint(run: Run) -> tuple[History, Path | None]:
    """Return the history up to the last saved weights, and their file; an empty list and None without a checkpoint."""
    files = run.path.glob(f"{CHECKPOINT}/last-*.weights.h5")
    epochs = [int(path.name.split(".")[0].split("-")[1]) for path in files]
    if not epochs:
        return [], None
    # A training killed after writing the history has one row more than weights.
    return run.history[: max(epochs)], weights_path(run, "last", max(epochs))


def weights_path(run: Run, which: Literal["best", "last"], epoch: int) -> Path:
    """Return the file of an epoch's weights."""
    return run.path / CHECKPOINT / f"{which}-{epoch}.weights.h5"


def _plain_names(logs: dict[str, Any]) -> dict[str, float]:
    """Return an epoch's logs as floats; ``accuracy`` is that of the labels, and validation has no other loss.

    Keras prefixes the metrics of a network with several outputs by the output's name.
    """
    names = {"label_accuracy": "accuracy", "val_label_accuracy": "val_accuracy"}
    unused = ("val_label_loss", "val_votes_loss")
    return {names.get(name, name): float(value) for name, value in logs.items() if name not in unused}


def _save_weights(model: keras.Model, path: Path) -> None:
    """Write weights and optimizer state atomically."""
    # Keras requires the suffix .weights.h5, which `atomic_write` would not keep.
    temporary = path.with_name(f"new-{path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save_weights(temporary)
    temporary.replace(path)
