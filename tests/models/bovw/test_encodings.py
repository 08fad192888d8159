"""Encodings, compared with values worked out by hand."""

import numpy as np
import pytest

from ferlib.models.bovw.encodings import (
    count_words,
    fisher_vector,
    gaussian_posteriors,
    power_normalize,
    pyramid_cells,
    spatial_statistics,
    word_positions,
)

# Four points: word 0 twice on the left, word 2 at the top right, word 1 at the bottom right.
WORDS = np.array([0, 0, 2, 1])
POSITIONS = np.array([[0.1, 0.2], [0.3, 0.8], [0.9, 0.1], [1.0, 1.0]], np.float32)


def test_words_are_counted():
    assert count_words(WORDS, 4).tolist() == [2, 1, 1, 0]
    np.testing.assert_allclose(count_words(WORDS, 4, np.array([0.5, 0.25, 2, 1])), [0.75, 1, 2, 0])


def test_pyramid_cells_contain_their_points():
    whole, *quadrants = pyramid_cells(POSITIONS, (1, 2))
    assert whole.all()
    # Row by row: top left, top right, bottom left, bottom right; points on the border belong to the last cell.
    assert [np.flatnonzero(cell).tolist() for cell in quadrants] == [[0], [2], [1], [3]]
    assert len(pyramid_cells(POSITIONS, (1, 2, 3))) == 14
    assert [cell.shape for cell in pyramid_cells(POSITIONS[:0], (1, 2))] == [(0,)] * 5


def test_word_positions_are_means_and_deviations():
    counts, means, deviations = word_positions(WORDS, POSITIONS, 4)
    assert counts.tolist() == [2, 1, 1, 0]
    np.testing.assert_allclose(means, [[0.2, 0.5], [1, 1], [0.9, 0.1], [0, 0]], atol=1e-6)
    np.testing.assert_allclose(deviations, [[0.1, 0.3], [0, 0], [0, 0], [0, 0]], atol=1e-6)


def test_spatial_statistics_measure_offsets_and_spreads():
    usual_means, usual_deviations = np.full((4, 2), 0.5), np.full((4, 2), 0.2)
    offsets, spreads = spatial_statistics(WORDS, POSITIONS, usual_means, usual_deviations).reshape(2, 4, 2)
    np.testing.assert_allclose(offsets[0], np.sqrt(2 / 4) * np.array([-1.5, 0]), atol=1e-6)
    np.testing.assert_allclose(offsets[1], np.sqrt(1 / 4) * np.array([2.5, 2.5]), atol=1e-6)
    np.testing.assert_allclose(spreads[0], np.sqrt(2 / 4) * np.array([-0.5, 0.5]), atol=1e-5)
    # No offset without occurrences, and no spread of a single one.
    assert (offsets[3] == 0).all()
    assert (spreads[1:] == 0).all()


def test_fisher_vector_is_the_gradient_of_the_likelihood():
    rng = np.random.default_rng(0)
    weights, means, deviations = np.array([0.3, 0.7]), rng.normal(size=(2, 3)), rng.uniform(0.5, 1.5, (2, 3))
    points = rng.normal(size=(40, 3))

    def log_likelihood(means, deviations):
        z = (points[:, np.newaxis] - means) / deviations
        return np.log((weights * np.exp(-0.5 * (z**2).sum(axis=2)) / deviations.prod(axis=1)).sum(axis=1)).mean()

    posteriors = gaussian_posteriors(points, weights, means, deviations)
    np.testing.assert_allclose(posteriors.sum(axis=1), 1, atol=1e-3)
    by_mean, by_deviation = fisher_vector(points, posteriors, weights, means, deviations).reshape(2, 2, 3)
    for k, j in np.ndindex(2, 3):
        step = np.zeros((2, 3))
        step[k, j] = 1e-5
        slope = (log_likelihood(means + step, deviations) - log_likelihood(means - step, deviations)) / 2e-5
        assert by_mean[k, j] == pytest.approx(slope * deviations[k, j] / np.sqrt(weights[k]), rel=1e-2, abs=1e-4)
        slope = (log_likelihood(means, deviations + step) - log_likelihood(means, deviations - step)) / 2e-5
        assert by_deviation[k, j] == pytest.approx(
            slope * deviations[k, j] / np.sqrt(2 * weights[k]), rel=1e-2, abs=1e-4
        )


def test_power_normalization_keeps_signs_and_has_length_1():
    np.testing.assert_allclose(power_normalize(np.array([9.0, -16, 0])), [0.6, -0.8, 0])
    assert power_normalize(np.zeros(3)).tolist() == [0, 0, 0]
