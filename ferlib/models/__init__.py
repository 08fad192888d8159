"""Models by name: convolutional networks and bags of visual words."""

from ferlib.models.registry import ModelSpec, get_model, list_models

__all__ = ["ModelSpec", "get_model", "list_models"]
