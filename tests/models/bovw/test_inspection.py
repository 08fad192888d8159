"""Patches, positions and classes of visual words."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from ferlib.models.bovw.inspection import (
    location_maps,
    mean_patches,
    most_discriminative_words,
    word_places,
)
from ferlib.models.bovw.transformer import BagOfVisualWords


@pytest.fixture(scope="module")
def images():
    """Return images with horizontal or vertical stripes in their top left quadrant, and which."""
    images = np.full((20, 48, 48, 1), 128, np.uint8)
    stripes = (np.arange(20) // 2 % 2 * 160 + 40).astype(np.uint8)
    images[::2, 2:22, 2:22, 0] = stripes
    images[1::2, 2:22, 2:22, 0] = stripes[:, np.newaxis]
    return images, np.arange(20) % 2


@pytest.fixture(scope="module")
def pipeline(images):
    bag = BagOfVisualWords(n_words=12, step=4, patch_sizes=(8,), random_state=0)
    return make_pipeline(bag, LogisticRegression(C=10)).fit(*images)


def test_discriminative_words_look_like_their_class(pipeline, images):
    patches, counts = mean_patches(pipeline[0], images[0], side=8)
    assert patches.shape == (12, 8, 8)
    for code, axis in ((0, 0), (1, 1)):
        words = [word for word in most_discriminative_words(pipeline, code, 3) if counts[word]]
        # Stripes are constant in one direction and change in the other.
        along = np.abs(np.diff(patches[words[0]], axis=axis)).mean()
        across = np.abs(np.diff(patches[words[0]], axis=1 - axis)).mean()
        assert across > 3 * along


def test_places_are_means_of_positions(pipeline, images):
    places = word_places(pipeline[0], images[0])
    x, y = places[most_discriminative_words(pipeline, 0, 1)[0]]
    assert 0 < x < 0.5
    assert 0 < y < 0.5
    only_blank = word_places(pipeline[0], np.full((1, 48, 48, 1), 128, np.uint8))
    assert np.isfinite(only_blank).all(axis=1).sum() == 1


def test_location_maps_show_where_words_occur(pipeline, images):
    maps = location_maps(pipeline[0], images[0], cells=2)
    occurring = maps.sum(axis=(1, 2)) > 0
    np.testing.assert_allclose(maps[occurring].sum(axis=(1, 2)), 1, rtol=1e-5)
    assert maps[most_discriminative_words(pipeline, 0, 1)[0], 0, 0] > 0.9
    words, _ = next(pipeline[0].iterate_words(images[0][:1]))
    assert occurring[words].all()
