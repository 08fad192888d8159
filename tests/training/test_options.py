"""Training options."""

import dataclasses
import json

import pytest

from ferlib.core.errors import OptionError
from ferlib.preprocessing import Augmentation
from ferlib.training import TrainingOptions


@pytest.mark.parametrize("augmentation", [Augmentation(erase=0.9), None])
def test_options_survive_json(augmentation):
    options = TrainingOptions(epochs=7, augmentation=augmentation)
    assert TrainingOptions.from_config(json.loads(json.dumps(options.to_config()))) == options


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"epochs": 0}, "epochs: expected a whole number at least 1, got '0'"),
        ({"batch_size": 2.5}, "batch_size: expected a whole number"),
        ({"learning_rate": float("inf")}, "learning_rate: expected a number above 0"),
        ({"ema": 1.0}, "ema: expected a number at least 0 and below 1"),
        ({"resample": "magic"}, "resample: expected one of none, random_over"),
        ({"precision": "int4"}, "precision: expected one of auto"),
        ({"votes": "v.csv", "resample": "smote"}, "--votes cannot be combined with --resample"),
    ],
)
def test_wrong_options_are_refused(wrong, expected):
    with pytest.raises(OptionError, match=expected):
        TrainingOptions(**wrong)


def test_fine_tuning_of_a_backbone_has_a_tenth_of_the_rate():
    options = TrainingOptions(learning_rate=1e-3, frozen_epochs=2)
    assert [options.peak_rate(epoch) for epoch in (0, 1, 2, 3)] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])
    assert dataclasses.replace(options, frozen_epochs=0).peak_rate(3) == 1e-3
