"""Change the class counts of training images, through imbalanced-learn; never those of validation or test."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from sklearn.neighbors import NearestNeighbors

from ferlib.core.errors import FerlibError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

#: Strategies that make new images between neighbors of one class.
BLENDING = ("smote", "borderline_smote", "adasyn", "smote_features")

#: What `resample_images` knows, beside doing nothing.
Strategy = Literal["none", "random_over", "random_under", "smote", "borderline_smote", "adasyn", "smote_features"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)

# Principal components among which "smote_features" looks for neighbors.
_COMPONENTS = 64

# Numbers of new images that are blended as float32 at a time: 64 MB.
_CHUNK = 16_000_000


def resample_images(
    images: np.ndarray, labels: np.ndarray, strategy: str, *, random_state: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return training images with every class as large as the largest, or as the smallest.

    Only the training split may be given: resampled before a split, copies and blends of one image would stand on
    both sides of it, and validation would measure memory.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C), dtype uint8
    labels : ndarray of shape (n,), dtype int
    strategy : {"none", "random_over", "random_under", "smote", "borderline_smote", "adasyn", "smote_features"}
        SMOTE makes new images on the line between an image and one of its nearest neighbors of the same class;
        Borderline-SMOTE only from images whose neighbors are mostly of other classes; ADASYN the more from an image
        the more of its neighbors are, so its classes end about equal; ``"smote_features"`` is SMOTE whose neighbors
        are those among principal components instead of pixels.
    random_state : int

    Returns
    -------
    images : ndarray of shape (m, H, W, C), dtype uint8
        The given ones first, unless some were dropped.
    labels : ndarray of shape (m,), dtype int

    Raises
    ------
    FerlibError
        The strategy is unknown, or the classes have too few images for it.

    Notes
    -----
    Beside the images given and returned, which are uint8, this needs float32 room for those of one class (SMOTE) or
    of all (Borderline-SMOTE, ADASYN): see `_Neighbors`.

    References
    ----------
    N. Chawla, K. Bowyer, L. Hall, W. Kegelmeyer, "SMOTE: Synthetic Minority Over-sampling Technique", JAIR 2002.
    H. Han, W. Wang, B. Mao, "Borderline-SMOTE", ICIC 2005. H. He, Y. Bai, E. Garcia, S. Li, "ADASYN: Adaptive Synthetic
    Sampling Approach for Imbalanced Learning", IJCNN 2008.
    """
    if strategy not in STRATEGIES:
        raise FerlibError(f"There is no resampling '{strategy}'; expected one of {', '.join(STRATEGIES)}.")
    if strategy == "none":
        return images, labels
    if strategy in BLENDING:
        features = images.reshape(len(images), -1)
        if strategy == "smote_features":
            features = _principal_components(features, random_state)
        mixture, new_labels = plan_blends(features, labels, strategy, random_state=random_state)
        return _blend(images, mixture), new_labels
    from imblearn.over_sampling import RandomOverSampler
    from imblearn.under_sampling import RandomUnderSampler

    sampler_class = RandomOverSampler if strategy == "random_over" else RandomUnderSampler
    indices = np.arange(len(images)).reshape(-1, 1)
    chosen, new_labels = sampler_class(random_state=random_state).fit_resample(indices, labels)
    return images[chosen[:, 0]], new_labels


