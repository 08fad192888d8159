"""Calibration and metrics of a trained run."""

import shutil

import numpy as np
import pytest
from sklearn.metrics import log_loss

from ferlib.runs.classifier import load_classifier
from ferlib.runs.folder import Run
from ferlib.training import TrainingOptions, measure_run, train_model


def test_val_and_test_are_measured(bovw_run, drawn_faces):
    run = Run(bovw_run)
    assert {split: metrics.n for split, metrics in run.metrics.items()} == {"val": 60, "test": 60}
    test = drawn_faces.split("test")
    accuracy = (load_classifier(run).predict_proba(test.images).argmax(axis=1) == test.labels).mean()
    assert run.metrics["test"].accuracy == pytest.approx(accuracy)
    assert f"{accuracy:.2%}" in (run.path / "model_card.md").read_text()


def test_probabilities_are_calibrated_on_val(bovw_run, drawn_faces, tmp_path):
    run, val = Run(bovw_run), drawn_faces.split("val")
    uncalibrated = load_classifier(run, calibrated=False).predict_proba(val.images)
    assert run.metrics["val"].log_loss < log_loss(val.labels, uncalibrated)
    # Measuring again fits the calibration to uncalibrated probabilities.
    again = Run(shutil.copytree(run, tmp_path / "again"))
    measure_run(again, again.config, drawn_faces)
    assert again.config.calibration == run.config.calibration


def test_calibration_keeps_the_effect_of_class_weights(drawn_faces, tmp_path):
    model_options = {"n_words": 10, "classifier": "logistic"}
    options = TrainingOptions(class_weight="balanced")
    run = train_model("bovw", drawn_faces, tmp_path / "run", options, model_options=model_options)
    images = drawn_faces.split("test").images
    before, after = (load_classifier(run, calibrated=calibrated).predict_proba(images) for calibrated in (False, True))
    np.testing.assert_array_equal(after.argmax(axis=1), before.argmax(axis=1))
    assert np.abs(after - before).max() > 1e-3


def test_missing_splits_are_not_measured(bovw_run, drawn_faces, tmp_path):
    run = Run(shutil.copytree(bovw_run, tmp_path / "copy"))
    metrics = measure_run(run, run.config, drawn_faces.select(drawn_faces.splits == "test"), robustness=True)
    assert list(metrics) == list(run.metrics) == ["test"]
    assert run.config.calibration is None
    assert run.metrics["test"].robustness
