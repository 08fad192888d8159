"""The training options of each model."""

from typing import Any

from ferlib.models import get_model
from ferlib.preprocessing import Augmentation
from ferlib.training.options import TrainingOptions

# Rotation, scale, shift and flip only: the usual augmentation of published FER2013 and ExpW projects.
_GEOMETRIC = Augmentation(rotation=10, scale=0.1, shift=0.1, brightness=0, contrast=0, erase=0, blur=0, noise=0)
_ADAM: dict[str, Any] = {"optimizer": "adam", "learning_rate": 1e-3, "schedule": "constant", "label_smoothing": 0.0}
# Stronger than the default: the pretrained network has more parameters, and is still underfitted with it.
_STRONG = Augmentation(rotation=15, scale=0.15, brightness=0.1, contrast=0.2, erase=0.35, blur=0.15, noise=0.1)
_COMPACT: dict[str, Any] = {"epochs": 46, "patience": 20, "label_smoothing": 0.05}

#: What differs from the defaults of `TrainingOptions`, by model; a model without an entry uses the defaults.
RECIPES: dict[str, dict[str, Any]] = {
    "compact_cnn": _COMPACT,
    "ensemble": _COMPACT,
    "face_resnet": {
        "epochs": 30,
        "patience": 30,
        "learning_rate": 6e-4,
        "warmup_epochs": 1.0,
        "label_smoothing": 0.05,
        "augmentation": _STRONG,
    },
    "gap_cnn": {**_ADAM, "patience": 10, "resample": "random_over", "augmentation": _GEOMETRIC},
    "vgg_dense": {
        **_ADAM,
        "epochs": 100,
        "schedule": "plateau",
        "class_weight": "balanced",
        "augmentation": _GEOMETRIC,
    },
    "three_block_cnn": {**_ADAM, "epochs": 50, "batch_size": 32, "augmentation": _GEOMETRIC},
    "plain_cnn": {**_ADAM, "augmentation": None},
    "transfer": {"epochs": 20, "frozen_epochs": 5, "learning_rate": 1e-3, "weight_decay": 0.01},
}


def default_options(model: str) -> TrainingOptions:
    """Return the training options of a model by its name."""
    return TrainingOptions(**RECIPES.get(get_model(model).name, {}))
