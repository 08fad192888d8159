"""Show visual words: their patches, their positions, and the classes that they indicate."""

from typing import TYPE_CHECKING

import numpy as np

from ferlib.core.images import to_gray
from ferlib.models.bovw.transformer import BagOfVisualWords

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def mean_patches(bag: BagOfVisualWords, images: np.ndarray, *, side: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean image patch around the occurrences of each word of a fitted bag with histograms.

    `images` are uint8 (n, H, W, C), `side` the side length of the patches in pixels; occurrences too close to the
    border are ignored.

    Returns
    -------
    patches : ndarray of shape (n_words, side, side), dtype float32
        0 to 255, with the contrast of each patch stretched; uniformly gray for words without occurrences.
    counts : ndarray of shape (n_words,), dtype int
        Number of averaged occurrences.
    """
    height, width = images.shape[1:3]
    sums = np.zeros((len(bag.vocabulary_), side, side), np.float64)
    counts = np.zeros(len(bag.vocabulary_), int)
    offsets = np.arange(side) - side // 2
    for image, (words, positions) in zip(to_gray(images)[..., 0], bag.iterate_words(images), strict=True):
        x, y = np.round(positions * [width, height]).astype(int).T
        inside = (x >= side // 2) & (x <= width - side // 2) & (y >= side // 2) & (y <= height - side // 2)
        x, y, words = x[inside], y[inside], words[inside]
        patches = image[(y[:, np.newaxis] + offsets)[:, :, np.newaxis], (x[:, np.newaxis] + offsets)[:, np.newaxis]]
        # Only the pattern matters, not the brightness of the image.
        patches = patches - patches.mean(axis=(1, 2), keepdims=True)
        np.add.at(sums, words, patches)
        counts += np.bincount(words, minlength=len(counts))
    means = sums / np.maximum(counts, 1)[:, np.newaxis, np.newaxis]
    contrast = np.abs(means).max(axis=(1, 2), keepdims=True)
    return (127.5 * (1 + means / np.maximum(contrast, 1e-9))).astype(np.float32), counts


def location_maps(bag: BagOfVisualWords, images: np.ndarray, *, cells: int = 12) -> np.ndarray:
    """Return the distribution of each word's occurrences over the image, float32 (n_words, cells, cells).

    Each map sums to 1, or to 0 for a word without occurrences. See `mean_patches` for the parameters.
    """
    counts = np.zeros((len(bag.vocabulary_), cells, cells))
    for words, positions in bag.iterate_words(images):
        column, row = np.minimum((positions * cells).astype(int), cells - 1).T
        np.add.at(counts, (words, row, column), 1)
    return (counts / np.maximum(counts.sum(axis=(1, 2), keepdims=True), 1)).astype(np.float32)


def word_places(bag: BagOfVisualWords, images: np.ndarray) -> np.ndarray:
    """Return the mean position of each word in images, float (n_words, 2): x and y as fractions of width and height.

    NaN for a word without occurrences. See `mean_patches` for the parameters.
    """
    sums, counts = np.zeros((len(bag.vocabulary_), 2)), np.zeros((len(bag.vocabulary_), 1))
    for words, positions in bag.iterate_words(images):
        np.add.at(sums, words, positions)
        np.add.at(counts, words, 1)
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def most_discriminative_words(pipeline: "Pipeline", class_code: int, n: int) -> np.ndarray:
    """Return the `n` words whose presence most strongly indicates a class, int (n,).

    They are in descending order of their weight for the class minus the mean weight for the other classes. The fitted
    pipeline has a `BagOfVisualWords` with histograms, the first pyramid level 1, and a linear classifier.
    """
    bag, classifier = pipeline[0], pipeline[-1]
    coefficients = classifier.coef_
    if len(coefficients) == 1:
        # For two classes scikit-learn keeps only the weights of the second class.
        coefficients = np.concatenate([-coefficients, coefficients])
    weights = coefficients[:, : len(bag.vocabulary_)]
    row = int(np.flatnonzero(classifier.classes_ == class_code)[0])
    others = np.delete(weights, row, axis=0).mean(axis=0)
    return np.argsort(others - weights[row], kind="stable")[:n]
