import numpy as np
import pytest

from ferlib.core.emotions import EMOTIONS
from ferlib.synthetic.expressions import sample_action_units, sample_traits


def _mean_intensity(emotion: str, unit: int) -> float:
    return float(np.mean([sample_action_units(emotion, np.random.default_rng(i))[unit] for i in range(200)]))


@pytest.mark.parametrize(
    ("emotion", "unit"),
    [("angry", 4), ("disgust", 9), ("fear", 20), ("happy", 12), ("sad", 15), ("surprise", 2)],
)
def test_typical_action_unit_is_strong(emotion, unit):
    own = _mean_intensity(emotion, unit)
    assert own > 0.4
    assert own > _mean_intensity("neutral", unit) + 0.3


def test_intensities_are_from_zero_to_one():
    for emotion in EMOTIONS:
        for seed in range(50):
            units = sample_action_units(emotion, np.random.default_rng(seed))
            assert all(0.0 <= intensity <= 1.0 for intensity in units.values())


def test_strength_varies_from_weak_to_strong():
    smiles = [sample_action_units("happy", np.random.default_rng(i))[12] for i in range(200)]
    assert min(smiles) < 0.3
    assert max(smiles) > 0.85


def test_every_emotion_uses_as_many_random_values():
    follows = set()
    for emotion in EMOTIONS:
        rng = np.random.default_rng(3)
        sample_action_units(emotion, rng)
        follows.add(rng.random())
    assert len(follows) == 1


def test_traits_vary_within_bounds():
    scales = [sample_traits(np.random.default_rng(i))["scale"] for i in range(100)]
    assert 0.31 < min(scales) < 0.34
    assert 0.41 < max(scales) < 0.44
