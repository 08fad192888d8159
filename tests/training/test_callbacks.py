"""The callback that records epochs."""

import numpy as np
import pytest

from ferlib.core.backend import import_keras
from ferlib.core.errors import FerlibError
from ferlib.runs.folder import Run
from ferlib.training import TrainingOptions

keras = import_keras()

from ferlib.training.callbacks import RunRecorder, count_plateaus, find_checkpoint  # noqa: E402

GOOD = {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5}


@pytest.fixture
def record(tmp_path):
    """A function that records epochs of a one-weight model with some validation losses and accuracies."""

    def record(epochs, history=None, **options):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.5), loss="mse")
        recorder = RunRecorder(Run(tmp_path), [] if history is None else history, TrainingOptions(**options))
        recorder.set_params({"steps": 1})
        recorder.set_model(model)
        recorder.on_train_begin()
        for number, logs in enumerate(epochs, len(recorder.history)):
            model.set_weights([np.full((1, 1), number + 1.0), np.zeros(1)])
            recorder.on_epoch_begin(number)
            recorder.on_epoch_end(number, {**GOOD, **logs})
        recorder.on_train_end()
        return recorder

    return record


@pytest.mark.parametrize(
    ("losses", "plateaus"),
    [([], 0), ([3, 2, 1], 0), ([1, 2, 2], 0), ([1, 2, 2, 2], 1), ([1, 2, 2, 2, 0.5, 1, 1, 1], 2)],
)
def test_plateaus_are_counted(losses, plateaus):
    assert count_plateaus([{"val_loss": loss} for loss in losses]) == plateaus


def test_a_plateau_halves_the_learning_rate(record):
    recorder = record([{}] * 4, schedule="plateau", learning_rate=0.5)
    assert float(recorder.model.optimizer.learning_rate) == 0.25
    resumed = record([], history=recorder.history, schedule="plateau", learning_rate=0.5)
    assert float(resumed.model.optimizer.learning_rate) == 0.25


def test_training_stops_without_improvement(record, capsys):
    accuracies = [0.5, 0.6, 0.6, 0.4, 0.5]
    recorder = record([{"val_accuracy": value} for value in accuracies], patience=2)
    assert recorder.model.stop_training
    assert "stopping early" in capsys.readouterr().err
    assert not record([{"val_accuracy": value} for value in (0.5, 0.6)], patience=2).model.stop_training


def test_best_and_last_weights_are_kept(record, tmp_path):
    record([{"val_accuracy": value} for value in (0.5, 0.7, 0.6)])
    files = {path.name for path in (tmp_path / "checkpoint").iterdir()}
    assert files == {"best-2.weights.h5", "last-3.weights.h5"}
    history, weights = find_checkpoint(Run(tmp_path))
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert weights.name == "last-3.weights.h5"


def test_history_newer_than_the_weights_is_ignored(record, tmp_path):
    recorder = record([{}, {}])
    Run(tmp_path).write_history([*recorder.history, {**recorder.history[-1], "epoch": 3}])
    assert len(find_checkpoint(Run(tmp_path))[0]) == 2
    assert find_checkpoint(Run(tmp_path / "other")) == ([], None)


def test_votes_do_not_change_the_names_of_measures(record, tmp_path):
    logs = {"loss": 2.0, "label_accuracy": 0.9, "label_loss": 1.2, "votes_loss": 0.8}
    logs |= {"val_label_accuracy": 0.8, "val_label_loss": 1.0, "val_votes_loss": 0.0}
    (row,) = record([logs]).history
    assert (row["accuracy"], row["val_accuracy"], row["votes_loss"]) == (0.9, 0.8, 0.8)
    assert not {"label_accuracy", "val_votes_loss", "val_label_loss"} & set(row)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_diverging_loss_is_an_error(record, loss):
    with pytest.raises(FerlibError, match="lower --learning-rate"):
        record([{"loss": loss}])
