"""Encodings: from the visual words of one image to one vector."""

import numpy as np


def pyramid_cells(positions: np.ndarray, levels: tuple[int, ...]) -> list[np.ndarray]:
    """Return which points lie in each cell of a spatial pyramid, bool (n_points,) per cell.

    `positions` (n_points, 2) are x and y as fractions of width and height. Each of the `levels` is a number of rows and
    columns: 1 is the whole image, 2 its quadrants. Cells are in order level by level, row by row.

    References
    ----------
    S. Lazebnik, C. Schmid, J. Ponce, "Beyond Bags of Features: Spatial Pyramid Matching", CVPR 2006.
    """
    cells = []
    for level in levels:
        column, row = np.minimum((positions * level).astype(int), level - 1).T.reshape(2, -1)
        cells += [(row == i) & (column == j) for i in range(level) for j in range(level)]
    return cells


def count_words(words: np.ndarray, n_words: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the number of occurrences of each word, or the sum of their weights, float32 (n_words,)."""
    return np.bincount(words, weights=weights, minlength=n_words).astype(np.float32)


def word_positions(words: np.ndarray, positions: np.ndarray, n_words: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where each word occurs, from words (n_points,) and their positions (n_points, 2).

    Returns
    -------
    counts : ndarray of shape (n_words,)
    means : ndarray of shape (n_words, 2)
        Mean x and y of a word's occurrences; 0 for a word without occurrences.
    deviations : ndarray of shape (n_words, 2)
        Standard deviations of x and y; 0 for fewer than two occurrences.
    """
    counts = count_words(words, n_words)
    divisor = np.maximum(counts, 1)
    means = np.stack([count_words(words, n_words, positions[:, axis]) / divisor for axis in (0, 1)], axis=1)
    squares = (positions - means[words]) ** 2
    variances = np.stack([count_words(words, n_words, squares[:, axis]) / divisor for axis in (0, 1)], axis=1)
    return counts, means, np.sqrt(variances)


def spatial_statistics(
    words: np.ndarray, positions: np.ndarray, usual_means: np.ndarray, usual_deviations: np.ndarray
) -> np.ndarray:
    """Return how the positions of each word in an image differ from its usual positions, float32 (4 * n_words,).

    First the mean offsets of x and y in usual standard deviations, then the relative differences of the spread. Both
    are clipped to -3 and 3 and weighted by the square root of the word's frequency, so that absent words are 0.

    The words have shape (n_points,), their positions (n_points, 2). `usual_means` and `usual_deviations` (n_words, 2)
    are those of each word's positions in the training images.
    """
    counts, means, deviations = word_positions(words, positions, len(usual_means))
    scale = np.maximum(usual_deviations, 0.05)
    weights = np.sqrt(counts / max(1, counts.sum()))[:, np.newaxis]
    offsets = weights * np.clip((means - usual_means) / scale, -3, 3)
    spreads = weights * np.clip(deviations / scale - 1, -3, 3) * (counts > 1)[:, np.newaxis]
    return np.concatenate([offsets.ravel(), spreads.ravel()]).astype(np.float32)


def gaussian_posteriors(
    descriptors: np.ndarray, weights: np.ndarray, means: np.ndarray, deviations: np.ndarray
) -> np.ndarray:
    """Return the probability of each component of a Gaussian mixture for each descriptor, (n_points, n_words).

    Descriptors have shape (n_points, d), the mixture's weights (n_words,), its means and deviations (n_words, d).
    """
    precision = 1 / deviations**2
    constant = np.log(weights) - np.log(deviations).sum(axis=1) - 0.5 * (means**2 * precision).sum(axis=1)
    logs = descriptors @ (means * precision).T - 0.5 * descriptors**2 @ precision.T + constant
    posteriors = np.exp(logs - logs.max(axis=1, keepdims=True))
    posteriors /= posteriors.sum(axis=1, keepdims=True)
    # Denormal numbers would make the products that follow many times as slow.
    posteriors[posteriors < 1e-4] = 0
    return posteriors


def fisher_vector(
    descriptors: np.ndarray, posteriors: np.ndarray, weights: np.ndarray, means: np.ndarray, deviations: np.ndarray
) -> np.ndarray:
    """Return the Fisher vector of an image, float32 (2 * n_words * d,).

    It is the gradient of the log-likelihood of a Gaussian mixture with respect to its means and deviations. Where a
    histogram counts the descriptors of a word, a Fisher vector also describes on which side of the word they lie and
    how far they spread. See `gaussian_posteriors` for the parameters.

    References
    ----------
    J. Sanchez, F. Perronnin, T. Mensink, J. Verbeek, "Image Classification with the Fisher Vector: Theory and
    Practice", IJCV 2013.
    """
    n = max(1, len(descriptors))
    mass = posteriors.sum(axis=0)[:, np.newaxis]
    first, second = posteriors.T @ descriptors, posteriors.T @ descriptors**2
    root = np.sqrt(weights)[:, np.newaxis]
    by_mean = (first - mass * means) / (n * root * deviations)
    by_deviation = (second - 2 * means * first + mass * (means**2 - deviations**2)) / (n * root * deviations**2)
    return np.concatenate([by_mean.ravel(), by_deviation.ravel() / np.sqrt(2)]).astype(np.float32)


def power_normalize(vector: np.ndarray) -> np.ndarray:
    """Return signed square roots, scaled to length 1; a zero vector stays zero.

    References
    ----------
    F. Perronnin, J. Sanchez, T. Mensink, "Improving the Fisher Kernel for Large-Scale Image Classification", ECCV 2010.
    """
    rooted = np.sign(vector) * np.sqrt(np.abs(vector))
    return rooted / np.maximum(np.linalg.norm(rooted), 1e-12)
