"""Bags of visual words: histograms that add up, and a pipeline that learns."""

import numpy as np
import pytest
from sklearn.base import clone

from ferlib.models.bovw import BagOfVisualWords, bovw


def test_histograms_count_every_feature(drawn_faces):
    images = drawn_faces.images[:20]
    words = BagOfVisualWords(n_words=12, grid=2, random_state=0).fit(images)
    histograms = words.transform(images).reshape(20, 5, 12)
    # Square roots of shares: each part of each picture sums to 1, and the whole is made of its four quarters.
    np.testing.assert_allclose((histograms**2).sum(axis=2), 1, rtol=1e-5)
    np.testing.assert_allclose((histograms[:, 1:] ** 2).mean(axis=1), histograms[:, 0] ** 2, atol=1e-5)


def test_words_are_the_nearest_centres(drawn_faces):
    words = BagOfVisualWords(n_words=8, grid=1, random_state=0).fit(drawn_faces.images[:20])
    [descriptors] = words._describe(drawn_faces.images[:1])
    distances = ((descriptors[:, np.newaxis] - words.vocabulary_) ** 2).sum(axis=2)
    counts = np.bincount(distances.argmin(axis=1), minlength=8)
    np.testing.assert_allclose(words.transform(drawn_faces.images[:1])[0] ** 2, counts / counts.sum(), atol=1e-6)


def test_a_flat_picture_is_described_without_not_a_number(drawn_faces):
    words = BagOfVisualWords(n_words=8, random_state=0).fit(drawn_faces.images[:20])
    assert np.isfinite(words.transform(np.full((1, 48, 48, 1), 200, np.uint8))).all()


def test_light_changes_little(drawn_faces):
    images = drawn_faces.images[:20]
    words = BagOfVisualWords(n_words=12, grid=1, random_state=0).fit(images)
    darker = (images * 0.5).astype(np.uint8)
    same = (words.transform(images) * words.transform(darker)).sum(axis=1)
    assert same.mean() > 0.95


def test_it_is_a_scikit_learn_estimator(drawn_faces):
    words = BagOfVisualWords(n_words=5, grid=3, random_state=4)
    assert clone(words).get_params() == words.get_params()
    first, again = (clone(words).fit(drawn_faces.images[:10]).vocabulary_ for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_the_pipeline_beats_chance_on_new_faces(drawn_faces):
    train, new = drawn_faces.split("train"), drawn_faces.select(drawn_faces.splits != "train")
    pipeline = bovw(random_state=0, n_words=200).fit(train.images, train.labels)
    probabilities = pipeline.predict_proba(new.images)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    # Chance is 1/7; with 120 pictures its accuracy stays below 0.25 in 999 of 1,000 draws.
    assert (probabilities.argmax(axis=1) == new.labels).mean() > 0.25


@pytest.mark.parametrize("n_words", [10_000])
def test_a_vocabulary_larger_than_the_sample_is_cut(drawn_faces, n_words):
    words = BagOfVisualWords(n_words=n_words, random_state=0).fit(drawn_faces.images[:2])
    assert len(words.vocabulary_) == 100
