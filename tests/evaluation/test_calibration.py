"""Calibration against values that were worked out by hand, and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from ferlib.artifacts import apply_temperature
from ferlib.evaluation.calibration import (
    brier_score,
    expected_calibration_error,
    fit_temperature,
    tabulate_reliability,
)


def draw(n, temperature, seed=0):
    """Labels drawn from probabilities, and these probabilities as a model states them that is too sure by so much."""
    rng = np.random.default_rng(seed)
    honest = rng.dirichlet([0.6] * 4, n)
    labels = (rng.random((n, 1)) > honest.cumsum(axis=1)).sum(axis=1).clip(0, 3)
    return labels, apply_temperature(honest, 1 / temperature)


def test_bins_by_hand():
    y_proba = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.55, 0.45]])
    y_true = np.array([0, 1, 1, 0])
    table = tabulate_reliability(y_true, y_proba, n_bins=5)
    assert table["n"].tolist() == [0, 0, 1, 2, 1]
    # 0.8 lies on a border and belongs below.
    assert table.loc[3, "confidence"] == pytest.approx(0.75)
    assert table.loc[3, "accuracy"] == pytest.approx(0.5)
    assert np.isnan(table.loc[0, "accuracy"])
    assert expected_calibration_error(y_true, y_proba, n_bins=5) == pytest.approx((0.45 + 2 * 0.25 + 0.1) / 4)


def test_the_error_is_small_for_honest_and_large_for_boastful_probabilities():
    labels, honest = draw(20_000, 1)
    assert expected_calibration_error(labels, honest) < 0.02
    labels, boastful = draw(20_000, 3)
    assert expected_calibration_error(labels, boastful) > 0.15


def test_certainty_is_counted():
    certain = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert expected_calibration_error(np.array([0, 1]), certain) == 0
    assert expected_calibration_error(np.array([1, 0]), certain) == 1


def test_brier_score_is_scikit_learn_s():
    labels, y_proba = draw(500, 1)
    theirs = brier_score_loss(labels, y_proba, labels=[0, 1, 2, 3], scale_by_half=False)
    assert brier_score(labels, y_proba) == pytest.approx(theirs)
    assert brier_score(np.array([0]), np.array([[0.0, 1.0]])) == 2


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_was_put_in_is_found(temperature):
    labels, y_proba = draw(20_000, temperature)
    assert fit_temperature(labels, y_proba) == pytest.approx(temperature, rel=0.05)
    calibrated = apply_temperature(y_proba, fit_temperature(labels, y_proba))
    assert expected_calibration_error(labels, calibrated) < 0.02
    np.testing.assert_array_equal(calibrated.argmax(axis=1), y_proba.argmax(axis=1))
    np.testing.assert_allclose(calibrated.sum(axis=1), 1)


def test_what_is_impossible_does_not_break_the_fit():
    assert np.isfinite(fit_temperature(np.array([0, 1, 1]), np.array([[1.0, 0], [1, 0], [0, 1]])))
