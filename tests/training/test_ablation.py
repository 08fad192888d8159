"""The ladder trains its steps one by one, each against the step that it adds to."""

import pandas as pd
import pytest

from ferlib.models import get_model
from ferlib.runs.folder import read_config
from ferlib.training import TrainingOptions
from ferlib.training import ablation as ladder


def test_every_step_is_a_training_that_can_be_made():
    names = [step.name for step in ladder.STEPS]
    assert names == sorted(set(names))
    for number, step in enumerate(ladder.STEPS):
        TrainingOptions(**{**ladder.PLAIN, **step.training})
        get_model(step.model)
        # A variant comes after what it is a variant of, and a teacher has been trained before it is asked.
        assert not step.beside or names.index(step.beside) < number
        assert step.beside or not step.taught


def test_gains_are_over_the_step_that_is_added_to():
    accuracies = {"01_plain": 0.5, "02_normalized": 0.53, "09_squeeze": 0.6, "10_mixup": 0.59, "14_taught": 0.62}
    table = pd.DataFrame({"val accuracy": accuracies, "parameters": 7})
    table.loc["another run"] = [0.9, 7]
    steps = ladder.tabulate_ablation(table)
    assert steps.index.tolist() == list(accuracies)
    assert steps["to"].tolist() == ["", "01", "08", "09", "09"]
    assert steps["gain"].tolist() == pytest.approx([float("nan"), 3, float("nan"), -1, 2], nan_ok=True)
    assert ladder.tabulate_ablation(table.iloc[:0]).empty


@pytest.mark.slow
def test_steps_are_trained_measured_and_not_repeated(drawn_faces, tmp_path, monkeypatch):
    first, second = ladder.STEPS[:2]
    taught = ladder.Step("03_taught", "a teacher", "plain_cnn", beside=first.name, taught=True)
    voted = ladder.Step("04_voted", "votes", "plain_cnn", beside=first.name, voted=True)
    monkeypatch.setattr(ladder, "STEPS", (first, second, taught, voted))
    seen = []
    table = ladder.train_ablation(drawn_faces, tmp_path, epochs=1, on_step=lambda rows: seen.append(len(rows)))
    assert seen == [1, 2, 3]  # there are no votes
    assert table["epochs"].tolist() == [1, 1, 1]
    assert table["val accuracy"].between(0, 1).all()
    assert read_config(tmp_path / "03_taught")["training"]["teacher"] == str(tmp_path / first.name)
    before = (tmp_path / first.name / "model.keras").stat().st_mtime_ns
    ladder.train_ablation(drawn_faces, tmp_path, epochs=1)
    assert (tmp_path / first.name / "model.keras").stat().st_mtime_ns == before
