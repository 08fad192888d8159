"""k-means, compared with scikit-learn and with cases worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans as TheirKMeans
from sklearn.cluster import MiniBatchKMeans as TheirMiniBatchKMeans
from sklearn.datasets import load_digits, make_blobs
from sklearn.utils.estimator_checks import parametrize_with_checks

from ferlib.models.bovw.kmeans import KMeans, _lloyd, _sum_by_label, assign, squared_distances


@parametrize_with_checks([KMeans(n_clusters=3, random_state=0), KMeans(n_clusters=3, batch_size=20, random_state=0)])
def test_estimator_passes_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("batch_size", [None, 256])
@pytest.mark.parametrize("data", ["digits", "blobs", "noise"])
def test_inertia_is_within_two_percent_of_scikit_learn(batch_size, data):
    X = {
        "digits": lambda: load_digits().data,
        "blobs": lambda: make_blobs(3000, 8, centers=30, random_state=0)[0],
        "noise": lambda: np.random.default_rng(0).normal(size=(3000, 10)),
    }[data]()
    theirs = (
        TheirKMeans(30, n_init=3, random_state=0)
        if batch_size is None
        else TheirMiniBatchKMeans(30, batch_size=256, n_init=3, random_state=0)
    )
    ours = min(KMeans(30, batch_size=batch_size, random_state=seed).fit(X).inertia_ for seed in range(3))
    assert ours <= 1.02 * theirs.fit(X).inertia_


def test_two_clusters_by_hand():
    X = np.array([[0.0, 0], [0, 2], [10, 0], [10, 2]])
    kmeans = KMeans(2, random_state=0).fit(X)
    assert sorted(map(tuple, kmeans.cluster_centers_)) == [(0, 1), (10, 1)]
    assert kmeans.inertia_ == pytest.approx(4)
    assert kmeans.labels_[0] == kmeans.labels_[1] != kmeans.labels_[2] == kmeans.labels_[3]
    np.testing.assert_array_equal(kmeans.predict(X), kmeans.labels_)


def test_centroid_of_one_cluster_is_the_mean():
    X = np.random.default_rng(0).normal(size=(50, 3))
    kmeans = KMeans(1, random_state=0).fit(X)
    np.testing.assert_allclose(kmeans.cluster_centers_, X.mean(axis=0, keepdims=True))
    assert kmeans.inertia_ == pytest.approx(50 * X.var(axis=0).sum())


@pytest.mark.parametrize("batch_size", [None, 8])
def test_inertia_is_zero_with_one_cluster_per_sample(batch_size):
    X = np.random.default_rng(0).normal(size=(12, 2))
    kmeans = KMeans(12, batch_size=batch_size, random_state=0).fit(X)
    if batch_size is None:
        assert kmeans.inertia_ == pytest.approx(0, abs=1e-12)
        assert sorted(kmeans.labels_) == list(range(12))
    assert np.isfinite(kmeans.cluster_centers_).all()


@pytest.mark.parametrize("batch_size", [None, 16])
def test_duplicate_samples_are_clustered(batch_size):
    X = np.repeat([[1.0, 1], [5, 5]], 20, axis=0)
    kmeans = KMeans(4, batch_size=batch_size, random_state=0).fit(X)
    assert kmeans.inertia_ == pytest.approx(0, abs=1e-12)
    assert {tuple(center) for center in kmeans.cluster_centers_.round(6)} == {(1, 1), (5, 5)}


def test_empty_cluster_is_relocated_to_the_farthest_sample():
    X = np.array([[0.0], [1], [2], [100]])
    # No sample is closest to the second centroid.
    centers, _ = _lloyd(X, np.array([[1.0], [-500]]), max_iter=50)
    assert sorted(centers[:, 0]) == [1, 100]


def test_distances_and_sums_by_hand():
    X = np.array([[0.0, 0], [3, 4], [10, 10]])
    centers = np.array([[0.0, 0], [10, 11]])
    np.testing.assert_allclose(squared_distances(X, centers), [[0, 221], [25, 98], [200, 1]])
    labels, distances = assign(X, centers)
    assert labels.tolist() == [0, 0, 1]
    np.testing.assert_allclose(distances, [0, 25, 1])
    sums, counts = _sum_by_label(X, np.array([2, 2, 0]), 4)
    np.testing.assert_allclose(sums, [[10, 10], [0, 0], [3, 4], [0, 0]])
    assert counts.tolist() == [1, 0, 2, 0]


def test_distance_from_the_origin_does_not_matter():
    X = make_blobs(500, 3, centers=5, random_state=1)[0].astype(np.float32)
    near, far = (KMeans(5, random_state=0).fit(points) for points in (X, X + np.float32(1000)))
    assert far.inertia_ == pytest.approx(near.inertia_, rel=1e-2)
    assert far.cluster_centers_.dtype == np.float32


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 8), st.sampled_from([None, 10]))
def test_equal_seeds_repeat_and_labels_are_closest_centroids(seed, k, batch_size):
    X = np.random.default_rng(seed).normal(size=(40, 2))
    first, again = (KMeans(k, batch_size=batch_size, random_state=seed).fit(X) for _ in range(2))
    np.testing.assert_array_equal(first.cluster_centers_, again.cluster_centers_)
    distances = ((X[:, np.newaxis] - first.cluster_centers_) ** 2).sum(axis=2)
    np.testing.assert_allclose(distances[np.arange(40), first.labels_], distances.min(axis=1), atol=1e-9)
    assert first.inertia_ == pytest.approx(distances.min(axis=1).sum())


def test_more_clusters_than_samples_are_refused():
    with pytest.raises(ValueError, match="from 1 to the number of samples, 3, got 4"):
        KMeans(4).fit(np.zeros((3, 2)))
