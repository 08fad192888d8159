"""Networks take pictures of 0 to 255 and answer with probabilities."""

import numpy as np
import pytest

from ferlib.models.cnn import compact_cnn


@pytest.mark.parametrize(("image_size", "channels", "n_classes"), [((48, 48), 1, 7), ((64, 40), 3, 4)])
def test_probabilities_for_any_input(image_size, channels, n_classes):
    model = compact_cnn(n_classes, image_size=image_size, channels=channels)
    images = np.random.default_rng(0).integers(0, 256, (3, *image_size, channels)).astype(np.float32)
    probabilities = model.predict_on_batch(images)
    assert probabilities.shape == (3, n_classes)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_the_seed_decides_the_weights():
    first, again, other = (compact_cnn(7, widths=(8, 16), seed=s).get_weights() for s in (3, 3, 4))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_it_is_small():
    assert compact_cnn(7).count_params() * 4 < 3e6
