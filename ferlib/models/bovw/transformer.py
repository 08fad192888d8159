"""Images to vectors of visual words, as one scikit-learn transformer."""

import warnings
from collections.abc import Iterator

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from ferlib.core.console import progress_bar
from ferlib.models.bovw.encodings import (
    ENCODINGS,
    count_words,
    fisher_vector,
    mean_positions,
    power_normalize,
    pyramid_cells,
    soft_weights,
    vlad,
)
from ferlib.models.bovw.features import LocalFeatures
from ferlib.models.bovw.kmeans import KMeans, assign, squared_distances

# Features that a vocabulary is learned from, of one image: fifty say little less than all, and let more images in.
_PER_PICTURE = 50

# Images that a thread encodes before it takes the next ones.
_TOGETHER = 32

# Nearest words that share a point in soft assignment.
_N_NEAREST = 5


class BagOfVisualWords(TransformerMixin, BaseEstimator):
    """Turn images into vectors that say which visual words their local features are, and where.

    Parameters
    ----------
    n_words : int
        Size of the vocabulary; fewer are learned when the images give fewer features.
    features : {"dense_sift", "grid_sift", "sift", "orb", "patches"}
        See `ferlib.models.bovw.features.LocalFeatures`, for the next three as well.
    step : int
    patch_sizes : tuple of int
    upscale : int
    n_components : int
        Principal components that descriptors are reduced to; 0 leaves them as they are.
    encoding : {"histogram", "presence", "tfidf", "soft", "vlad", "fisher"}
        Square roots of the words' shares; 1 for a word that occurs; shares weighed by how few images a word occurs
        in; shares with each point shared by its five nearest words; what is left of the descriptors beside their
        words; the gradient of a mixture of Gaussians, whose words are the Gaussians.
    levels : tuple of int
        Spatial pyramid: (1,) is the image as a whole, (1, 2) adds its quarters, and so on.
    means : bool
        Also say where in the image each word's occurrences lie on average, and how far they are spread.
    position_weight : float
        With Fisher vectors: how much a point's place counts as part of its descriptor; 0 for not at all.
    mirror : bool
        Make one bag of the features of each image and of its mirror image, which shows the same emotion: the vectors
        of both are equal then.
    n_samples : int
        How many features the vocabulary is learned from at most, fifty an image.
    random_state : int
        Seeds the draw and k-means.

    Attributes
    ----------
    vocabulary_ : ndarray of shape (n_words, d), dtype float32
        The words: centres of descriptors.
    places_ : ndarray of shape (n_words, 2)
        Where each word lies on average, x and y as fractions.
    place_deviations_ : ndarray of shape (n_words, 2)
    document_shares_ : ndarray of shape (n_words,)
        In which share of the images each word occurs.

    References
    ----------
    G. Csurka, C. Dance, L. Fan, J. Willamowski, C. Bray, "Visual Categorization with Bags of Keypoints", ECCV
    workshop 2004; `ferlib.models.bovw.encodings` names those of the encodings.
    """

    def __init__(
        self,
        *,
        n_words: int = 1000,
        features: str = "dense_sift",
        step: int = 2,
        patch_sizes: tuple[int, ...] = (8, 12, 16, 24),
        upscale: int = 2,
        n_components: int = 0,
        encoding: str = "histogram",
        levels: tuple[int, ...] = (1,),
        means: bool = False,
        position_weight: float = 0.0,
        mirror: bool = False,
        n_samples: int = 200_000,
        random_state: int = 0,
    ) -> None:
        self.n_words = n_words
        self.features = features
        self.step = step
        self.patch_sizes = patch_sizes
        self.upscale = upscale
        self.n_components = n_components
        self.encoding = encoding
        self.levels = levels
        self.means = means
        self.position_weight = position_weight
        self.mirror = mirror
        self.n_samples = n_samples
        self.random_state = random_state

    def fit(self, images: np.ndarray, y: np.ndarray | None = None) -> "BagOfVisualWords":  # noqa: ARG002
        """Learn the vocabulary from images, uint8 (n, H, W, C)."""
        if self.encoding not in ENCODINGS:
            raise ValueError(f"encoding must be one of {', '.join(ENCODINGS)}, got '{self.encoding}'")
        rng = np.random.default_rng(self.random_state)
        chosen = np.sort(rng.permutation(len(images))[: max(1, self.n_samples // _PER_PICTURE)])
        bar = progress_bar(self._describe(images[chosen]), total=len(chosen), desc="describe for words", unit="image")
        drawn, places = zip(*(self._draw(found, where, rng) for found, where in bar), strict=True)
        image = np.repeat(np.arange(len(drawn)), [len(part) for part in drawn])
        descriptors, places = np.concatenate(drawn), np.concatenate(places)
        self._fit_reduction(descriptors)
        reduced = self._reduce(descriptors, places)
        n_words = min(self.n_words, len(reduced))
        kmeans = KMeans(n_words, batch_size=4096, random_state=self.random_state).fit(reduced)
        self.vocabulary_ = kmeans.cluster_centers_.astype(np.float32)
        if self.encoding == "fisher":
            self._fit_mixture(reduced)
        _, self.places_, self.place_deviations_ = mean_positions(kmeans.labels_, places, n_words)
        pairs = np.unique(image * n_words + kmeans.labels_)
        self.document_shares_ = count_words(pairs % n_words, n_words) / len(drawn)
        return self

    def transform(self, images: np.ndarray) -> np.ndarray:
        """Return the images' vectors.

        Parameters
        ----------
        images : ndarray of shape (n, H, W, C), dtype uint8

        Returns
        -------
        ndarray of shape (n, length), dtype float32
            Cell by cell of the pyramid, then the means. Each cell's part has length 1, or 0 if nothing is in it.
        """
        check_is_fitted(self, "vocabulary_")
        out = np.empty((len(images), self._length()), np.float32)

        def fill(start: int) -> int:
            some = slice(start, start + _TOGETHER)
            for row, (descriptors, places) in zip(out[some], self._describe(images[some]), strict=True):
                row[:] = self._encode(self._reduce(descriptors, places), places)
            return len(out[some])

        # An image's matrices are small: BLAS would lose more by sharing each among the cores than it gains.
        with (
            threadpool_limits(1, user_api="blas"),
            # A bar for a handful of images would only flash.
            progress_bar(total=len(images), desc="encode", unit="image", disable=len(images) < 500) as bar,
        ):
            starts = range(0, len(images), _TOGETHER)
            for done in Parallel(-1, backend="threading", return_as="generator")(delayed(fill)(n) for n in starts):
                bar.update(done)
        return out

    def _local(self) -> LocalFeatures:
        """Return the extractor."""
        return LocalFeatures(
            kind=self.features, step=self.step, patch_sizes=tuple(self.patch_sizes), upscale=self.upscale
        )

    def _describe(self, images: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the local features of each image, with those of its mirror image if wanted."""
        found = self._local().describe(images)
        if not self.mirror:
            return found
        both = zip(found, self._local().describe(images[:, :, ::-1]), strict=True)
        return (tuple(np.concatenate(pair) for pair in zip(one, other, strict=True)) for one, other in both)

    def _draw(
        self, descriptors: np.ndarray, places: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return fifty of an image's features."""
        chosen = rng.permutation(len(descriptors))[:_PER_PICTURE]
        return descriptors[chosen], places[chosen]

    def _fit_reduction(self, descriptors: np.ndarray) -> None:
        """Find the principal components of descriptors, scaled so that all of them together have variance 1 each."""
        n_components = min(self.n_components, descriptors.shape[1], len(descriptors))
        if not n_components:
            self.components_ = self.offset_ = None
            return
        from sklearn.decomposition import PCA

        pca = PCA(n_components, random_state=self.random_state).fit(descriptors)
        self.components_ = (pca.components_ / np.sqrt(pca.explained_variance_.mean())).astype(np.float32)
        self.offset_ = (self.components_ @ pca.mean_).astype(np.float32)

    def _reduce(self, descriptors: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Return descriptors as the vocabulary has them, float32 (n_points, d)."""
        if self.components_ is not None:
            descriptors = descriptors @ self.components_.T - self.offset_
        if self.encoding == "fisher" and self.position_weight:
            # Evenly spread places have a variance of 1/12.
            scaled = (places - 0.5) * np.float32(self.position_weight * np.sqrt(12))
            descriptors = np.concatenate([descriptors, scaled], axis=1)
        return np.ascontiguousarray(descriptors, np.float32)

    def _fit_mixture(self, descriptors: np.ndarray) -> None:
        """Fit the Gaussians of Fisher vectors, beginning from k-means."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        mixture = GaussianMixture(
            len(self.vocabulary_),
            covariance_type="diag",
            means_init=self.vocabulary_,
            max_iter=30,
            reg_covar=1e-4,
            random_state=self.random_state,
        )
        with warnings.catch_warnings():
            # Thirty rounds are enough for a vocabulary, settled or not.
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(descriptors)
        self.vocabulary_ = mixture.means_.astype(np.float32)
        self.deviations_ = np.sqrt(mixture.covariances_).astype(np.float32)
        self.weights_ = mixture.weights_.astype(np.float32)

    def _encode(self, descriptors: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Return one image's vector."""
        cells = pyramid_cells(places, tuple(self.levels))
        if self.encoding == "fisher":
            posteriors = self._posteriors(descriptors)
            parts = [
                fisher_vector(descriptors[cell], posteriors[cell], self.weights_, self.vocabulary_, self.deviations_)
                for cell in cells
            ]
            return np.concatenate([power_normalize(part) for part in parts])
        n_words = len(self.vocabulary_)
        words, weights = self._words(descriptors)
        if self.encoding == "vlad":
            parts = [power_normalize(vlad(descriptors[cell], words[cell], self.vocabulary_).ravel()) for cell in cells]
        else:
            parts = [
                self._weigh(count_words(words[cell], n_words, None if weights is None else weights[cell]))
                for cell in cells
            ]
        if self.means:
            nearest = words if words.ndim == 1 else words[:, 0]
            parts.append(self._describe_places(nearest, places))
        return np.concatenate(parts)

    def _words(self, descriptors: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return each point's word, or its nearest ones and their shares."""
        if self.encoding != "soft":
            return assign(descriptors, self.vocabulary_)[0], None
        distances = squared_distances(descriptors, self.vocabulary_)
        m = min(_N_NEAREST, distances.shape[1])
        words = np.argpartition(distances, m - 1, axis=1)[:, :m]
        near = np.take_along_axis(distances, words, axis=1)
        order = near.argsort(axis=1)
        words, near = np.take_along_axis(words, order, axis=1), np.take_along_axis(near, order, axis=1)
        # Distances are measured by the usual one to the nearest word.
        return words, soft_weights(near, beta=2 / max(float(near[:, 0].mean()), 1e-9)) if len(near) else near

    def _weigh(self, counts: np.ndarray) -> np.ndarray:
        """Return a cell's counts as the encoding wants them, of length 1 or 0."""
        if self.encoding == "presence":
            values = (counts > 0).astype(np.float32)
        elif self.encoding == "tfidf":
            # Half an image is added, so that a word that no image of the sample had does not get an infinite weight.
            values = counts * np.log(1 / np.minimum(1, self.document_shares_ + 1e-4))
        else:
            values = np.sqrt(counts)
        return values / max(np.linalg.norm(values), 1e-12)

    def _describe_places(self, words: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Return how far each word's occurrences lie from where it usually is, and how far they are spread.

        Offsets are in standard deviations of the word's usual place, and weighed like the word itself, by the square
        root of its share, so that a word that does not occur says nothing.
        """
        counts, means, spreads = mean_positions(words, places, len(self.vocabulary_))
        usual = np.maximum(self.place_deviations_, 0.05)
        weights = np.sqrt(counts / max(1, counts.sum()))[:, np.newaxis]
        offsets = weights * np.clip((means - self.places_) / usual, -3, 3)
        widths = weights * np.clip(spreads / usual - 1, -3, 3) * (counts > 1)[:, np.newaxis]
        return np.concatenate([offsets.ravel(), widths.ravel()]).astype(np.float32)

    def _posteriors(self, descriptors: np.ndarray) -> np.ndarray:
        """Return how much of each point belongs to each Gaussian, (n_points, n_words)."""
        precision = 1 / self.deviations_**2
        constant = np.log(self.weights_) - np.log(self.deviations_).sum(axis=1)
        constant -= 0.5 * (self.vocabulary_**2 * precision).sum(axis=1)
        logs = descriptors @ (self.vocabulary_ * precision).T - 0.5 * descriptors**2 @ precision.T + constant
        likelihood = np.exp(logs - logs.max(axis=1, keepdims=True))
        likelihood /= likelihood.sum(axis=1, keepdims=True)
        # What is next to nothing costs as much as the rest.
        likelihood[likelihood < 1e-4] = 0
        return likelihood

    def _length(self) -> int:
        """Return the length of an image's vector."""
        n_words, width = self.vocabulary_.shape
        cells = sum(level * level for level in self.levels)
        part = {"vlad": n_words * width, "fisher": 2 * n_words * width}.get(self.encoding, n_words)
        with_places = self.means and self.encoding not in ("vlad", "fisher")
        return cells * part + (4 * n_words if with_places else 0)


def iterate_words(bag: BagOfVisualWords, images: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield for each image the words of its points, int (n_points,), and where they lie, (n_points, 2).

    Parameters
    ----------
    bag : BagOfVisualWords
        Fitted, not with Fisher vectors.
    images : ndarray of shape (n, H, W, C), dtype uint8
    """
    for descriptors, places in bag._local().describe(images):
        yield assign(bag._reduce(descriptors, places), bag.vocabulary_)[0], places
