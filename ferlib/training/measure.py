"""Calibrate a trained model and measure it."""

from dataclasses import replace

import numpy as np

from ferlib.data import ImageDataset
from ferlib.evaluation import evaluate_predictions, measure_robustness
from ferlib.evaluation.calibration import fit_calibration
from ferlib.evaluation.card import write_model_card
from ferlib.runs.classifier import load_classifier
from ferlib.runs.folder import Run
from ferlib.runs.records import Metrics, RunConfig


def measure_run(run: Run, config: RunConfig, dataset: ImageDataset, *, robustness: bool = False) -> dict[str, Metrics]:
    """Calibrate a trained model on val, measure it on val and test, and write configuration, metrics and model card.

    The calibration is added to `config`. The dataset is split as for the training; splits that it lacks are not
    measured. With `robustness`, test accuracy is also measured on shifted, scaled and rotated images.
    """
    classifier = load_classifier(run, calibrated=False)
    parts = {name: dataset.split(name) for name in ("val", "test") if name in dataset.splits}
    probabilities = {name: classifier.predict_proba(part.images, progress=True) for name, part in parts.items()}
    calibration = None
    if "val" in parts:
        # After class weights or resampling, biases would fit the class frequencies of val and undo the effect.
        balanced = any(config.training.get(name, "none") != "none" for name in ("resample", "class_weight"))
        calibration = fit_calibration(parts["val"].labels, probabilities["val"], per_class=not balanced)
    config = replace(config, calibration=calibration)

    def calibrate(y_proba: np.ndarray) -> np.ndarray:
        return y_proba if calibration is None else calibration.apply(y_proba)

    metrics = {
        name: evaluate_predictions(part.labels, calibrate(probabilities[name]), config.class_names)
        for name, part in parts.items()
    }
    if robustness and "test" in parts:
        accuracies = measure_robustness(
            lambda images: calibrate(classifier.predict_proba(images)), parts["test"].images, parts["test"].labels
        )
        metrics["test"] = replace(metrics["test"], robustness=accuracies)
    run.write_metrics(metrics)
    run.write_card(write_model_card(config, metrics, run.history))
    run.write_config(config)
    return metrics
