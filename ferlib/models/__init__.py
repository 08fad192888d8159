"""Models by name: convolutional networks, bags of visual words and ensembles."""

from ferlib.models import cnn, ensemble, face_resnet, fast_cnn, transfer  # noqa: F401
from ferlib.models.bovw import builders  # noqa: F401
from ferlib.models.registry import ModelSpec, get_model, list_models

__all__ = ["ModelSpec", "get_model", "list_models"]
