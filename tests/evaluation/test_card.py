"""A model card says on what, how and by what a model was made, and how good it is where."""

import numpy as np
import pytest

from ferlib.evaluation import best_epoch, evaluate_predictions
from ferlib.evaluation.card import write_model_card

CLASSES = ("happy", "sad")
# Epochs 2 and 3 are equal by accuracy; the loss decides.
HISTORY = [
    {"epoch": 1, "val_accuracy": 0.5, "val_loss": 0.2},
    {"epoch": 2, "val_accuracy": 0.75, "val_loss": 0.9},
    {"epoch": 3, "val_accuracy": 0.75, "val_loss": 0.8},
    {"epoch": 4, "val_accuracy": 0.7, "val_loss": 0.1},
]


@pytest.fixture
def config() -> dict:
    return {
        "model": "compact_cnn",
        "class_names": CLASSES,
        "image_size": [48, 40],
        "channels": 1,
        "test_time_augmentation": "flip",
        "training": {"seed": 5, "resample": "smote", "class_weight": "none", "augmentation": {"flip": True}},
        "data": {
            "title": "FER2013",
            "path": "fer2013.zip",
            "sha256": "c0ffee",
            "synthetic": False,
            "notes": ["Two images are blank."],
            "pictures": {"train": {"happy": 1000, "sad": 234}, "val": {"happy": 3, "sad": 4}},
        },
    }


@pytest.fixture
def metrics() -> dict:
    y_true = np.array([0, 0, 0, 1])
    y_proba = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.1, 0.9]])
    return evaluate_predictions(y_true, y_proba, CLASSES)


def test_the_best_epoch_is_the_most_accurate_then_the_one_of_lower_loss():
    assert best_epoch(HISTORY) == 3
    assert best_epoch(HISTORY[:2]) == 2


def test_a_card_tells_data_selection_and_results(config, metrics):
    card = write_model_card(config, {"val": metrics, "test": metrics}, HISTORY)
    assert card.startswith("# compact_cnn\n")
    assert "Classes: happy, sad. Input: faces, 48 x 40 pixels, gray." in card
    assert "FER2013 from `fer2013.zip` (sha256 `c0ffee`). Images: train 1,234, val 7." in card
    assert "- Two images are blank." in card
    assert "4 epochs; the weights are those of epoch 3, chosen by its validation accuracy of 75.00%" in card
    assert "Seed 5, resampling smote, class weights none, random augmentation." in card
    assert "On val (4 images, probabilities averaged with those of the mirror image): accuracy 75.00%" in card
    assert "On test (4 images" in card
    assert "| happy | 1.00 | 0.67 | 0.80 | 3 |" in card
    assert "| sad | 0.50 | 1.00 | 0.67 | 1 |" in card
    assert "Intended use" in card


def test_drawn_faces_are_called_synthetic(config, metrics):
    config["data"]["synthetic"] = True
    assert "SYNTHETIC faces from `fer2013.zip`" in write_model_card(config, {"test": metrics}, HISTORY)


def test_a_model_without_epochs_claims_none(config, metrics):
    card = write_model_card(config | {"test_time_augmentation": "none"}, {"test": metrics}, [])
    assert "Fitted once on the train split" in card
    assert "epoch" not in card
    assert "augmentation" not in card
    assert "mirror" not in card
