"""Calibration against values by hand and scikit-learn."""

import numpy as np
import pytest

from ferlib.evaluation.calibration import (
    chance_calibration_error,
    expected_calibration_error,
    fit_calibration,
    tabulate_reliability,
)
from ferlib.runs.calibration import scale_logits


def draw(n, scales, biases=0.0, seed=0):
    """Return labels drawn from probabilities, and these probabilities with scaled and shifted logits."""
    rng = np.random.default_rng(seed)
    honest = rng.dirichlet([0.6] * 4, n)
    labels = (rng.random((n, 1)) > honest.cumsum(axis=1)).sum(axis=1).clip(0, 3)
    return labels, scale_logits(honest, scales, biases)


def test_reliability_bins_by_hand():
    y_proba = np.array([[0.9, 0.1], [0.8, 0.2], [0.25, 0.75], [0.55, 0.45]])
    y_true = np.array([0, 1, 1, 0])
    table = tabulate_reliability(y_true, y_proba)
    # 0.8 is an edge and belongs to the lower bin.
    assert np.flatnonzero(table["n"]).tolist() == [8, 11, 13]
    assert table.loc[11, "n"] == 2
    assert table.loc[11, "confidence"] == pytest.approx(0.775)
    assert table.loc[11, "accuracy"] == pytest.approx(0.5)
    assert np.isnan(table.loc[0, "accuracy"])
    assert expected_calibration_error(y_true, y_proba) == pytest.approx((0.45 + 2 * 0.275 + 0.1) / 4)


def test_error_is_large_for_overconfident_probabilities():
    labels, honest = draw(20_000, 1)
    assert expected_calibration_error(labels, honest) < 0.02
    labels, overconfident = draw(20_000, 3)
    assert expected_calibration_error(labels, overconfident) > 0.15


def test_certain_predictions_are_counted():
    certain = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert expected_calibration_error(np.array([0, 1]), certain) == 0
    assert expected_calibration_error(np.array([1, 0]), certain) == 1


def test_chance_calibration_error():
    assert chance_calibration_error(np.array([[1.0, 0.0], [0.0, 1.0]])) == 0
    # One prediction with 60 % has an error of 0.4 if correct and 0.6 otherwise: 0.48 on average.
    assert chance_calibration_error(np.array([[0.6, 0.4]]), n_draws=4_000) == pytest.approx(0.48, abs=0.01)
    labels, honest = draw(2_000, 1)
    assert expected_calibration_error(labels, honest) == pytest.approx(chance_calibration_error(honest), abs=0.01)


def test_scaled_logits_by_hand():
    y_proba = np.array([[0.64, 0.32, 0.04]])
    # A scale of 1/2 gives normalized square roots.
    root = np.sqrt(y_proba)
    np.testing.assert_allclose(scale_logits(y_proba, 0.5), root / root.sum())
    np.testing.assert_allclose(scale_logits(y_proba, 1), y_proba)
    # A bias of log 16 multiplies 0.04 by 16.
    np.testing.assert_allclose(scale_logits(y_proba, 1, [0, 0, np.log(16)]), [[0.4, 0.2, 0.4]])
    certain = np.array([[1, 0, 0]], np.float32)
    assert scale_logits(certain, 0.9, 0.1).dtype == np.float32
    np.testing.assert_allclose(scale_logits(certain, 0.9, 0.1), [[1, 0, 0]], atol=1e-6)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.5])
def test_fit_corrects_over_and_underconfidence(scale):
    labels, y_proba = draw(20_000, scale)
    calibration = fit_calibration(labels, y_proba)
    np.testing.assert_allclose(calibration.scales, 1 / scale, rtol=0.1)
    np.testing.assert_allclose(calibration.biases, 0, atol=0.1)
    assert expected_calibration_error(labels, calibration.apply(y_proba)) < 0.02


def test_fit_corrects_too_frequent_class():
    labels, y_proba = draw(20_000, 1.0, [0.8, 0, 0, -0.8])
    assert expected_calibration_error(labels, y_proba) > 0.03
    calibration = fit_calibration(labels, y_proba)
    np.testing.assert_allclose(calibration.biases - np.mean(calibration.biases), [-0.8, 0, 0, 0.8], atol=0.1)
    calibrated = calibration.apply(y_proba)
    np.testing.assert_allclose(calibrated.mean(axis=0), np.bincount(labels) / len(labels), atol=0.01)
    assert expected_calibration_error(labels, calibrated) < 0.02


def test_temperature_changes_no_prediction():
    labels, y_proba = draw(20_000, 2.5, [0.8, 0, 0, -0.8])
    calibration = fit_calibration(labels, y_proba, per_class=False)
    assert np.ptp(calibration.scales) == 0
    assert 0.3 < calibration.scales[0] < 0.5
    assert not calibration.per_class
    calibrated = calibration.apply(y_proba)
    np.testing.assert_array_equal(calibrated.argmax(axis=1), y_proba.argmax(axis=1))
    assert expected_calibration_error(labels, calibrated) < expected_calibration_error(labels, y_proba)


def test_few_labels_change_classes_little():
    labels, y_proba = draw(20, 1.0)
    calibration = fit_calibration(labels, y_proba)
    assert np.ptp(calibration.scales) < 0.5
    assert np.abs(calibration.biases).max() < 0.5


def test_fit_is_finite_for_extreme_probabilities():
    calibration = fit_calibration(np.array([0, 1, 1]), np.array([[1.0, 0], [1, 0], [0, 1]]))
    assert np.isfinite([*calibration.scales, *calibration.biases]).all()
    # A model that is always correct reaches the upper bound.
    assert max(fit_calibration(np.array([0, 1]), np.array([[0.9, 0.1], [0.1, 0.9]])).scales) <= 10
