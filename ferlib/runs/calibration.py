"""Scaling the logits of probabilities."""

from collections.abc import Sequence

import numpy as np


def scale_logits(
    probabilities: np.ndarray, scales: float | Sequence[float], biases: float | Sequence[float] = 0.0
) -> np.ndarray:
    """Return the softmax of scaled and shifted logits.

    Parameters
    ----------
    probabilities : ndarray of shape (n, n_classes)
        The logits are their logarithms minus the mean of each row; values are clipped at 1e-12.
    scales : float or sequence of n_classes floats
        One number for all classes is 1 / temperature: below 1 it lowers the confidence, above 1 it raises it.
    biases : float or sequence of n_classes floats

    Returns
    -------
    ndarray of shape (n, n_classes), dtype as `probabilities`
    """
    logits = to_logits(probabilities) * np.asarray(scales) + np.asarray(biases)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(probabilities.dtype)


def to_logits(probabilities: np.ndarray) -> np.ndarray:
    """Return the logarithms of probabilities minus the mean of each row, float64 (n, n_classes)."""
    logits = np.log(np.maximum(probabilities.astype(float), 1e-12))
    return logits - logits.mean(axis=1, keepdims=True)
