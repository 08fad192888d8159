"""Arrays in, tables and figures out; no model is known here."""

from ferlib.evaluation.metrics import best_epoch, evaluate_predictions, list_confusions, tabulate_per_class
from ferlib.evaluation.robustness import measure_robustness

__all__ = ["best_epoch", "evaluate_predictions", "list_confusions", "measure_robustness", "tabulate_per_class"]
