"""Train any model of the registry into a run folder."""

from ferlib.training.options import TrainingOptions
from ferlib.training.run import train_model

__all__ = ["TrainingOptions", "train_model"]
