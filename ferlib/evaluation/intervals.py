"""Confidence intervals for one model, and paired tests for two models on the same images."""

import itertools
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

#: Coverage of the intervals.
CONFIDENCE = 0.95

_N_RESAMPLES = 2000


def wilson_interval(n_correct: int, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a proportion, such as an accuracy.

    References
    ----------
    E. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 1927.
    """
    from scipy.stats import binomtest

    interval = binomtest(n_correct, n).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def bootstrap_macro_f1(confusion_matrix: np.ndarray | Sequence[Sequence[int]]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of macro-F1.

    Resampling images only changes how often each pair of true and predicted class occurs. The 2,000 samples are
    therefore multinomial draws of the confusion matrix.

    Parameters
    ----------
    confusion_matrix : array of shape (n_classes, n_classes), dtype int
        Rows are true classes.

    References
    ----------
    B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993.
    """
    counts = np.asarray(confusion_matrix)
    draws = _resample(counts).reshape(-1, *counts.shape)
    return _percentiles(_macro_f1(draws, counts.sum(axis=1) > 0))


def compare_predictions(y_true: np.ndarray, y_first: np.ndarray, y_second: np.ndarray) -> dict[str, float]:
    """Compare two models on the same images.

    Parameters
    ----------
    y_true, y_first, y_second : ndarray of shape (n,), dtype int
        The labels, and the predictions of each model.

    Returns
    -------
    dict
        ``accuracy_difference`` (first less second) with its paired 95 % bootstrap interval ``accuracy_low`` and
        ``accuracy_high``; the same for ``macro_f1``; ``only_first`` and ``only_second``, the images that only one of
        the models classifies correctly; ``p_value`` of McNemar's exact test.

    References
    ----------
    Q. McNemar, "Note on the Sampling Error of the Difference Between Correlated Proportions", Psychometrika 1947.
    T. Dietterich, "Approximate Statistical Tests for Comparing Supervised Classification Learning Algorithms", Neural
    Computation 1998.
    """
    from scipy.stats import binomtest

    k = int(max(y_true.max(), y_first.max(), y_second.max())) + 1
    counts = np.bincount((y_true * k + y_first) * k + y_second, minlength=k**3).reshape(1, k, k, k)
    draws = _resample(counts).reshape(-1, k, k, k)
    present = counts[0].sum(axis=(1, 2)) > 0
    result: dict[str, float] = {}
    for name, measure in (("accuracy", _accuracy), ("macro_f1", partial(_macro_f1, present=present))):
        # Summed over the predictions of one model, the counts are the confusion matrix of the other.
        difference = measure(counts.sum(axis=3)) - measure(counts.sum(axis=2))
        low, high = _percentiles(measure(draws.sum(axis=3)) - measure(draws.sum(axis=2)))
        result |= {f"{name}_difference": float(difference[0]), f"{name}_low": low, f"{name}_high": high}
    only_first = int(((y_first == y_true) & (y_second != y_true)).sum())
    only_second = int(((y_second == y_true) & (y_first != y_true)).sum())
    disagreements = only_first + only_second
    p_value = binomtest(only_first, disagreements).pvalue if disagreements else 1.0
    return result | {"only_first": only_first, "only_second": only_second, "p_value": float(p_value)}


def compare_all(y_true: np.ndarray, predictions: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return comparisons of neighbors in the ranking by accuracy.

    Parameters
    ----------
    y_true : ndarray of shape (n,), dtype int
    predictions : dict
        Model names to predictions, int (n,).

    Returns
    -------
    DataFrame
        One row per pair: ``better``, ``worse`` and the values of `compare_predictions`.
    """
    order = sorted(predictions, key=lambda name: -(predictions[name] == y_true).mean())
    rows = [
        {"better": better, "worse": worse, **compare_predictions(y_true, predictions[better], predictions[worse])}
        for better, worse in itertools.pairwise(order)
    ]
    return pd.DataFrame(rows)


def _resample(counts: np.ndarray) -> np.ndarray:
    """Return bootstrap samples of counts (any shape), int (2000, counts.size)."""
    n = counts.sum()
    return np.random.default_rng(0).multinomial(n, counts.ravel() / n, _N_RESAMPLES)


def _accuracy(confusion: np.ndarray) -> np.ndarray:
    """Return the accuracies of confusion matrices (m, k, k)."""
    return np.trace(confusion, axis1=1, axis2=2) / confusion.sum(axis=(1, 2))


def _macro_f1(confusion: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return the macro-F1 of confusion matrices (m, k, k), over the classes that are `present`, bool (k,)."""
    correct = np.diagonal(confusion, axis1=1, axis2=2)
    totals = confusion.sum(axis=1) + confusion.sum(axis=2)
    return (2 * correct / np.maximum(totals, 1))[:, present].mean(axis=1)


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    """Return the percentiles that limit the central 95 % of values."""
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
