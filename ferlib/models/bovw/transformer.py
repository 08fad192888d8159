"""Bags of visual words as a scikit-learn transformer."""

import warnings
from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from ferlib.core.console import progress_bar
from ferlib.models.bovw.encodings import (
    count_words,
    fisher_vector,
    gaussian_posteriors,
    power_normalize,
    pyramid_cells,
    spatial_statistics,
    word_positions,
)
from ferlib.models.bovw.features import dense_sift
from ferlib.models.bovw.kmeans import KMeans, assign

Encoding = Literal["histogram", "fisher"]

# The vocabulary is learned from at most so many images, and so many descriptors of each.
_MAX_IMAGES = 4000
_PER_IMAGE = 50

# Images that are described at a time; see `dense_sift`.
_BATCH = 16


class BagOfVisualWords(TransformerMixin, BaseEstimator):
    """Encode images by the visual words that their dense SIFT descriptors are assigned to.

    Parameters
    ----------
    n_words : int
        Size of the vocabulary, at most the number of sampled descriptors.
    step : int
        Grid spacing of the descriptors in pixels.
    patch_sizes : tuple of int
        Side lengths of the described patches in pixels.
    n_components : int
        Principal components of the descriptors to keep; 0 for all 128 dimensions as they are.
    encoding : {"histogram", "fisher"}
        ``"histogram"``: square roots of the words' frequencies; words are centroids of k-means.
        ``"fisher"``: Fisher vectors; words are the components of a Gaussian mixture.
    levels : tuple of int
        Levels of the spatial pyramid: (1,) is the whole image, (1, 2) adds its quadrants.
    spatial_stats : bool
        With histograms: add mean and spread of the positions of each word.
    position_weight : float
        With Fisher vectors: weight of the position as part of each descriptor; 0 for none.
    flip_invariant : bool
        Combine the descriptors of each image and of its mirror image, so that both have the same vector.
    random_state : int
        Determines the sample of descriptors, k-means and the mixture.

    Attributes
    ----------
    vocabulary_ : ndarray of shape (n_words, d), dtype float32
        The visual words.
    positions_ : ndarray of shape (n_words, 2)
        Mean position of each word in the training images, x and y as fractions of width and height.
    position_deviations_ : ndarray of shape (n_words, 2)
        Standard deviation of these positions.

    References
    ----------
    G. Csurka, C. Dance, L. Fan, J. Willamowski, C. Bray, "Visual Categorization with Bags of Keypoints", ECCV
    workshop 2004. See `ferlib.models.bovw.encodings` for the encodings.
    """

    def __init__(
        self,
        *,
        n_words: int = 1000,
        step: int = 2,
        patch_sizes: tuple[int, ...] = (8, 12, 16, 24),
        n_components: int = 0,
        encoding: Encoding = "histogram",
        levels: tuple[int, ...] = (1,),
        spatial_stats: bool = False,
        position_weight: float = 0.0,
        flip_invariant: bool = False,
        random_state: int = 0,
    ) -> None:
        self.n_words = n_words
        self.step = step
        self.patch_sizes = patch_sizes
        self.n_components = n_components
        self.encoding = encoding
        self.levels = levels
        self.spatial_stats = spatial_stats
        self.position_weight = position_weight
        self.flip_invariant = flip_invariant
        self.random_state = random_state

    def fit(self, images: np.ndarray, y: np.ndarray | None = None) -> "BagOfVisualWords":  # noqa: ARG002
        """Learn the vocabulary from images, uint8 (n, H, W, C).

        Raises
        ------
        ValueError
            `encoding` is unknown.
        """
        if self.encoding not in get_args(Encoding):
            raise ValueError(f"encoding must be one of {', '.join(get_args(Encoding))}, got '{self.encoding}'")
        descriptors, positions = self._sample(images)
        self._fit_reduction(descriptors)
        descriptors = self._reduce(descriptors, positions)
        n_words = min(self.n_words, len(descriptors))
        kmeans = KMeans(n_words, batch_size=4096, random_state=self.random_state).fit(descriptors)
        self.vocabulary_ = kmeans.cluster_centers_.astype(np.float32)
        _, self.positions_, self.position_deviations_ = word_positions(kmeans.labels_, positions, n_words)
        if self.encoding == "fisher":
            self._fit_mixture(descriptors)
        return self

    def transform(self, images: np.ndarray) -> np.ndarray:
        """Return the vectors of images uint8 (n, H, W, C), float32 (n, n_features).

        First come the cells of the pyramid, each of length 1, then the spatial statistics.
        """
        check_is_fitted(self, "vocabulary_")

        vectors = np.empty((len(images), self._n_features()), np.float32)

        def encode(start: int) -> int:
            batch = slice(start, start + _BATCH)
            descriptors, positions = self._describe(images[batch])
            for vector, each in zip(vectors[batch], descriptors, strict=True):
                vector[:] = self._encode(self._reduce(each, positions), positions)
            return len(descriptors)

        with (
            # The matrices of one image are small: threads of BLAS would cost more than they gain.
            threadpool_limits(1, user_api="blas"),
            progress_bar(total=len(images), desc="encode", unit="image", disable=len(images) < 500) as bar,
        ):
            starts = range(0, len(images), _BATCH)
            for done in Parallel(-1, backend="threading", return_as="generator")(delayed(encode)(n) for n in starts):
                bar.update(done)
        return vectors

    def iterate_words(self, images: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the words, int (n_points,), of each image uint8 (H, W, C), and their positions, (n_points, 2).

        Positions are x and y as fractions of width and height. Words of the mirror image are left out.
        """
        for start in range(0, len(images), _BATCH):
            descriptors, positions = self._dense_sift(images[start : start + _BATCH])
            for each in descriptors:
                yield assign(self._reduce(each, positions), self.vocabulary_)[0], positions

    def _dense_sift(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return dense_sift(images, step=self.step, patch_sizes=tuple(self.patch_sizes))

    def _describe(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the descriptors of images, (n, n_points, 128), and their positions, (n_points, 2)."""
        descriptors, positions = self._dense_sift(images)
        if not self.flip_invariant:
            return descriptors, positions
        flipped, _ = self._dense_sift(images[:, :, ::-1])
        return np.concatenate([descriptors, flipped], axis=1), np.concatenate([positions, positions])

    def _sample(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return randomly chosen descriptors of images, (n_samples, 128), and their positions, (n_samples, 2)."""
        rng = np.random.default_rng(self.random_state)
        images = images[np.sort(rng.permutation(len(images))[:_MAX_IMAGES])]
        sampled: list[tuple[np.ndarray, np.ndarray]] = []
        with progress_bar(total=len(images), desc="sample descriptors", unit="image") as bar:
            for start in range(0, len(images), _BATCH):
                batch, positions = self._describe(images[start : start + _BATCH])
                for descriptors in batch:
                    chosen = rng.permutation(len(descriptors))[:_PER_IMAGE]
                    sampled.append((descriptors[chosen], positions[chosen]))
                bar.update(len(batch))
        return np.concatenate([each for each, _ in sampled]), np.concatenate([each for _, each in sampled])

    def _fit_reduction(self, descriptors: np.ndarray) -> None:
        """Fit the principal components, scaled to a mean variance of 1."""
        self.components_ = self.offset_ = None
        n_components = min(self.n_components, *descriptors.shape)
        if n_components:
            pca = PCA(n_components, random_state=self.random_state).fit(descriptors)
            self.components_ = (pca.components_ / np.sqrt(pca.explained_variance_.mean())).astype(np.float32)
            self.offset_ = (self.components_ @ pca.mean_).astype(np.float32)

    def _reduce(self, descriptors: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Return descriptors in the space of the vocabulary, float32 (n_points, d)."""
        if self.components_ is not None:
            descriptors = descriptors @ self.components_.T - self.offset_
        if self.encoding == "fisher" and self.position_weight:
            # Uniformly distributed positions have a variance of 1/12.
            scaled = (positions - 0.5) * np.float32(self.position_weight * np.sqrt(12))
            descriptors = np.concatenate([descriptors, scaled], axis=1)
        return np.ascontiguousarray(descriptors, np.float32)

    def _fit_mixture(self, descriptors: np.ndarray) -> None:
        """Fit the Gaussian mixture of Fisher vectors, initialized with the centroids of k-means."""
        mixture = GaussianMixture(
            len(self.vocabulary_),
            covariance_type="diag",
            means_init=self.vocabulary_,
            max_iter=30,
            reg_covar=1e-4,
            random_state=self.random_state,
        )
        with warnings.catch_warnings():
            # Thirty iterations are enough for a vocabulary, converged or not.
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(descriptors)
        self.vocabulary_ = mixture.means_.astype(np.float32)
        self.deviations_ = np.sqrt(mixture.covariances_).astype(np.float32)
        self.weights_ = mixture.weights_.astype(np.float32)

    def _encode(self, descriptors: np.ndarray, positions: np.ndarray) -> np.ndarray:
        cells = pyramid_cells(positions, tuple(self.levels))
        if self.encoding == "fisher":
            mixture = (self.weights_, self.vocabulary_, self.deviations_)
            posteriors = gaussian_posteriors(descriptors, *mixture)
            parts = [fisher_vector(descriptors[cell], posteriors[cell], *mixture) for cell in cells]
            return np.concatenate([power_normalize(part) for part in parts])
        words, _ = assign(descriptors, self.vocabulary_)
        parts = [power_normalize(count_words(words[cell], len(self.vocabulary_))) for cell in cells]
        if self.spatial_stats:
            parts.append(spatial_statistics(words, positions, self.positions_, self.position_deviations_))
        return np.concatenate(parts)

    def _n_features(self) -> int:
        n_words, width = self.vocabulary_.shape
        n_cells = sum(level * level for level in self.levels)
        if self.encoding == "fisher":
            return n_cells * 2 * n_words * width
        return (n_cells + 4 * self.spatial_stats) * n_words
