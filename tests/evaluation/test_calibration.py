"""Calibration against values that were worked out by hand, and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from ferlib.evaluation.calibration import (
    brier_score,
    chance_calibration_error,
    expected_calibration_error,
    fit_calibration,
    tabulate_reliability,
)
from ferlib.runs.calibration import scale_logits


def draw(n, scales, biases=0.0, seed=0):
    """Labels drawn from probabilities, and these probabilities as a model states them that is off by so much."""
    rng = np.random.default_rng(seed)
    honest = rng.dirichlet([0.6] * 4, n)
    labels = (rng.random((n, 1)) > honest.cumsum(axis=1)).sum(axis=1).clip(0, 3)
    return labels, scale_logits(honest, scales, biases)


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


def test_the_error_that_chance_leaves():
    assert chance_calibration_error(np.array([[1.0, 0.0], [0.0, 1.0]])) == 0
    # A single answer given with 60 % is off by 0.4 if it is right and by 0.6 if it is not: 0.48 on average.
    assert chance_calibration_error(np.array([[0.6, 0.4]]), n_draws=4_000) == pytest.approx(0.48, abs=0.01)
    labels, honest = draw(2_000, 1)
    assert expected_calibration_error(labels, honest) == pytest.approx(chance_calibration_error(honest), abs=0.01)


def test_brier_score_is_scikit_learn_s():
    labels, y_proba = draw(500, 1)
    theirs = brier_score_loss(labels, y_proba, labels=[0, 1, 2, 3], scale_by_half=False)
    assert brier_score(labels, y_proba) == pytest.approx(theirs)
    assert brier_score(np.array([0]), np.array([[0.0, 1.0]])) == 2


def test_scaled_logits_by_hand():
    y_proba = np.array([[0.64, 0.32, 0.04]])
    # One scale for all classes takes a root or a power: here the square root, of 0.8, 0.566 and 0.2 by their sum.
    root = np.sqrt(y_proba)
    np.testing.assert_allclose(scale_logits(y_proba, 0.5), root / root.sum())
    np.testing.assert_allclose(scale_logits(y_proba, 1), y_proba)
    # A bias multiplies a class: the last one's 0.04 by e^log(16) is 0.64.
    np.testing.assert_allclose(scale_logits(y_proba, 1, [0, 0, np.log(16)]), [[0.4, 0.2, 0.4]])
    certain = np.array([[1, 0, 0]], np.float32)
    assert scale_logits(certain, 0.9, 0.1).dtype == np.float32
    np.testing.assert_allclose(scale_logits(certain, 0.9, 0.1), [[1, 0, 0]], atol=1e-6)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.5])
def test_a_model_that_is_too_sure_or_too_modest_is_set_right(scale):
    labels, y_proba = draw(20_000, scale)
    scales, biases = fit_calibration(labels, y_proba)
    np.testing.assert_allclose(scales, 1 / scale, rtol=0.1)
    np.testing.assert_allclose(biases, 0, atol=0.1)
    assert expected_calibration_error(labels, scale_logits(y_proba, scales, biases)) < 0.02


def test_a_class_that_is_named_too_often_is_set_right():
    labels, y_proba = draw(20_000, 1.0, [0.8, 0, 0, -0.8])
    assert expected_calibration_error(labels, y_proba) > 0.03
    scales, biases = fit_calibration(labels, y_proba)
    np.testing.assert_allclose(biases - biases.mean(), [-0.8, 0, 0, 0.8], atol=0.1)
    calibrated = scale_logits(y_proba, scales, biases)
    np.testing.assert_allclose(calibrated.mean(axis=0), np.bincount(labels) / len(labels), atol=0.01)
    assert expected_calibration_error(labels, calibrated) < 0.02


def test_a_temperature_moves_no_answer():
    labels, y_proba = draw(20_000, 2.5, [0.8, 0, 0, -0.8])
    scales, biases = fit_calibration(labels, y_proba, per_class=False)
    assert np.ptp(scales) == 0
    assert 0.3 < scales[0] < 0.5
    assert not biases.any()
    calibrated = scale_logits(y_proba, scales, biases)
    np.testing.assert_array_equal(calibrated.argmax(axis=1), y_proba.argmax(axis=1))
    assert expected_calibration_error(labels, calibrated) < expected_calibration_error(labels, y_proba)


def test_few_labels_move_one_class_little_against_another():
    labels, y_proba = draw(20, 1.0)
    scales, biases = fit_calibration(labels, y_proba)
    assert np.ptp(scales) < 0.5
    assert np.abs(biases).max() < 0.5


def test_what_is_impossible_does_not_break_the_fit():
    scales, biases = fit_calibration(np.array([0, 1, 1]), np.array([[1.0, 0], [1, 0], [0, 1]]))
    assert np.isfinite([*scales, *biases]).all()
    # A model that is always right cannot be made surer without end.
    assert fit_calibration(np.array([0, 1]), np.array([[0.9, 0.1], [0.1, 0.9]]))[0].max() <= 10
