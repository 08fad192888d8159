"""What a training leaves behind after each epoch, and where an interrupted one goes on."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from ferlib.core.console import progress_bar
from ferlib.core.errors import FerlibError
from ferlib.evaluation import best_epoch
from ferlib.runs.folder import read_history, write_history
from ferlib.training.options import TrainingOptions

# After so many epochs in a row without a lower validation loss, the schedule "plateau" halves the learning rate.
_PLATEAU = 3


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
        self._bar = progress_bar(total=epochs * steps, initial=len(self.history) * steps, desc="train", unit="batch")
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
        write_history(self.run_dir, self.history)
        if best == epoch + 1:
            self._average.on_test_begin()
            _save_weights(self.model, weights_path(self.run_dir, "best", best))
            self._average.on_test_end()
        last = weights_path(self.run_dir, "last", epoch + 1)
        _save_weights(self.model, last)
        for old in set(last.parent.glob("*.weights.h5")) - {last, weights_path(self.run_dir, "best", best)}:
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
            rate = self.options.peak_rate(len(self.history)) * 0.5 ** count_plateaus(self.history)
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


def find_checkpoint(run_dir: Path) -> tuple[list[dict[str, float]], Path | None]:
    """Return the history up to the last weights, and these; none of both for a folder without."""
    epochs = [int(path.name.split(".")[0].split("-")[1]) for path in run_dir.glob("checkpoint/last-*.weights.h5")]
    if not epochs:
        return [], None
    # A history written just before a kill may know one epoch more than the weights.
    return read_history(run_dir)[: max(epochs)], weights_path(run_dir, "last", max(epochs))


def weights_path(run_dir: Path, which: str, epoch: int) -> Path:
    """Return the file of an epoch's weights, ``which`` being "best" or "last"."""
    return run_dir / "checkpoint" / f"{which}-{epoch}.weights.h5"


def _save_weights(model: keras.Model, path: Path) -> None:
    """Write weights and optimizer state whole or not at all."""
    # Keras wants the suffix .weights.h5, of which a temporary name keeps only the last part.
    temporary = path.with_name(f"new-{path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save_weights(temporary)
    temporary.replace(path)
