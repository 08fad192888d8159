"""Model cards."""

from dataclasses import replace

import numpy as np
import pytest

from ferlib.core.data_info import DataInfo
from ferlib.evaluation import best_epoch, evaluate_predictions
from ferlib.evaluation.card import write_model_card
from ferlib.runs.records import Calibration, RunConfig, RunReference

# Epochs 2 and 3 have the same accuracy; the loss decides.
HISTORY = [
    {"epoch": 1, "val_accuracy": 0.5, "val_loss": 0.2},
    {"epoch": 2, "val_accuracy": 0.75, "val_loss": 0.9},
    {"epoch": 3, "val_accuracy": 0.75, "val_loss": 0.8},
    {"epoch": 4, "val_accuracy": 0.7, "val_loss": 0.1},
]
DATA = DataInfo(title="FER2013", layout="csv", path="fer2013.zip", sha256="c0ffee", notes=("Two images are blank.",))
CONFIG = RunConfig(
    model="compact_cnn",
    kind="cnn",
    class_names=("happy", "sad"),
    image_size=(48, 40),
    channels=1,
    test_time_augmentation="flip",
    training={"seed": 5, "resample": "smote", "class_weight": "none", "augmentation": {"flip": True}},
    data=DATA,
    image_counts={"train": {"happy": 1000, "sad": 234}, "val": {"happy": 3, "sad": 4}},
)


@pytest.fixture
def metrics():
    y_proba = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.1, 0.9]])
    return evaluate_predictions(np.array([0, 0, 0, 1]), y_proba, CONFIG.class_names)


def test_best_epoch_prefers_lower_loss_on_ties():
    assert best_epoch(HISTORY) == 3
    assert best_epoch(HISTORY[:2]) == 2


def test_card_describes_data_selection_and_results(metrics):
    card = write_model_card(CONFIG, {"val": metrics, "test": metrics}, HISTORY)
    assert card.startswith("# compact_cnn\n")
    assert "Classes: happy, sad. Input: faces, 48 x 40 pixels, gray." in card
    assert "FER2013 from `fer2013.zip` (sha256 `c0ffee`). Images: train 1,234, val 7." in card
    assert "- Two images are blank." in card
    assert "4 epochs; the weights are those of epoch 3, which had the best validation accuracy (75.00%" in card
    assert "Seed 5, resampling smote, class weights none, random augmentation." in card
    assert "On val (4 images, probabilities averaged with those of the mirror image): accuracy 75.00%" in card
    assert "On test (4 images" in card
    assert "| happy | 1.000 | 0.667 | 0.800 | 3 |" in card
    assert "| sad | 0.500 | 1.000 | 0.667 | 1 |" in card
    assert "Intended use" in card


def test_card_explains_the_class_prior_of_prediction(metrics):
    card = write_model_card(replace(CONFIG, training={**CONFIG.training, "resample": "none"}), {"test": metrics}, [])
    assert "| happy | 81.0% | 74.3% |" in card
    assert "| sad | 19.0% | 25.7% |" in card
    assert "| happy | 50.0% | 74.3% |" in write_model_card(CONFIG, {"test": metrics}, [])
    other = replace(CONFIG, class_names=("smile", "frown"))
    assert "Class prior" not in write_model_card(other, {}, [])


def test_card_describes_distillation_votes_and_robustness(metrics):
    config = replace(
        CONFIG,
        training=CONFIG.training | {"distillation_weight": 0.25, "aux_loss_weight": 1.0, "init_from": "runs/first"},
        teacher=RunReference(model="ensemble"),
        votes="f00d",
        calibration=Calibration(scales=(0.5, 0.5), biases=(0, 0)),
    )
    measured = replace(metrics, robustness={"original": 0.75, "scale 0.85": 0.5})
    card = write_model_card(config, {"test": measured}, HISTORY)
    assert "targets are the labels (75%) and the probabilities of a trained ensemble" in card
    assert "FER+ votes" in card
    assert "Fine-tuned from the weights of an earlier run, first." in card
    assert "(calibrated by one temperature, fitted on val)" in card
    assert "| scale 0.85 | 50.00% | -25.00 points |" in card


def test_card_calls_drawn_faces_synthetic(metrics):
    config = replace(CONFIG, data=replace(DATA, synthetic=True))
    assert "SYNTHETIC faces from `fer2013.zip`" in write_model_card(config, {"test": metrics}, HISTORY)


def test_card_of_a_model_without_epochs(metrics):
    card = write_model_card(replace(CONFIG, test_time_augmentation="none"), {"test": metrics}, [])
    assert "Fitted once on the train split" in card
    for word in ("epoch", "augmentation", "mirror"):
        assert word not in card