def plan_blends(
    features: np.ndarray, labels: np.ndarray, strategy: str, *, random_state: int
) -> "tuple[csr_matrix, np.ndarray]":
    """Return of which samples, and in which shares, imbalanced-learn would make each sample of the balanced set.

    SMOTE and its kin only ever take differences and sums of two samples, so they give the same when they work on the
    rows of an identity matrix and look for neighbors among the samples that these rows stand for. The result says
    what to blend, and nobody needs all samples as floats at once.

    Parameters
    ----------
    features : ndarray of shape (n, d)
        Where neighbors are looked for.
    labels : ndarray of shape (n,), dtype int
    strategy : {"smote", "borderline_smote", "adasyn", "smote_features"}
    random_state : int

    Returns
    -------
    mixture : sparse matrix of shape (m, n)
        Rows sum to 1; the first n are the samples themselves.
    labels : ndarray of shape (m,), dtype int

    Raises
    ------
    FerlibError
        A class has too few samples, or ADASYN finds none that it would add to.
    """
    from imblearn.over_sampling import ADASYN, SMOTE, BorderlineSMOTE
    from scipy import sparse

    smallest = np.unique(labels, return_counts=True)[1].min()
    if smallest < 2:
        raise FerlibError("SMOTE needs at least two training images of every class; take more images.")
    # Five neighbors are the methods' default, ten to tell what is at the border; a class of five has only four.
    near = _Neighbors(features, min(5, smallest - 1) + 1)
    if strategy == "adasyn":
        sampler = ADASYN(n_neighbors=near, random_state=random_state)
    elif strategy == "borderline_smote":
        around = _Neighbors(features, min(10, len(labels) - 1) + 1)
        sampler = BorderlineSMOTE(k_neighbors=near, m_neighbors=around, random_state=random_state)
    else:
        sampler = SMOTE(k_neighbors=near, random_state=random_state)
    try:
        return sampler.fit_resample(sparse.eye(len(labels), format="csr"), labels)
    except (RuntimeError, ValueError) as error:
        raise FerlibError(f"{strategy} cannot balance these classes ({error}); try smote.") from error


class _Neighbors(NearestNeighbors):
    """Nearest neighbors for imbalanced-learn, among samples that are named by rows of an identity matrix."""

    def __init__(self, features: np.ndarray, n_neighbors: int) -> None:
        super().__init__(n_neighbors=n_neighbors)
        self.features = features

    def __sklearn_clone__(self) -> "_Neighbors":
        """Share the features: scikit-learn would copy them."""
        return _Neighbors(self.features, self.n_neighbors)

    def fit(self, X: "csr_matrix", y: None = None) -> "_Neighbors":  # noqa: ARG002
        """Hold the samples among which neighbors are looked for."""
        self._held = X.indices
        return super().fit(self.features[X.indices].astype(np.float32))

    def kneighbors(
        self, X: "csr_matrix", n_neighbors: int | None = None, return_distance: bool = True
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Return the numbers of the nearest of the samples that `fit` was given, and their distances if wanted."""
        # SMOTE asks for the neighbors of the very samples that it gave; a second copy of them could be gigabytes.
        same = np.array_equal(X.indices, self._held)
        features = self._fit_X if same else self.features[X.indices].astype(np.float32)
        return super().kneighbors(features, n_neighbors, return_distance)


def _principal_components(pixels: np.ndarray, random_state: int) -> np.ndarray:
    """Return images (n, d) as float32 (n, 64) or fewer."""
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(random_state)
    # Ten thousand images say as much about the main directions as all do.
    some = rng.permutation(len(pixels))[:10_000]
    components = min(_COMPONENTS, len(some), pixels.shape[1])
    pca = PCA(components, svd_solver="randomized", random_state=random_state).fit(pixels[some].astype(np.float32))
    return np.concatenate([pca.transform(part.astype(np.float32)) for part in np.array_split(pixels, 20) if len(part)])


def _blend(images: np.ndarray, mixture: "csr_matrix") -> np.ndarray:
    """Return uint8 images (m, H, W, C) that are mixtures, (m, n), of images (n, H, W, C)."""
    flat = images.reshape(len(images), -1)
    out = np.empty((mixture.shape[0], flat.shape[1]), np.uint8)
    out[: len(flat)] = flat
    for part in _parts(len(flat), len(out), max(1, _CHUNK // flat.shape[1])):
        rows = mixture[part]
        used, place = np.unique(rows.indices, return_inverse=True)
        shares = type(rows)((rows.data.astype(np.float32), place, rows.indptr), shape=(rows.shape[0], len(used)))
        out[part] = np.clip(shares @ flat[used].astype(np.float32), 0, 255).round()
    return out.reshape(-1, *images.shape[1:])


def _parts(start: int, stop: int, size: int) -> Iterator[slice]:
    """Yield slices of at most `size` from start to stop."""
    return (slice(begin, min(begin + size, stop)) for begin in range(start, stop, size))
