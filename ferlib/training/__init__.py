"""Train any model of the registry into a run folder."""

from ferlib.training.options import TrainingOptions
from ferlib.training.record import find_runs, read_experiments, record_metrics, tabulate_runs
from ferlib.training.run import train_model

__all__ = ["TrainingOptions", "find_runs", "read_experiments", "record_metrics", "tabulate_runs", "train_model"]
