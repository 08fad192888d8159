"""Arrays in, tables and figures out; no model is known here."""

from ferlib.evaluation.metrics import evaluate_predictions, list_confusions, tabulate_per_class

__all__ = ["evaluate_predictions", "list_confusions", "tabulate_per_class"]
