import numpy as np
import pytest

from ferlib.core.errors import OptionError
from ferlib.models import get_model


def test_has_one_probability_per_class_and_few_parameters():
    model = get_model("fast_cnn").build(7)
    images = np.random.default_rng(0).uniform(0, 255, (2, 48, 48, 1)).astype(np.float32)
    np.testing.assert_allclose(np.asarray(model(images)).sum(axis=1), 1, atol=1e-5)
    assert model.count_params() < 800_000


def test_widths_and_depths_of_different_length_are_refused():
    with pytest.raises(OptionError, match="one depth per width: got 1 depths and 2 widths"):
        get_model("fast_cnn").build(7, widths=(16, 32), depths=(1,))
