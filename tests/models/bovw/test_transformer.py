"""Bags of visual words as a scikit-learn transformer."""

import numpy as np
import pytest
from sklearn.base import clone

from ferlib.models.bovw.transformer import BagOfVisualWords

QUICK = {"step": 4, "patch_sizes": (12, 16), "random_state": 0}
FISHER = {"encoding": "fisher", "position_weight": 1.0}


@pytest.fixture(scope="module")
def faces(drawn_faces):
    return drawn_faces.images[:30]


@pytest.mark.parametrize(("encoding", "length"), [("histogram", 12), ("fisher", 2 * 12 * 16)])
def test_each_pyramid_cell_has_length_1(encoding, length, faces):
    bag = BagOfVisualWords(n_words=12, encoding=encoding, levels=(1, 2), n_components=16, **QUICK).fit(faces)
    vectors = bag.transform(faces)
    assert vectors.shape == (30, 5 * length)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors.reshape(30, 5, length), axis=2), 1, rtol=1e-4)
    np.testing.assert_allclose(bag.transform(faces[3:4]), vectors[3:4], atol=1e-5)
    assert bag.transform(faces[:0]).shape == (0, 5 * length)


def test_histogram_counts_the_nearest_words(faces):
    bag = BagOfVisualWords(n_words=8, spatial_stats=True, **QUICK).fit(faces)
    words, positions = next(bag.iterate_words(faces[:1]))
    assert len(words) == len(positions)
    counts = np.bincount(words, minlength=8)
    vector = bag.transform(faces[:1])[0]
    np.testing.assert_allclose(vector[:8], np.sqrt(counts / counts.sum()), atol=1e-5)
    assert vector.shape == (8 + 4 * 8,)


@pytest.mark.parametrize("options", [{}, {"spatial_stats": True}, FISHER])
def test_flip_invariant_vectors_equal_those_of_mirror_images(options, faces):
    bag = BagOfVisualWords(n_words=8, n_components=16, flip_invariant=True, **options, **QUICK).fit(faces)
    other = BagOfVisualWords(n_words=8, n_components=16, **options, **QUICK).fit(faces)
    flipped = faces[:, :, ::-1]
    np.testing.assert_allclose(bag.transform(faces), bag.transform(flipped), atol=1e-4)
    assert np.abs(other.transform(faces) - other.transform(flipped)).max() > 0.05


def test_position_weight_adds_positions_to_fisher_vectors(faces):
    bag = BagOfVisualWords(n_words=4, n_components=8, **FISHER, **QUICK).fit(faces)
    assert bag.vocabulary_.shape == (4, 8 + 2)
    assert bag.transform(faces[:2]).shape == (2, 2 * 4 * 10)


def test_vocabulary_is_limited_to_the_sampled_descriptors(faces):
    assert len(BagOfVisualWords(n_words=10_000, **QUICK).fit(faces[:2]).vocabulary_) == 100


def test_transformer_follows_scikit_learn_conventions(faces):
    bag = BagOfVisualWords(n_words=5, levels=(1, 3), **QUICK)
    assert clone(bag).get_params() == bag.get_params()
    first, again = (clone(bag).fit(faces).vocabulary_ for _ in range(2))
    np.testing.assert_array_equal(first, again)
    with pytest.raises(ValueError, match="encoding must be one of histogram, fisher"):
        clone(bag).set_params(encoding="magic").fit(faces)


def test_brightness_hardly_changes_histograms(faces):
    bag = BagOfVisualWords(n_words=12, **QUICK).fit(faces)
    darker = (faces * 0.6).astype(np.uint8)
    assert (bag.transform(faces) * bag.transform(darker)).sum(axis=1).mean() > 0.95
