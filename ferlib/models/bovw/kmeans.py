"""k-means from scratch in NumPy: k-means++ initialization, Lloyd's algorithm and mini-batches.

k-means finds `k` centroids that minimize the inertia: the sum of squared distances of the samples to their closest
centroid. Lloyd's algorithm alternates two steps, neither of which can increase it: assign each sample to its closest
centroid, then move each centroid to the mean of its samples. It converges to a local minimum that depends on the
initialization; k-means++ chooses initial centroids that are far apart. Mini-batch k-means takes the same steps on
random batches, with a step size that decreases as a centroid gets more samples. On large data it is many times as
fast, with nearly the same inertia.
"""

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

# Samples per distance matrix: with 1,000 centroids 8 MB in float32, which fits in the cache.
_CHUNK = 2048

# Lloyd's algorithm stops when the centroids move less: their squared distances relative to the features' mean variance.
_TOLERANCE = 1e-4

# Mini-batch k-means stops after this many consecutive batches without a lower smoothed inertia.
_MAX_NO_IMPROVEMENT = 10

# Centroids with a smaller fraction of the largest centroid's number of samples are reassigned.
_REASSIGNMENT_RATIO = 0.01


class KMeans(ClusterMixin, BaseEstimator):
    """K-means clustering.

    Parameters
    ----------
    n_clusters : int
        Number of clusters, at most the number of samples.
    batch_size : int or None
        Size of the mini-batches; None for Lloyd's algorithm on all samples.
    max_iter : int
        Maximum number of passes over the samples.
    random_state : int, RandomState or None
        Determines initialization and mini-batches.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        Centroids, in the dtype of the samples (float32 or float64).
    labels_ : ndarray of shape (n_samples,), dtype int32
        Cluster of each sample.
    inertia_ : float
        Sum of squared distances of the samples to their closest centroid.
    n_iter_ : int
        Number of passes over the samples.

    References
    ----------
    S. Lloyd, "Least Squares Quantization in PCM", IEEE Trans. Information Theory 1982. D. Arthur, S. Vassilvitskii,
    "k-means++: The Advantages of Careful Seeding", SODA 2007. D. Sculley, "Web-Scale K-Means Clustering", WWW 2010.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 0], [0, 2], [10, 0], [10, 2]])
    >>> KMeans(2, random_state=0).fit(X).inertia_
    4.0
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        batch_size: int | None = None,
        max_iter: int = 100,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: None = None) -> "KMeans":  # noqa: ARG002
        """Compute the clustering of samples (n_samples, n_features), float32 or converted to float64.

        Raises
        ------
        ValueError
            There are fewer samples than clusters, or a value is not finite.
        """
        X = validate_data(self, X, dtype=[np.float64, np.float32], order="C")
        if not 1 <= self.n_clusters <= len(X):
            raise ValueError(f"n_clusters must be from 1 to the number of samples, {len(X)}, got {self.n_clusters}")
        rng = check_random_state(self.random_state)
        # Centering keeps the squared distances exact for samples that are far from the origin.
        mean = X.mean(axis=0)
        X = X - mean
        centers = _init_centroids(X, self.n_clusters, rng, self.batch_size)
        if self.batch_size is None:
            centers, self.n_iter_ = _lloyd(X, centers, self.max_iter)
        else:
            centers, self.n_iter_ = _mini_batches(X, centers, self.batch_size, rng, self.max_iter)
        self.labels_, distances = assign(X, centers)
        self.inertia_ = float(distances.sum(dtype=np.float64))
        self.cluster_centers_ = centers + mean
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the closest cluster of each sample, int32 (n_samples,)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False, order="C")
        mean = self.cluster_centers_.mean(axis=0)
        return assign(X - mean, self.cluster_centers_ - mean)[0]


def squared_distances(X: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Return the squared distance of each sample (n, d) to each centroid (k, d), shape (n, k).

    As ``|x|² - 2 x·c + |c|²``, one matrix product instead of n * k differences; rounding errors below 0 are clipped.
    """
    distances = X @ (-2 * centers).T
    distances += np.einsum("ij,ij->i", X, X)[:, np.newaxis]
    distances += np.einsum("ij,ij->i", centers, centers)
    return np.maximum(distances, 0, out=distances)


