"""Finished runs are measured on val and test, found again, and compared in one table."""

import json
import math
import shutil

import numpy as np
import pytest
from sklearn.metrics import log_loss

from ferlib.core.emotions import EMOTIONS, FOUR_EMOTIONS
from ferlib.core.files import write_json
from ferlib.runs.classifier import load_classifier
from ferlib.runs.folder import pretrained_run_dir, read_config, read_metrics
from ferlib.training import TrainingOptions, find_runs, record_metrics, tabulate_runs, train_model


@pytest.fixture(scope="module")
def words_run(drawn_faces, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "words"
    train_model("bovw", drawn_faces, run_dir, model_options={"n_words": 20})
    record_metrics(run_dir, drawn_faces)
    return run_dir


def test_val_and_test_are_measured(words_run, drawn_faces):
    metrics = read_metrics(words_run)
    assert {split: values["n"] for split, values in metrics.items()} == {"val": 60, "test": 60}
    test = drawn_faces.split("test")
    right = load_classifier(words_run).predict_proba(test.images).argmax(axis=1) == test.labels
    assert metrics["test"]["accuracy"] == pytest.approx(right.mean())
    card = (words_run / "model_card.md").read_text()
    assert f"On test (60 images): accuracy {right.mean():.2%}" in card


def test_probabilities_are_calibrated_on_val(words_run, drawn_faces, tmp_path):
    calibration = read_config(words_run)["calibration"]
    val = drawn_faces.split("val")
    uncalibrated = log_loss(val.labels, without_calibration(words_run, tmp_path).predict_proba(val.images))
    before = read_metrics(words_run)
    assert before["val"]["log_loss"] < uncalibrated
    # Measured again, it is fitted to the model's own probabilities, not to calibrated ones.
    record_metrics(words_run, drawn_faces)
    for name, values in read_config(words_run)["calibration"].items():
        assert values == pytest.approx(calibration[name], abs=1e-3)
    assert read_metrics(words_run)["val"]["log_loss"] == pytest.approx(before["val"]["log_loss"], abs=1e-3)
    assert "calibrated by a scale and a bias per class, fitted on val" in (words_run / "model_card.md").read_text()


def test_calibration_does_not_undo_a_treatment_of_imbalance(drawn_faces, tmp_path):
    options = TrainingOptions(class_weight="balanced")
    run_dir = train_model("bovw", drawn_faces, tmp_path / "run", options, model_options={"n_words": 20})
    record_metrics(run_dir, drawn_faces)
    images = drawn_faces.split("test").images
    before = without_calibration(run_dir, tmp_path).predict_proba(images)
    after = load_classifier(run_dir).predict_proba(images)
    np.testing.assert_array_equal(after.argmax(axis=1), before.argmax(axis=1))
    assert np.abs(after - before).max() > 1e-3
    assert "calibrated by one temperature, fitted on val" in (run_dir / "model_card.md").read_text()


def without_calibration(run_dir, folder):
    """The same model with its own probabilities."""
    copy = shutil.copytree(run_dir, folder / "uncalibrated")
    config = read_config(copy)
    del config["calibration"]
    write_json(copy / "config.json", config)
    return load_classifier(copy)


def test_what_the_data_lack_is_not_measured(words_run, drawn_faces, tmp_path):
    run_dir = shutil.copytree(words_run, tmp_path / "copy")
    without_test = drawn_faces.select(drawn_faces.splits != "test")
    assert list(record_metrics(run_dir, without_test)) == list(read_metrics(run_dir)) == ["val"]


def test_runs_are_found_by_their_classes(words_run, tmp_path):
    for name, change in (
        ("b", {}),
        ("a", {}),
        ("four", {"class_names": FOUR_EMOTIONS}),
        ("cut", {"status": "training"}),
    ):
        run_dir = shutil.copytree(words_run, tmp_path / name)
        config = json.loads((run_dir / "config.json").read_text())
        (run_dir / "config.json").write_text(json.dumps(config | change))
    (tmp_path / "notes").mkdir()
    assert find_runs(tmp_path, EMOTIONS) == [tmp_path / "a", tmp_path / "b", pretrained_run_dir()]
    assert find_runs(tmp_path, FOUR_EMOTIONS) == [tmp_path / "four"]
    assert find_runs(tmp_path / "missing", EMOTIONS) == [pretrained_run_dir()]


def test_runs_are_compared_in_a_table(words_run, tmp_path):
    unmeasured = shutil.copytree(words_run, tmp_path / "unmeasured", ignore=shutil.ignore_patterns("metrics.json"))
    table = tabulate_runs([words_run, unmeasured])
    assert list(table.index) == ["words", "unmeasured"]
    row = table.loc["words"]
    assert (row["model"], row["data"]) == ("bovw", "synthetic faces")
    assert row["MB"] == pytest.approx((words_run / "model.skops").stat().st_size / 1e6)
    assert row["test accuracy"] == read_metrics(words_run)["test"]["accuracy"]
    assert math.isnan(table.loc["unmeasured", "val macro_f1"])
    # A bag of visual words has no epochs.
    assert table["epochs"].isna().all()
    assert np.isfinite(table["MB"]).all()
