"""k-means from scratch: k-means++ seeding, Lloyd's iterations and mini-batches, in NumPy.

k-means looks for `k` centres such that the squared distances of all points to their nearest centre add up to as little
as possible; that sum is the inertia. Lloyd's algorithm repeats two steps that can only lower it: give every point to
its nearest centre, then move every centre to the mean of its points. It ends in a valley, not always the deepest, so
where it starts matters: k-means++ draws the first centres far from each other. Mini-batches take the same steps on
small random parts of the points, each centre moving less the more points it has seen; for large data that is many
times as fast, and nearly as good.
"""

from collections.abc import Iterator

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

# Points whose distances to all centres are held at a time: with 1,000 centres 8 MB in float32, which caches hold.
_CHUNK = 2048

# Mini-batches end after so many of them in a row in which the smoothed inertia did not fall.
_NO_GAIN = 10

# A centre with less than this share of the points of the fullest one is moved to a point that is far from all centres.
_STARVED = 0.01


class KMeans(TransformerMixin, ClusterMixin, BaseEstimator):
    """Cluster points around `n_clusters` centres.

    Parameters
    ----------
    n_clusters : int
        How many centres; at most as many as points.
    batch_size : int or None
        None for Lloyd's iterations over all points; else the number of points of a mini-batch.
    n_init : int
        How many starts are tried; the one of the lowest inertia is kept.
    max_iter : int
        Passes over the points, at most.
    tol : float
        Lloyd ends when the centres move by less: the sum of their squared moves, relative to the mean variance of a
        coordinate.
    random_state : int, RandomState or None
        Seeds k-means++ and the mini-batches.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        In the dtype of the points, float32 or float64.
    labels_ : ndarray of shape (n_samples,), dtype int32
        Each point's centre.
    inertia_ : float
        Sum of the squared distances of the points to their centres.
    n_iter_ : int
        Passes that were made.

    References
    ----------
    S. Lloyd, "Least Squares Quantization in PCM", IEEE Trans. Information Theory 1982. D. Arthur, S. Vassilvitskii,
    "k-means++: The Advantages of Careful Seeding", SODA 2007. D. Sculley, "Web-Scale K-Means Clustering", WWW 2010.
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        batch_size: int | None = None,
        n_init: int = 1,
        max_iter: int = 100,
        tol: float = 1e-4,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.batch_size = batch_size
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: None = None) -> "KMeans":  # noqa: ARG002
        """Find the centres of points.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            float32 stays; anything else becomes float64.
        y : ignored

        Raises
        ------
        ValueError
            There are fewer points than centres, or a point is not finite.
        """
        X = validate_data(self, X, dtype=[np.float64, np.float32], order="C")
        if not 1 <= self.n_clusters <= len(X):
            raise ValueError(f"n_clusters must be from 1 to the number of points, {len(X)}, got {self.n_clusters}")
        rng = check_random_state(self.random_state)
        # Distances are differences of large numbers when the points lie far from the origin: move the origin.
        mean = X.mean(axis=0)
        X = X - mean
        best = None
        for _ in range(self.n_init):
            start = _seed(X, self.n_clusters, rng, self.batch_size)
            if self.batch_size is None:
                centers, n_iter = _lloyd(X, start, max_iter=self.max_iter, tol=self.tol)
            else:
                centers, n_iter = _mini_batches(X, start, self.batch_size, rng, max_iter=self.max_iter)
            labels, distances = assign(X, centers)
            inertia = float(distances.sum(dtype=np.float64))
            if best is None or inertia < best[0]:
                best = inertia, centers, labels, n_iter
        self.inertia_, centers, self.labels_, self.n_iter_ = best
        self.cluster_centers_ = centers + mean
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the number of each point's nearest centre, int32 (n_samples,)."""
        return self._assign(X)[0]

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return the distance of each point to each centre, (n_samples, n_clusters)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        mean = self.cluster_centers_.mean(axis=0)
        return np.sqrt(squared_distances(X - mean, self.cluster_centers_ - mean))

    def score(self, X: np.ndarray, y: None = None) -> float:  # noqa: ARG002
        """Return the points' inertia with its sign changed, so that more is better."""
        return -float(self._assign(X)[1].sum(dtype=np.float64))

    def _assign(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each point's nearest centre and squared distance."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False, order="C")
        mean = self.cluster_centers_.mean(axis=0)
        return assign(X - mean, self.cluster_centers_ - mean)


def squared_distances(X: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Return the squared distance of each point to each centre.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    centers : ndarray of shape (k, d)

    Returns
    -------
    ndarray of shape (n, k)
        By |x|² - 2 x·c + |c|²: one matrix product instead of n times k differences; rounding below 0 is cut off.
    """
    distances = X @ (-2 * centers).T
    distances += np.einsum("ij,ij->i", X, X)[:, np.newaxis]
    distances += np.einsum("ij,ij->i", centers, centers)
    return np.maximum(distances, 0, out=distances)


def assign(X: np.ndarray, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest centre of each point, and the squared distance to it.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    centers : ndarray of shape (k, d)

    Returns
    -------
    labels : ndarray of shape (n,), dtype int32
    distances : ndarray of shape (n,)
    """
    labels, distances = np.empty(len(X), np.int32), np.empty(len(X), X.dtype)
    minus_two, norms = np.ascontiguousarray((-2 * centers).T), np.einsum("ij,ij->i", centers, centers)
    for part in _chunks(len(X)):
        # |x|² is the same for every centre: it has no say in which is nearest.
        scores = X[part] @ minus_two
        scores += norms
        nearest = scores.argmin(axis=1)
        labels[part] = nearest
        distances[part] = np.take_along_axis(scores, nearest[:, np.newaxis], axis=1)[:, 0]
    distances += np.einsum("ij,ij->i", X, X)
    return labels, np.maximum(distances, 0, out=distances)


def _seed(X: np.ndarray, k: int, rng: np.random.RandomState, batch_size: int | None) -> np.ndarray:
    """k-means++: draw centres one by one, each point as likely as its squared distance to those that are there.

    Of a few candidates each time the one is taken that lowers the inertia most (the greedy variant). Mini-batches are
    seeded from a sample, as the seeding would otherwise take longer than they do.
    """
    if batch_size is not None:
        X = X[rng.permutation(len(X))[: max(3 * k, 3 * batch_size)]]
    n_candidates = 2 + int(np.log(k))
    norms = np.einsum("ij,ij->i", X, X)
    centers = np.empty((k, X.shape[1]), X.dtype)
    first = rng.randint(len(X))
    centers[0] = X[first]
    closest = _distances_to(X, norms, X[first : first + 1])[0]
    for number in range(1, k):
        total = closest.cumsum(dtype=np.float64)
        # Where all points coincide with centres, any point is as good as another.
        draws = rng.random_sample(n_candidates) * total[-1]
        candidates = np.minimum(np.searchsorted(total, draws), len(X) - 1)
        reached = np.minimum(_distances_to(X, norms, X[candidates]), closest)
        best = reached.sum(axis=1).argmin()
        centers[number], closest = X[candidates[best]], reached[best]
    return centers


def _distances_to(X: np.ndarray, norms: np.ndarray, some: np.ndarray) -> np.ndarray:
    """Squared distances of a few points to all, (m, n)."""
    distances = (-2 * some) @ X.T
    distances += norms
    distances += np.einsum("ij,ij->i", some, some)[:, np.newaxis]
    return np.maximum(distances, 0, out=distances)


def _lloyd(X: np.ndarray, centers: np.ndarray, *, max_iter: int, tol: float) -> tuple[np.ndarray, int]:
    """Alternate between giving points to centres and moving centres to the means of their points."""
    smallest_move = tol * X.var(axis=0, dtype=np.float64).mean()
    labels, n_iter = None, 0
    while n_iter < max_iter:
        n_iter += 1
        before, (labels, distances) = labels, assign(X, centers)
        sums, counts = _sum_by_label(X, labels, len(centers))
        moved = sums / np.maximum(counts, 1)[:, np.newaxis].astype(X.dtype)
        empty = np.flatnonzero(counts == 0)
        if len(empty):
            # A centre that lost all its points helps most where the points are farthest from theirs.
            moved[empty] = X[np.argpartition(distances, -len(empty))[-len(empty) :]]
        shift = float(((moved - centers) ** 2).sum(dtype=np.float64))
        centers = moved
        if shift <= smallest_move or (before is not None and not len(empty) and np.array_equal(before, labels)):
            break
    return centers, n_iter


def _mini_batches(
    X: np.ndarray, centers: np.ndarray, batch_size: int, rng: np.random.RandomState, *, max_iter: int
) -> tuple[np.ndarray, int]:
    """Move centres towards the means of random batches, each less the more points it has been given before."""
    centers, n_seen = centers.copy(), np.zeros(len(centers))
    n_batches = max(1, len(X) // batch_size)
    smoothed, lowest, waited, since_revival = None, np.inf, 0, 0
    # A batch is worth as much of the running mean as it is of the data.
    weight = min(1.0, 2 * batch_size / (len(X) + 1))
    step = 0
    for step in range(1, max_iter * n_batches + 1):
        batch = X[rng.randint(0, len(X), min(batch_size, len(X)))]
        labels, distances = assign(batch, centers)
        sums, counts = _sum_by_label(batch, labels, len(centers))
        n_seen += counts
        # The mean of all points that a centre has been given so far, kept up without remembering them.
        rate = (1 / np.maximum(n_seen, 1))[:, np.newaxis].astype(X.dtype)
        centers += rate * (sums - counts[:, np.newaxis].astype(X.dtype) * centers)
        inertia = distances.sum(dtype=np.float64) / len(batch)
        smoothed = inertia if smoothed is None else smoothed * (1 - weight) + inertia * weight
        since_revival += len(batch)
        if since_revival >= 10 * len(centers):
            since_revival = 0
            _revive(centers, n_seen, batch, distances, rng)
        if smoothed < lowest:
            lowest, waited = smoothed, 0
        else:
            waited += 1
        if waited >= _NO_GAIN and step > n_batches:
            break
    return centers, -(-step // n_batches)


def _revive(
    centers: np.ndarray, n_seen: np.ndarray, batch: np.ndarray, distances: np.ndarray, rng: np.random.RandomState
) -> None:
    """Move centres that have hardly any points to points of the batch that are far from theirs, in place."""
    starved = np.flatnonzero(n_seen < _STARVED * n_seen.max())[: len(batch) // 2]
    total = distances.sum(dtype=np.float64)
    if not len(starved) or total == 0:
        return
    far = min(len(starved), np.count_nonzero(distances))
    chosen = rng.choice(len(batch), far, replace=False, p=distances.astype(np.float64) / total)
    starved = starved[:far]
    centers[starved] = batch[chosen]
    n_seen[starved] = n_seen[n_seen > 0].min()


def _sum_by_label(X: np.ndarray, labels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of each centre's points, (k, d), and their number, int (k,)."""
    counts = np.bincount(labels, minlength=k)
    sums = np.zeros((k, X.shape[1]), X.dtype)
    order = np.argsort(labels, kind="stable")
    present = np.flatnonzero(counts)
    starts = np.concatenate([[0], counts[present].cumsum()[:-1]])
    # Sorted by centre, each centre's points are one slice, and one call sums all slices.
    sums[present] = np.add.reduceat(X[order], starts, axis=0)
    return sums, counts


def _chunks(n: int) -> Iterator[slice]:
    """Yield slices over n points."""
    return (slice(start, start + _CHUNK) for start in range(0, n, _CHUNK))
