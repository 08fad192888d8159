"""Whether probabilities mean what they say: of all answers given with 80 %, 80 % should be right."""

import numpy as np
import pandas as pd

#: Bins of confidence, of equal width.
N_BINS = 15


def tabulate_reliability(y_true: np.ndarray, y_proba: np.ndarray, n_bins: int = N_BINS) -> pd.DataFrame:
    """Return confidence and accuracy by bins of confidence.

    Parameters
    ----------
    y_true : ndarray of shape (n,), dtype int
    y_proba : ndarray of shape (n, n_classes)
        The confidence of an answer is its largest probability.
    n_bins : int
        Bins of equal width between 0 and 1; a confidence on a border belongs to the bin below.

    Returns
    -------
    DataFrame
        One row a bin: ``low``, ``high``, ``n``, ``confidence`` and ``accuracy`` (means; not-a-number in an empty bin).
    """
    confidence, right = y_proba.max(axis=1).astype(float), y_proba.argmax(axis=1) == y_true
    edges = np.linspace(0, 1, n_bins + 1)
    bins = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, n_bins - 1)
    counts = np.bincount(bins, minlength=n_bins)
    with np.errstate(invalid="ignore"):
        return pd.DataFrame(
            {
                "low": edges[:-1],
                "high": edges[1:],
                "n": counts,
                "confidence": np.bincount(bins, weights=confidence, minlength=n_bins) / counts,
                "accuracy": np.bincount(bins, weights=right, minlength=n_bins) / counts,
            }
        )


def expected_calibration_error(y_true: np.ndarray, y_proba: np.ndarray, n_bins: int = N_BINS) -> float:
    """Return the mean distance between confidence and accuracy over bins, each bin weighted by its answers.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.
    """
    table = tabulate_reliability(y_true, y_proba, n_bins)
    gaps = (table["confidence"] - table["accuracy"]).abs().fillna(0)
    return float((gaps * table["n"]).sum() / len(y_true))


def brier_score(y_true: np.ndarray, y_proba: np.ndarray) -> float:
    """Return the mean squared distance between probabilities and the truth as 0 and 1, summed over classes: 0 to 2.

    References
    ----------
    G. Brier, "Verification of Forecasts Expressed in Terms of Probability", Monthly Weather Review 1950.
    """
    truth = np.eye(y_proba.shape[1])[y_true]
    return float(((y_proba - truth) ** 2).sum(axis=1).mean())


def fit_temperature(y_true: np.ndarray, y_proba: np.ndarray) -> float:
    """Return the temperature that makes probabilities likeliest on a validation split.

    Parameters
    ----------
    y_true : ndarray of shape (n,), dtype int
    y_proba : ndarray of shape (n, n_classes)

    Returns
    -------
    float
        From 0.1 to 10. Above 1 where a model is too sure; `ferlib.artifacts.apply_temperature` applies it.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.
    """
    from scipy.optimize import minimize_scalar

    # What is impossible to a model would make the likelihood of a single label nothing.
    logits = np.log(np.maximum(y_proba.astype(float), 1e-12))

    def negative_log_likelihood(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        scaled -= scaled.max(axis=1, keepdims=True)
        return float((np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(scaled)), y_true]).mean())

    found = minimize_scalar(negative_log_likelihood, bounds=(np.log(0.1), np.log(10)), method="bounded")
    return float(np.exp(found.x))