def assign(X: np.ndarray, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the closest centroid (k, d) of each sample (n, d), int32 (n,), and the squared distance to it, (n,)."""
    labels, distances = np.empty(len(X), np.int32), np.empty(len(X), X.dtype)
    minus_two, norms = np.ascontiguousarray((-2 * centers).T), np.einsum("ij,ij->i", centers, centers)
    for start in range(0, len(X), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        # |x|² is the same for every centroid and does not change which one is closest.
        scores = X[chunk] @ minus_two
        scores += norms
        closest = scores.argmin(axis=1)
        labels[chunk] = closest
        distances[chunk] = np.take_along_axis(scores, closest[:, np.newaxis], axis=1)[:, 0]
    distances += np.einsum("ij,ij->i", X, X)
    return labels, np.maximum(distances, 0, out=distances)


def _init_centroids(X: np.ndarray, k: int, rng: np.random.RandomState, batch_size: int | None) -> np.ndarray:
    """Return initial centroids by greedy k-means++.

    Centroids are chosen one by one from a few random candidates each, drawn with probability proportional to the
    squared distance to the closest centroid so far; the candidate that lowers the inertia most is taken. Mini-batch
    k-means is initialized on a subset of the samples, because initialization would otherwise take most of its time.
    """
    if batch_size is not None:
        X = X[rng.permutation(len(X))[: max(3 * k, 3 * batch_size)]]
    n_candidates = 2 + int(np.log(k))
    centers = np.empty((k, X.shape[1]), X.dtype)
    centers[0] = X[rng.randint(len(X))]
    closest = squared_distances(X, centers[:1])[:, 0]
    for number in range(1, k):
        cumulative = closest.cumsum(dtype=np.float64)
        draws = rng.random_sample(n_candidates) * cumulative[-1]
        # If every sample coincides with a centroid, all draws are 0 and any candidate will do.
        candidates = np.minimum(np.searchsorted(cumulative, draws), len(X) - 1)
        distances = np.minimum(squared_distances(X, X[candidates]), closest[:, np.newaxis])
        best = distances.sum(axis=0).argmin()
        centers[number], closest = X[candidates[best]], distances[:, best]
    return centers


def _lloyd(X: np.ndarray, centers: np.ndarray, max_iter: int) -> tuple[np.ndarray, int]:
    """Return the centroids of Lloyd's algorithm and the number of iterations."""
    tolerance = _TOLERANCE * X.var(axis=0, dtype=np.float64).mean()
    for n_iter in range(1, max_iter + 1):
        labels, distances = assign(X, centers)
        sums, counts = _sum_by_label(X, labels, len(centers))
        moved = sums / np.maximum(counts, 1)[:, np.newaxis].astype(X.dtype)
        empty = np.flatnonzero(counts == 0)
        if len(empty):
            # An empty cluster is relocated to the sample that is farthest from its centroid.
            moved[empty] = X[np.argpartition(distances, -len(empty))[-len(empty) :]]
        shift = float(((moved - centers) ** 2).sum(dtype=np.float64))
        centers = moved
        if shift <= tolerance or n_iter == max_iter:
            break
    return centers, n_iter


def _mini_batches(
    X: np.ndarray, centers: np.ndarray, batch_size: int, rng: np.random.RandomState, max_iter: int
) -> tuple[np.ndarray, int]:
    """Return the centroids of mini-batch k-means and the number of passes."""
    centers, n_seen = centers.copy(), np.zeros(len(centers))
    n_batches = max(1, len(X) // batch_size)
    smoothed, lowest, no_improvement, since_reassignment = None, np.inf, 0, 0
    # Exponentially weighted average of the inertia over about half a pass.
    alpha = min(1.0, 2 * batch_size / (len(X) + 1))
    for step in range(1, max_iter * n_batches + 1):
        batch = X[rng.randint(0, len(X), min(batch_size, len(X)))]
        labels, distances = assign(batch, centers)
        sums, counts = _sum_by_label(batch, labels, len(centers))
        n_seen += counts
        # Each centroid is the running mean of all samples that it was assigned so far.
        rate = (1 / np.maximum(n_seen, 1))[:, np.newaxis].astype(X.dtype)
        centers += rate * (sums - counts[:, np.newaxis].astype(X.dtype) * centers)
        inertia = distances.sum(dtype=np.float64) / len(batch)
        smoothed = inertia if smoothed is None else smoothed * (1 - alpha) + inertia * alpha
        since_reassignment += len(batch)
        if since_reassignment >= 10 * len(centers):
            since_reassignment = 0
            _reassign(centers, n_seen, batch, distances, rng)
        no_improvement = 0 if smoothed < lowest else no_improvement + 1
        lowest = min(lowest, smoothed)
        if no_improvement >= _MAX_NO_IMPROVEMENT and step > n_batches:
            break
    return centers, -(-step // n_batches)


def _reassign(
    centers: np.ndarray, n_seen: np.ndarray, batch: np.ndarray, distances: np.ndarray, rng: np.random.RandomState
) -> None:
    """Move centroids with very few samples to samples that are far from their centroid, in place."""
    low = np.flatnonzero(n_seen < _REASSIGNMENT_RATIO * n_seen.max())[: len(batch) // 2]
    low = low[: np.count_nonzero(distances)]
    if len(low):
        p = distances.astype(np.float64) / distances.sum(dtype=np.float64)
        centers[low] = batch[rng.choice(len(batch), len(low), replace=False, p=p)]
        n_seen[low] = n_seen[n_seen > 0].min()


def _sum_by_label(X: np.ndarray, labels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of the samples of each cluster, (k, d), and their number, int (k,)."""
    counts = np.bincount(labels, minlength=k)
    sums = np.zeros((k, X.shape[1]), X.dtype)
    order = np.argsort(labels, kind="stable")
    present = np.flatnonzero(counts)
    starts = np.concatenate([[0], counts[present].cumsum()[:-1]])
    # Sorted by cluster, the samples of each cluster are one slice.
    sums[present] = np.add.reduceat(X[order], starts, axis=0)
    return sums, counts
