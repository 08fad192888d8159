"""Intervals and paired tests, against values by hand and SciPy."""

import numpy as np
import pytest
from scipy.stats import bootstrap
from sklearn.metrics import confusion_matrix, f1_score

from ferlib.evaluation.intervals import bootstrap_macro_f1, compare_all, compare_predictions, wilson_interval


def noisy(y_true, accuracy, seed):
    """Return predictions that are correct with a probability, and otherwise random."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(len(y_true)) < accuracy, y_true, rng.integers(0, 7, len(y_true)))


@pytest.fixture
def y_true():
    return np.random.default_rng(9).integers(0, 7, 600)


def test_wilson_interval_by_hand():
    # (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n) with z = 1.959964, p = 0.7, n = 100
    assert wilson_interval(70, 100) == pytest.approx((0.604151, 0.781051), abs=1e-5)
    assert wilson_interval(0, 10)[0] == 0
    # About 1.5 points at the size of PublicTest.
    low, high = wilson_interval(2393, 3589)
    assert (high - low) / 2 == pytest.approx(0.0154, abs=2e-4)


def test_bootstrap_matches_scipy(y_true):
    y_pred = noisy(y_true, 0.6, 1)
    ours = bootstrap_macro_f1(confusion_matrix(y_true, y_pred))
    theirs = bootstrap(
        (y_true, y_pred),
        lambda true, pred: f1_score(true, pred, average="macro"),
        paired=True,
        vectorized=False,
        n_resamples=1000,
        method="percentile",
        rng=0,
    ).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.012)
    assert bootstrap_macro_f1(confusion_matrix(y_true, y_pred)) == ours


def test_mcnemar_by_hand():
    # 8 images only the first classifies correctly, 2 only the second: 2 * (1 + 10 + 45) / 2 ** 10.
    y_true = np.zeros(40, int)
    first, second = y_true.copy(), y_true.copy()
    second[:8] = 1
    first[8:10] = 1
    result = compare_predictions(y_true, first, second)
    assert (result["only_first"], result["only_second"]) == (8, 2)
    assert result["p_value"] == pytest.approx(2 * 56 / 1024)
    assert result["accuracy_difference"] == pytest.approx(6 / 40)


def test_only_real_differences_are_significant(y_true):
    good, better, same = noisy(y_true, 0.5, 1), noisy(y_true, 0.65, 2), noisy(y_true, 0.5, 3)
    found = compare_predictions(y_true, better, good)
    assert found["p_value"] < 0.01
    assert 0 < found["accuracy_low"] < found["accuracy_difference"] < found["accuracy_high"]
    assert found["macro_f1_low"] > 0
    assert found["macro_f1_difference"] == pytest.approx(
        f1_score(y_true, better, average="macro") - f1_score(y_true, good, average="macro")
    )
    none = compare_predictions(y_true, same, good)
    assert none["p_value"] > 0.05
    assert none["accuracy_low"] < 0 < none["accuracy_high"]


def test_equal_models_do_not_differ(y_true):
    result = compare_predictions(y_true, y_true, y_true)
    assert result["p_value"] == 1
    assert result["accuracy_low"] == result["accuracy_high"] == 0


def test_models_are_compared_by_rank(y_true):
    table = compare_all(y_true, {"c": noisy(y_true, 0.3, 1), "a": noisy(y_true, 0.9, 2), "b": noisy(y_true, 0.6, 3)})
    assert table[["better", "worse"]].to_numpy().tolist() == [["a", "b"], ["b", "c"]]
    assert (table["p_value"] < 0.01).all()
