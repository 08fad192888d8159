"""Change the class counts of training images; never those of validation or test."""

from typing import Literal, NamedTuple, get_args

import numpy as np

from ferlib.core.errors import FerlibError

#: Strategies that create new images between neighbors of one class.
BLENDING = ("smote", "borderline_smote", "adasyn", "smote_features")

#: The strategies of `resample_images`.
Strategy = Literal["none", "random_over", "random_under", "smote", "borderline_smote", "adasyn", "smote_features"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)

# The methods' defaults: neighbors to blend with, and neighbors that tell whether a sample is at the border.
_N_NEIGHBORS, _N_BORDER_NEIGHBORS = 5, 10

# Principal components in which "smote_features" searches for neighbors, and images that they are computed from.
_COMPONENTS, _PCA_IMAGES = 64, 10_000

# Pixels that are blended as float32 at a time: 64 MB.
_CHUNK_PIXELS = 16_000_000


def resample_images(
    images: np.ndarray, labels: np.ndarray, strategy: Strategy, *, random_state: int
) -> tuple[np.ndarray, np.ndarray]:
    """Balance the classes of training images.

    Resample only the training split. Resampling before splitting would put copies and blends of one image into
    several splits, and validation scores would be too high. The given images come first, unless some are dropped.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C), dtype uint8
    labels : ndarray of shape (n,), dtype int
    strategy : str
        - ``"none"`` returns the images unchanged.
        - ``"random_over"`` repeats images until every class is as large as the largest.
        - ``"random_under"`` drops images until every class is as small as the smallest.
        - ``"smote"`` adds blends of an image and one of its nearest neighbors of the same class.
        - ``"borderline_smote"`` blends only images whose neighbors are mostly, but not all, of other classes.
        - ``"adasyn"`` blends images the more often, the more of their neighbors are of other classes. The class counts
          become only approximately equal.
        - ``"smote_features"`` is SMOTE with neighbors in principal components instead of pixels.
    random_state : int

    Raises
    ------
    FerlibError
        The strategy is unknown, or the classes have too few images for it.

    Notes
    -----
    The results are those of imbalanced-learn (which the tests compare), but its samplers need all images, old and new,
    as floats at once. Here only the images of one class (SMOTE) or all given images (Borderline-SMOTE, ADASYN) are
    converted to float32, and the new images are blended in chunks.

    References
    ----------
    N. Chawla, K. Bowyer, L. Hall, W. Kegelmeyer, "SMOTE: Synthetic Minority Over-sampling Technique", JAIR 2002.
    H. Han, W. Wang, B. Mao, "Borderline-SMOTE: A New Over-Sampling Method in Imbalanced Data Sets Learning", ICIC 2005.
    H. He, Y. Bai, E. Garcia, S. Li, "ADASYN: Adaptive Synthetic Sampling Approach for Imbalanced Learning", IJCNN 2008.
    """
    if strategy not in STRATEGIES:
        raise FerlibError(f"'{strategy}' is not a resampling strategy; expected one of {', '.join(STRATEGIES)}.")
    if strategy == "none":
        return images, labels
    if strategy in BLENDING:
        blends = _plan_blends(images.reshape(len(images), -1), labels, strategy, random_state)
        return _blend(images, blends), np.concatenate([labels, labels[blends.first]])
    from imblearn.over_sampling import RandomOverSampler
    from imblearn.under_sampling import RandomUnderSampler

    sampler_class = RandomOverSampler if strategy == "random_over" else RandomUnderSampler
    indices = np.arange(len(images)).reshape(-1, 1)
    chosen, new_labels = sampler_class(random_state=random_state).fit_resample(indices, labels)
    return images[chosen[:, 0]], new_labels


class _Blends(NamedTuple):
    """Samples to create: ``first + step * (second - first)``; arrays of shape (k,), the first two of row numbers."""

    first: np.ndarray
    second: np.ndarray
    step: np.ndarray


