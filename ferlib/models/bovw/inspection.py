"""What visual words look like, where on the face they live, and which emotion they speak for."""

from typing import TYPE_CHECKING

import numpy as np

from ferlib.core.images import to_gray
from ferlib.models.bovw.transformer import BagOfVisualWords, iterate_words

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def mean_patches(bag: BagOfVisualWords, images: np.ndarray, *, side: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of the image around each word's occurrences.

    Parameters
    ----------
    bag : BagOfVisualWords
        Fitted, with hard assignment.
    images : ndarray of shape (n, H, W, C), dtype uint8
    side : int
        Of the square around each occurrence, in pixels; those that would stick out are left out.

    Returns
    -------
    patches : ndarray of shape (n_words, side, side), dtype float32
        0 to 255, each patch's contrast stretched about the middle gray; gray for a word that does not occur.
    counts : ndarray of shape (n_words,), dtype int
        How many occurrences each is the mean of.
    """
    height, width = images.shape[1:3]
    sums = np.zeros((len(bag.vocabulary_), side, side), np.float64)
    counts = np.zeros(len(bag.vocabulary_), int)
    offsets = np.arange(side) - side // 2
    for image, (words, places) in zip(to_gray(images)[..., 0], iterate_words(bag, images), strict=True):
        x, y = np.round(places * [width, height]).astype(int).T
        inside = (x >= side // 2) & (x <= width - side // 2) & (y >= side // 2) & (y <= height - side // 2)
        x, y, words = x[inside], y[inside], words[inside]
        patches = image[(y[:, np.newaxis] + offsets)[:, :, np.newaxis], (x[:, np.newaxis] + offsets)[:, np.newaxis]]
        patches = patches.astype(np.float64)
        # Light differs from image to image; what a word is about is the pattern.
        patches -= patches.mean(axis=(1, 2), keepdims=True)
        np.add.at(sums, words, patches)
        counts += np.bincount(words, minlength=len(counts))
    means = sums / np.maximum(counts, 1)[:, np.newaxis, np.newaxis]
    contrast = np.abs(means).max(axis=(1, 2), keepdims=True)
    return (127.5 * (1 + means / np.maximum(contrast, 1e-9))).astype(np.float32), counts


def location_maps(bag: BagOfVisualWords, images: np.ndarray, *, cells: int = 12) -> np.ndarray:
    """Return where in the image each word occurs, as shares by cell.

    Parameters
    ----------
    bag : BagOfVisualWords
        Fitted, with hard assignment.
    images : ndarray of shape (n, H, W, C), dtype uint8
    cells : int
        Rows and columns of the map.

    Returns
    -------
    ndarray of shape (n_words, cells, cells), dtype float32
        Each word's map sums to 1, or to 0 if it does not occur.
    """
    n_words = len(bag.vocabulary_)
    counts = np.zeros((n_words, cells, cells))
    for words, places in iterate_words(bag, images):
        column, row = np.minimum((places * cells).astype(int), cells - 1).T
        np.add.at(counts, (words, row, column), 1)
    return (counts / np.maximum(counts.sum(axis=(1, 2), keepdims=True), 1)).astype(np.float32)


def most_discriminative_words(pipeline: "Pipeline", class_code: int, n: int) -> np.ndarray:
    """Return the words whose presence speaks most for a class.

    Parameters
    ----------
    pipeline : Pipeline
        Of a fitted `BagOfVisualWords` that counts words over the whole image first, and a linear classifier.
    class_code : int
    n : int
        How many words.

    Returns
    -------
    ndarray of shape (n,), dtype int
        By weight for this class less the mean weight for the others, the largest first.
    """
    bag, classifier = pipeline[0], pipeline[-1]
    # Between two classes scikit-learn keeps one row: what speaks for the second.
    coefficients = (
        classifier.coef_ if len(classifier.coef_) > 1 else np.concatenate([-classifier.coef_, classifier.coef_])
    )
    weights = coefficients[:, : len(bag.vocabulary_)]
    row = int(np.flatnonzero(classifier.classes_ == class_code)[0])
    others = np.delete(weights, row, axis=0).mean(axis=0)
    return np.argsort(others - weights[row], kind="stable")[:n]
