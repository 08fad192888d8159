"""Encodings against histograms, means and sums that were worked out by hand."""

import numpy as np
import pytest

from ferlib.models.bovw.encodings import (
    count_words,
    fisher_vector,
    mean_positions,
    power_normalize,
    pyramid_cells,
    soft_weights,
    vlad,
)

# Four points: word 0 twice on the left, word 2 once at the top right, word 1 once at the bottom right.
WORDS = np.array([0, 0, 2, 1])
POSITIONS = np.array([[0.1, 0.2], [0.3, 0.8], [0.9, 0.1], [1.0, 1.0]], np.float32)


def test_words_are_counted():
    assert count_words(WORDS, 4).tolist() == [2, 1, 1, 0]
    both = np.array([[0, 1], [1, 2]])
    np.testing.assert_allclose(count_words(both, 3, np.array([[0.75, 0.25], [0.5, 0.5]])), [0.75, 0.75, 0.5])


def test_cells_of_the_pyramid_hold_what_lies_in_them():
    whole, *quarters = pyramid_cells(POSITIONS, (1, 2))
    assert whole.all()
    # Row by row: top left, top right, bottom left, bottom right, the rim included.
    assert [np.flatnonzero(cell).tolist() for cell in quarters] == [[0], [2], [1], [3]]
    assert len(pyramid_cells(POSITIONS, (1, 2, 3))) == 14
    assert [cell.shape for cell in pyramid_cells(POSITIONS[:0], (1, 2))] == [(0,)] * 5


def test_mean_positions_and_spreads():
    counts, means, spreads = mean_positions(WORDS, POSITIONS, 4)
    assert counts.tolist() == [2, 1, 1, 0]
    np.testing.assert_allclose(means, [[0.2, 0.5], [1, 1], [0.9, 0.1], [0, 0]], atol=1e-6)
    np.testing.assert_allclose(spreads, [[0.1, 0.3], [0, 0], [0, 0], [0, 0]], atol=1e-6)


def test_soft_weights_fall_with_distance():
    weights = soft_weights(np.array([[0.0, np.log(2), np.log(4)], [900.0, 900.0, 900.0]]), beta=1.0)
    np.testing.assert_allclose(weights, [[4 / 7, 2 / 7, 1 / 7], [1 / 3, 1 / 3, 1 / 3]])
    np.testing.assert_allclose(soft_weights(np.array([[0.0, 1.0]]), beta=1e3), [[1, 0]], atol=1e-12)


def test_vlad_sums_what_is_left_over():
    vocabulary = np.array([[0.0, 0], [10, 0], [5, 5]])
    descriptors = np.array([[1.0, 0], [2, 4], [10, -3]])
    np.testing.assert_allclose(
        vlad(descriptors, np.array([0, 0, 1]), vocabulary), [[3 / 5, 4 / 5], [0, -1], [0, 0]], atol=1e-9
    )


def test_fisher_vectors_are_the_gradient_of_the_likelihood():
    rng = np.random.default_rng(0)
    weights, means, deviations = np.array([0.3, 0.7]), rng.normal(size=(2, 3)), rng.uniform(0.5, 1.5, (2, 3))
    points = rng.normal(size=(40, 3))

    def log_likelihood(means, deviations):
        z = (points[:, np.newaxis] - means) / deviations
        densities = weights * np.exp(-0.5 * (z**2).sum(axis=2)) / deviations.prod(axis=1)
        return np.log(densities.sum(axis=1)).mean(), densities / densities.sum(axis=1, keepdims=True)

    found = fisher_vector(points, log_likelihood(means, deviations)[1], weights, means, deviations)
    by_mean, by_deviation = found.reshape(2, 2, 3)
    for k, j in np.ndindex(2, 3):
        step = np.zeros((2, 3))
        step[k, j] = 1e-5
        slope = (log_likelihood(means + step, deviations)[0] - log_likelihood(means - step, deviations)[0]) / 2e-5
        assert by_mean[k, j] == pytest.approx(slope * deviations[k, j] / np.sqrt(weights[k]), rel=1e-3, abs=1e-5)
        slope = (log_likelihood(means, deviations + step)[0] - log_likelihood(means, deviations - step)[0]) / 2e-5
        assert by_deviation[k, j] == pytest.approx(
            slope * deviations[k, j] / np.sqrt(2 * weights[k]), rel=1e-3, abs=1e-5
        )


def test_power_normalization():
    np.testing.assert_allclose(power_normalize(np.array([9.0, -16, 0])), [0.6, -0.8, 0])
    assert power_normalize(np.zeros(3)).tolist() == [0, 0, 0]
    assert np.linalg.norm(power_normalize(np.arange(5.0))) == pytest.approx(1)
