"""Calibration of probabilities: measures of it, and fitting it."""

import numpy as np
import pandas as pd

from ferlib.runs.calibration import to_logits
from ferlib.runs.records import Calibration

#: Number of confidence bins of equal width.
N_BINS = 15


def tabulate_reliability(y_true: np.ndarray, y_proba: np.ndarray) -> pd.DataFrame:
    """Return the accuracy in 15 bins of confidence; a confidence on an edge belongs to the lower bin.

    Parameters
    ----------
    y_true : ndarray of shape (n,), dtype int
    y_proba : ndarray of shape (n, n_classes)
        The confidence of a prediction is its largest probability.

    Returns
    -------
    DataFrame
        One row per bin: ``low``, ``high``, ``n``, and the means ``confidence`` and ``accuracy`` (NaN in an empty bin).
    """
    confidence, correct = y_proba.max(axis=1).astype(float), y_proba.argmax(axis=1) == y_true
    edges = np.linspace(0, 1, N_BINS + 1)
    bins = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, N_BINS - 1)
    counts = np.bincount(bins, minlength=N_BINS)
    with np.errstate(invalid="ignore"):
        return pd.DataFrame(
            {
                "low": edges[:-1],
                "high": edges[1:],
                "n": counts,
                "confidence": np.bincount(bins, weights=confidence, minlength=N_BINS) / counts,
                "accuracy": np.bincount(bins, weights=correct, minlength=N_BINS) / counts,
            }
        )


def expected_calibration_error(y_true: np.ndarray, y_proba: np.ndarray) -> float:
    """Return the mean absolute difference between confidence and accuracy over bins, weighted by bin counts.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.
    """
    table = tabulate_reliability(y_true, y_proba)
    gaps = (table["confidence"] - table["accuracy"]).abs().fillna(0)
    return float((gaps * table["n"]).sum() / len(y_true))


def chance_calibration_error(y_proba: np.ndarray, *, n_draws: int = 100) -> float:
    """Return the expected calibration error of a perfectly calibrated model with the same confidences.

    With finitely many predictions no bin's accuracy equals its confidence exactly. This is the mean error over
    `n_draws` random draws of which predictions are correct.

    Parameters
    ----------
    y_proba : ndarray of shape (n, n_classes)
    n_draws : int
    """
    confidence, rng = y_proba.max(axis=1), np.random.default_rng(0)
    # Predictions of class 0, each correct with a probability equal to its confidence.
    predictions = np.column_stack([confidence, np.zeros((len(confidence), y_proba.shape[1] - 1))])
    wrong = rng.random((n_draws, len(confidence))) >= confidence
    return float(np.mean([expected_calibration_error(draw.astype(int), predictions) for draw in wrong]))


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

    def penalized_log_loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        scales, biases = np.split(parameters, 2)
        log_proba = log_softmax(scales * logits + biases, axis=1)
        deviations = scales - scales.mean()
        loss = -(truth * log_proba).sum() / n + precision / 2 * (deviations @ deviations + biases @ biases)
        residual = (np.exp(log_proba) - truth) / n
        return loss, np.concatenate(
            [(residual * logits).sum(0) + precision * deviations, residual.sum(0) + precision * biases]
        )

    start = np.concatenate([np.ones(n_classes), np.zeros(n_classes)])

    def of_one_scale(scale: np.ndarray) -> tuple[float, float]:
        loss, gradient = penalized_log_loss(scale * start)
        return loss, float(gradient @ start)

    if per_class:
        bounds = [(0.1, 10)] * n_classes + [(None, None)] * n_classes
        best = minimize(penalized_log_loss, start, jac=True, bounds=bounds).x
    else:
        best = minimize(of_one_scale, [1.0], jac=True, bounds=[(0.1, 10)]).x * start
    scales, biases = np.split(best.round(4), 2)
    return Calibration(scales=tuple(scales.tolist()), biases=tuple(biases.tolist()))
