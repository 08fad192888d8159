"""From local features to one vector an image: what is counted of which word, and where."""

import numpy as np

#: How the occurrences of words become numbers.
ENCODINGS = ("histogram", "presence", "tfidf", "soft", "vlad", "fisher")


def pyramid_cells(positions: np.ndarray, levels: tuple[int, ...]) -> list[np.ndarray]:
    """Return which points lie in each cell of a spatial pyramid.

    Parameters
    ----------
    positions : ndarray of shape (n_points, 2)
        x and y as fractions of width and height.
    levels : tuple of int
        1 is the whole image, 2 its quarters, 3 nine parts, and so on.

    Returns
    -------
    list of ndarray of shape (n_points,), dtype bool
        Level by level, row by row.

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
    """Return how often each word occurs, float32 (n_words,).

    Parameters
    ----------
    words : ndarray of shape (n_points,) or (n_points, m), dtype int
        Each point's word, or its m nearest.
    n_words : int
    weights : ndarray of the same shape, optional
        What each occurrence counts; 1 if None.
    """
    weights = None if weights is None else weights.ravel()
    return np.bincount(words.ravel(), weights=weights, minlength=n_words).astype(np.float32)


def soft_weights(distances: np.ndarray, beta: float) -> np.ndarray:
    """Return how much of a point each of its nearest words gets, summing to 1.

    Parameters
    ----------
    distances : ndarray of shape (n_points, m)
        Squared distances to the m nearest words.
    beta : float
        The larger, the more the nearest one gets: exp(-beta * distance), normalized.

    References
    ----------
    J. van Gemert et al., "Visual Word Ambiguity", IEEE PAMI 2010; L. Liu, L. Wang, X. Liu, "In Defense of
    Soft-Assignment Coding", ICCV 2011 (only the nearest words).
    """
    exponents = -beta * (distances - distances.min(axis=1, keepdims=True))
    weights = np.exp(exponents)
    return weights / weights.sum(axis=1, keepdims=True)


def mean_positions(words: np.ndarray, positions: np.ndarray, n_words: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where each word occurs in an image.

    Parameters
    ----------
    words : ndarray of shape (n_points,), dtype int
    positions : ndarray of shape (n_points, 2)
    n_words : int

    Returns
    -------
    counts : ndarray of shape (n_words,)
    means : ndarray of shape (n_words, 2)
        Mean x and y of a word's occurrences; 0 for a word that does not occur.
    spreads : ndarray of shape (n_words, 2)
        Standard deviations of x and y; 0 for fewer than two occurrences.
    """
    counts = count_words(words, n_words)
    divisor = np.maximum(counts, 1)
    means = np.stack([count_words(words, n_words, positions[:, axis]) / divisor for axis in (0, 1)], axis=1)
    offsets = (positions - means[words]) ** 2
    variances = np.stack([count_words(words, n_words, offsets[:, axis]) / divisor for axis in (0, 1)], axis=1)
    return counts, means, np.sqrt(variances)


def vlad(descriptors: np.ndarray, words: np.ndarray, vocabulary: np.ndarray) -> np.ndarray:
    """Return the sum of each word's descriptors less the word, float32 (n_words, d), each word's part of length 1 or 0.

    Parameters
    ----------
    descriptors : ndarray of shape (n_points, d)
    words : ndarray of shape (n_points,), dtype int
    vocabulary : ndarray of shape (n_words, d)

    References
    ----------
    H. Jegou, M. Douze, C. Schmid, P. Perez, "Aggregating local descriptors into a compact image representation", CVPR
    2010; R. Arandjelovic, A. Zisserman, "All about VLAD", CVPR 2013 (each word's part normalized).
    """
    sums = np.zeros_like(vocabulary)
    np.add.at(sums, words, descriptors - vocabulary[words])
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)


def fisher_vector(
    descriptors: np.ndarray, posteriors: np.ndarray, weights: np.ndarray, means: np.ndarray, deviations: np.ndarray
) -> np.ndarray:
    """Return how a mixture of Gaussians would have to change to fit an image better, float32 (2 * n_words * d,).

    Where a histogram says how many points are nearest to a word, this says on which side of it they lie, and whether
    they are spread wider than usual.

    Parameters
    ----------
    descriptors : ndarray of shape (n_points, d)
    posteriors : ndarray of shape (n_points, n_words)
        How much of each point belongs to each Gaussian, rows summing to 1.
    weights : ndarray of shape (n_words,)
        Shares of the Gaussians.
    means, deviations : ndarray of shape (n_words, d)

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
    """Return signed square roots, scaled to length 1; nothing stays nothing.

    References
    ----------
    F. Perronnin, J. Sanchez, T. Mensink, "Improving the Fisher Kernel for Large-Scale Image Classification", ECCV 2010.
    """
    rooted = np.sign(vector) * np.sqrt(np.abs(vector))
    return rooted / np.maximum(np.linalg.norm(rooted), 1e-12)
