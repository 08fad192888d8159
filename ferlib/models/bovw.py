"""Bags of visual words: a picture as the histogram of its local features, classified linearly."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import cv2
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ferlib.images import to_gray
from ferlib.models.registry import register_model
from ferlib.progress import track

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


# Features that k-means takes of one picture.
_PER_PICTURE = 50


@register_model(kind="bovw")
def bovw(*, random_state: int, n_words: int = 1000, grid: int = 2, C: float = 1.0) -> "Pipeline":
    """Dense SIFT, a k-means vocabulary, word histograms by region of the face, and logistic regression.

    Parameters
    ----------
    random_state : int
        Seeds the vocabulary's sample and k-means.
    n_words : int
        Size of the vocabulary.
    grid : int
        Histograms are made over the whole picture and over `grid` x `grid` parts of it.
    C : float
        Inverse strength of the classifier's L2 penalty.

    Returns
    -------
    sklearn.pipeline.Pipeline
        ``fit(images, labels)`` and ``predict_proba(images)`` on uint8 (n, H, W, C).

    References
    ----------
    G. Csurka, C. Dance, L. Fan, J. Willamowski, C. Bray, "Visual Categorization with Bags of Keypoints", ECCV
    workshop 2004. S. Lazebnik, C. Schmid, J. Ponce, "Beyond Bags of Features", CVPR 2006.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    words = BagOfVisualWords(n_words=n_words, grid=grid, random_state=random_state)
    return make_pipeline(words, LogisticRegression(C=C, max_iter=300))


class BagOfVisualWords(TransformerMixin, BaseEstimator):
    """Turn pictures into histograms of the visual words that their local features are nearest to.

    Parameters
    ----------
    n_words : int
        Size of the vocabulary; fewer are learned when the pictures give fewer features.
    step : int
        Distance between the points of the dense grid, in pixels.
    patch_sizes : tuple of int
        Sides of the square patches that are described, in pixels.
    grid : int
        1 for one histogram over the picture; more adds the histograms of grid x grid parts.
    n_samples : int
        How many features k-means sees at most, fifty a picture.
    random_state : int
        Seeds the draw and k-means.

    Attributes
    ----------
    vocabulary_ : ndarray of shape (n_words, 128), dtype float32
        The words: centres of RootSIFT descriptors.

    References
    ----------
    D. Lowe, "Distinctive Image Features from Scale-Invariant Keypoints", IJCV 2004. R. Arandjelovic, A. Zisserman,
    "Three things everyone should know to improve object retrieval", CVPR 2012 (RootSIFT).
    """

    def __init__(
        self,
        *,
        n_words: int = 1000,
        step: int = 4,
        patch_sizes: tuple[int, ...] = (12, 16, 24),
        grid: int = 2,
        n_samples: int = 200_000,
        random_state: int = 0,
    ) -> None:
        self.n_words = n_words
        self.step = step
        self.patch_sizes = patch_sizes
        self.grid = grid
        self.n_samples = n_samples
        self.random_state = random_state

    def fit(self, images: np.ndarray, y: np.ndarray | None = None) -> "BagOfVisualWords":  # noqa: ARG002
        """Learn the vocabulary from pictures, uint8 (n, H, W, C)."""
        from sklearn.cluster import MiniBatchKMeans

        rng = np.random.default_rng(self.random_state)
        # Fifty features of a picture say little less than all of it, and let k-means see more pictures.
        chosen = np.sort(rng.permutation(len(images))[: max(1, self.n_samples // _PER_PICTURE)])
        bar = track(self._describe(images[chosen]), total=len(chosen), desc="describe for k-means", unit="picture")
        descriptors = np.concatenate([found[rng.permutation(len(found))[:_PER_PICTURE]] for found in bar])
        kmeans = MiniBatchKMeans(
            n_clusters=min(self.n_words, len(descriptors)), batch_size=4096, n_init=1, random_state=self.random_state
        )
        self.vocabulary_ = kmeans.fit(descriptors).cluster_centers_
        return self

    def transform(self, images: np.ndarray) -> np.ndarray:
        """Return the pictures' histograms.

        Parameters
        ----------
        images : ndarray of shape (n, H, W, C), dtype uint8

        Returns
        -------
        ndarray of shape (n, parts * n_words), dtype float32
            Square roots of each histogram's shares (the Hellinger kernel's map), so that every part has length 1.
        """
        check_is_fitted(self, "vocabulary_")
        points = self._key_points(images.shape[1:3])
        parts = self._parts(points, images.shape[1:3])
        n_words = len(self.vocabulary_)
        half_norms = (self.vocabulary_**2).sum(axis=1) / 2
        out = np.empty((len(images), len(parts), n_words), np.float32)
        # A bar for a handful of pictures would only flash.
        bar = track(
            self._describe(images), total=len(images), desc="count words", unit="picture", disable=len(images) < 500
        )
        for row, descriptors in zip(out, bar, strict=True):
            words = (descriptors @ self.vocabulary_.T - half_norms).argmax(axis=1)
            for histogram, inside in zip(row, parts, strict=True):
                counts = np.bincount(words[inside], minlength=n_words)
                histogram[:] = np.sqrt(counts / max(1, counts.sum()))
        return out.reshape(len(images), -1)

    def _key_points(self, size: tuple[int, int]) -> list[cv2.KeyPoint]:
        """Return the dense grid's key points, all patch sizes at each position."""
        height, width = size
        start = self.step // 2
        # OpenCV's descriptor spans four bins of 1.5 diameters each: six diameters in all.
        return [
            cv2.KeyPoint(float(x), float(y), side / 6, 0.0)
            for side in self.patch_sizes
            for y in range(start, height, self.step)
            for x in range(start, width, self.step)
        ]

    def _parts(self, points: list[cv2.KeyPoint], size: tuple[int, int]) -> list[np.ndarray]:
        """Return which key points, as bool (n_points,), lie in the picture and in each of its parts."""
        everywhere = [np.ones(len(points), bool)]
        if self.grid == 1:
            return everywhere
        rows = np.array([int(point.pt[1] * self.grid / size[0]) for point in points])
        columns = np.array([int(point.pt[0] * self.grid / size[1]) for point in points])
        cells = [(rows == row) & (columns == column) for row in range(self.grid) for column in range(self.grid)]
        return everywhere + cells

    def _describe(self, images: np.ndarray) -> Iterator[np.ndarray]:
        """Yield each picture's RootSIFT descriptors, float32 (n_points, 128)."""
        sift = cv2.SIFT_create()
        points = self._key_points(images.shape[1:3])
        for image in to_gray(images):
            _, descriptors = sift.compute(image[..., 0], points)
            # A flat patch has no gradient: its descriptor stays zero instead of becoming not-a-number.
            descriptors /= np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-7)
            yield np.sqrt(descriptors)