def _plan_blends(pixels: np.ndarray, labels: np.ndarray, strategy: str, random_state: int) -> _Blends:
    """Choose the pairs of images (n, d) to blend, with the random numbers that imbalanced-learn uses."""
    from sklearn.utils import check_random_state

    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2:
        raise FerlibError("SMOTE needs at least two training images of every class; use more images.")
    k = min(_N_NEIGHBORS, int(counts.min()) - 1)
    features = _principal_components(pixels, random_state) if strategy == "smote_features" else pixels
    everything = np.arange(len(labels))
    shared_rng = check_random_state(random_state)
    plans = [_Blends(everything[:0], everything[:0], np.zeros(0))]
    for label, missing in zip(classes, counts.max() - counts, strict=True):
        if not missing:
            continue
        own = bases = np.flatnonzero(labels == label)
        if strategy == "adasyn":
            difficulty = (labels[_nearest(features, everything, own, k)] != label).mean(axis=1)
            repeats = np.rint(difficulty / max(difficulty.sum(), 1e-12) * missing).astype(int)
            if not repeats.any():
                raise FerlibError("adasyn cannot balance classes without neighbors of other classes; use smote.")
            near = _nearest(features, own, own, k)
            row = np.repeat(np.arange(len(own)), repeats)
            column, step = shared_rng.choice(k, size=len(row)), shared_rng.uniform(size=len(row))
        else:
            if strategy == "borderline_smote":
                m = min(_N_BORDER_NEIGHBORS, len(labels) - 1)
                others = (labels[_nearest(features, everything, own, m)] != label).sum(axis=1)
                bases = own[(others >= m / 2) & (others < m)]
                if not len(bases):
                    continue
            near = _nearest(features, own, bases, k)
            rng = check_random_state(random_state)
            row, column = np.divmod(rng.randint(near.size, size=missing), k)
            step = rng.uniform(size=missing)
        plans.append(_Blends(bases[row], near[row, column], step))
    return _Blends(*(np.concatenate(parts) for parts in zip(*plans, strict=True)))


def _nearest(features: np.ndarray, among: np.ndarray, rows: np.ndarray, k: int) -> np.ndarray:
    """Return the row numbers (len(rows), k) of the nearest neighbors of some rows among others, without themselves."""
    from sklearn.neighbors import NearestNeighbors

    samples = features[among].astype(np.float32)
    queries = samples if rows is among else features[rows].astype(np.float32)
    search = NearestNeighbors(n_neighbors=k + 1).fit(samples)
    return among[search.kneighbors(queries, return_distance=False)[:, 1:]]


def _principal_components(pixels: np.ndarray, random_state: int) -> np.ndarray:
    """Return images (n, d) as float32 (n, 64) or fewer."""
    from sklearn.decomposition import PCA
    from sklearn.utils import gen_batches

    chosen = np.random.default_rng(random_state).permutation(len(pixels))[:_PCA_IMAGES]
    n_components = min(_COMPONENTS, len(chosen), pixels.shape[1])
    pca = PCA(n_components, svd_solver="randomized", random_state=random_state)
    pca.fit(pixels[chosen].astype(np.float32))
    parts = gen_batches(len(pixels), max(1, _CHUNK_PIXELS // pixels.shape[1]))
    return np.concatenate([pca.transform(pixels[part].astype(np.float32)) for part in parts])


def _blend(images: np.ndarray, blends: _Blends) -> np.ndarray:
    """Return images (n, H, W, C) followed by their blends, uint8 (n + k, H, W, C)."""
    from sklearn.utils import gen_batches

    n, k = len(images), len(blends.first)
    out = np.empty((n + k, *images.shape[1:]), np.uint8)
    out[:n] = images
    for part in gen_batches(k, max(1, _CHUNK_PIXELS // images[0].size)):
        first = images[blends.first[part]].astype(np.float32)
        step = blends.step[part, np.newaxis, np.newaxis, np.newaxis].astype(np.float32)
        out[n + part.start : n + part.stop] = np.rint(first + step * (images[blends.second[part]] - first))
    return out
