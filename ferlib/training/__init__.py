"""Train any model of the registry into a run folder."""

from ferlib.training.evaluate_run import find_runs, read_experiments, record_metrics, tabulate_runs
from ferlib.training.fit import train_model
from ferlib.training.options import TrainingOptions

__all__ = ["TrainingOptions", "find_runs", "read_experiments", "record_metrics", "tabulate_runs", "train_model"]
