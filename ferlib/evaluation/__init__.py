"""Metrics, calibration, robustness, error analysis and explanations of predictions."""

from ferlib.evaluation.metrics import (
    best_epoch,
    evaluate_predictions,
    list_confusions,
    selection_gain,
    tabulate_per_class,
    tabulate_results,
)
from ferlib.evaluation.robustness import measure_robustness

__all__ = [
    "best_epoch",
    "evaluate_predictions",
    "list_confusions",
    "measure_robustness",
    "selection_gain",
    "tabulate_per_class",
    "tabulate_results",
]
