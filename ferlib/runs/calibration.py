"""Probabilities and the logits that they stand for."""

from collections.abc import Sequence

import numpy as np


def scale_logits(
    probabilities: np.ndarray, scales: float | Sequence[float], biases: float | Sequence[float] = 0.0
) -> np.ndarray:
    """Return what a softmax gives after its logits were multiplied by `scales` and `biases` were added.

    Parameters
    ----------
    probabilities : ndarray of shape (n, n_classes)
        Their logarithms, less the mean of each row, are the logits; below 1e-12 counts as 1e-12.
    scales : float or sequence of n_classes floats
        One number for all classes is 1 / temperature: below 1 the answers sound less sure, above 1 surer, and the
        order of the classes stays.
    biases : float or sequence of n_classes floats

    Returns
    -------
    ndarray of shape (n, n_classes), dtype as `probabilities`
        Rows sum to 1.
    """
    logits = to_logits(probabilities) * np.asarray(scales) + np.asarray(biases)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(probabilities.dtype)


def to_logits(probabilities: np.ndarray) -> np.ndarray:
    """Return the logarithms of probabilities, each row less its mean, float64 (n, n_classes); see `scale_logits`."""
    logits = np.log(np.maximum(probabilities.astype(float), 1e-12))
    return logits - logits.mean(axis=1, keepdims=True)
