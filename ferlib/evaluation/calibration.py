"""Calibration of probabilities: measures of it, and fitting it."""

import numpy as np
import pandas as pd

from ferlib.runs.calibration import to_logits
from ferlib.runs.records import Calibration

#: Number of confidence bins of equal width.
N_BINS = 15


def tabulate_reliability(y_true: np.ndarray, y_proba: np.ndarray) -> pd.DataFrame:
    """Return the accuracy in 15 bins of confidence, which is the largest probability.

    Parameters
    ----------
    y_true : ndarray of shape (n,), dtype int
    y_proba : ndarray of shape (n, n_classes)

    Returns
    -------
    DataFrame
        One row per bin: ``n``, and the means ``confidence`` and ``accuracy`` (NaN in an empty bin).
    """
    confidence, correct = y_proba.max(axis=1).astype(float), y_proba.argmax(axis=1) == y_true
    bins = _bin(confidence)
    means = pd.DataFrame({"confidence": confidence, "accuracy": correct}).groupby(bins).mean()
    return means.reindex(range(N_BINS)).assign(n=np.bincount(bins, minlength=N_BINS))


def expected_calibration_error(y_true: np.ndarray, y_proba: np.ndarray) -> float:
    """Return the mean absolute difference between confidence and accuracy over bins, weighted by bin counts.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.
    """
    return _calibration_error(y_proba.max(axis=1).astype(float), y_proba.argmax(axis=1) == y_true)


def chance_calibration_error(y_proba: np.ndarray, *, n_draws: int = 100) -> float:
    """Return the expected calibration error of a perfectly calibrated model with the same confidences.

    With finitely many predictions no bin's accuracy equals its confidence exactly. This is the mean error over
    `n_draws` random draws of which predictions are correct.
    """
    confidence = y_proba.max(axis=1).astype(float)
    draws = np.random.default_rng(0).random((n_draws, len(confidence))) < confidence
    return float(np.mean([_calibration_error(confidence, correct) for correct in draws]))


def _calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    # A bin's difference between the means times its count is the sum of the differences.
    differences = np.bincount(_bin(confidence), weights=confidence - correct)
    return float(np.abs(differences).sum() / len(confidence))


def _bin(confidence: np.ndarray) -> np.ndarray:
    """Return the number of each confidence's bin; an edge belongs to the lower bin."""
    return np.clip(np.ceil(confidence * N_BINS).astype(int) - 1, 0, N_BINS - 1)


def fit_calibration(y_true: np.ndarray, y_proba: np.ndarray, *, per_class: bool = True) -> Calibration:
    """Return the calibration with the lowest log loss on a validation split: vector scaling.

    A Gaussian prior with a standard deviation of 0.25 keeps the scales close to their mean and the biases close to 0,
    because a small split determines the temperature well but differences between classes poorly. Cross-validation on
    FER2013's val chose this form: its log loss is lower than with one temperature (0.889 against 0.897 for the
    pretrained model), and lowest for about this standard deviation.

    Parameters
    ----------
    y_true : ndarray of shape (n,), dtype int
        At least one label.
    y_proba : ndarray of shape (n, n_classes)
    per_class : bool
        Otherwise all classes share one scale and have no bias: a temperature, which changes no prediction.

    Returns
    -------
    Calibration
        Rounded to four decimals; scales from 0.1 to 10, below 1 where a model is overconfident.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    n, n_classes = y_proba.shape
    logits, truth = to_logits(y_proba), np.eye(n_classes)[y_true]
    precision = 1 / 0.25**2 / n

    start = np.concatenate([np.ones(n_classes), np.zeros(n_classes)])
    # A temperature scales all classes by one number.
    basis = np.eye(2 * n_classes) if per_class else start[:, np.newaxis]
    n_free = basis.shape[1]

    def penalized_log_loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        scales, biases = np.split(basis @ parameters, 2)
        log_proba = log_softmax(scales * logits + biases, axis=1)
        deviations = scales - scales.mean()
        loss = -(truth * log_proba).sum() / n + precision / 2 * (deviations @ deviations + biases @ biases)
        residual = (np.exp(log_proba) - truth) / n
        gradient = [(residual * logits).sum(axis=0) + precision * deviations, residual.sum(axis=0) + precision * biases]
        return loss, np.concatenate(gradient) @ basis

    bounds = [(0.1, 10)] * n_classes + [(None, None)] * n_classes
    best = basis @ minimize(penalized_log_loss, start[:n_free], jac=True, bounds=bounds[:n_free]).x
    scales, biases = np.split(best.round(4), 2)
    return Calibration(scales=tuple(scales.tolist()), biases=tuple(biases.tolist()))
