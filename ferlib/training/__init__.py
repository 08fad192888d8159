"""Train any model of the registry into a run folder."""

from ferlib.training.fit import train_model
from ferlib.training.measure import measure_run
from ferlib.training.options import TrainingOptions
from ferlib.training.recipes import default_options
from ferlib.training.table import find_runs, read_experiments, tabulate_runs

__all__ = [
    "TrainingOptions",
    "default_options",
    "find_runs",
    "measure_run",
    "read_experiments",
    "tabulate_runs",
    "train_model",
]
