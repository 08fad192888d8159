"""Pictures are moved as the names say, and accuracies are those of the moved pictures."""

import numpy as np
import pytest

from ferlib.evaluation.robustness import CHANGES, change_pictures, describe_robustness, measure_robustness


def spot(row, column):
    """A picture of 48 x 48 with one bright spot."""
    image = np.zeros((1, 48, 48, 1), np.uint8)
    image[0, row - 1 : row + 2, column - 1 : column + 2] = 255
    return image


def centre(image):
    """The spot's row and column."""
    rows, columns = np.indices((48, 48))
    weight = image[0, ..., 0].astype(float)
    return (weight * rows).sum() / weight.sum(), (weight * columns).sum() / weight.sum()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("shift 4 px left", (13.5, 19.5)),
        ("shift 4 px down", (17.5, 23.5)),
        ("scale 0.85", (15.0, 23.5)),
        ("scale 1.15", (12.0, 23.5)),
        # A spot ten pixels above the centre goes to the left when the picture turns to the left.
        ("rotate 12° left", (23.5 - 10 * np.cos(np.deg2rad(12)), 23.5 - 10 * np.sin(np.deg2rad(12)))),
        ("rotate 12° right", (23.5 - 10 * np.cos(np.deg2rad(12)), 23.5 + 10 * np.sin(np.deg2rad(12)))),
    ],
)
def test_a_spot_goes_where_the_name_says(name, expected):
    # Between rows 13 and 14, columns 23 and 24: ten pixels above the centre of the picture.
    image = np.maximum(np.maximum(spot(13, 23), spot(14, 24)), np.maximum(spot(13, 24), spot(14, 23)))
    assert centre(image) == pytest.approx((13.5, 23.5))
    assert centre(change_pictures(image, CHANGES[name])) == pytest.approx(expected, abs=0.15)


def test_the_edge_is_repeated_and_colour_stays():
    image = np.full((2, 48, 48, 3), (10, 20, 30), np.uint8)
    for change in CHANGES.values():
        np.testing.assert_array_equal(change_pictures(image, change), image)
    assert change_pictures(image[:0], (4, 0, 1, 0)).shape == (0, 48, 48, 3)


def test_a_model_that_looks_at_one_place_is_found_out():
    images = np.concatenate([spot(24, 24), np.zeros((1, 48, 48, 1), np.uint8)] * 5)
    labels = np.array([1, 0] * 5)

    def looks_at_the_centre(pictures):
        bright = pictures[:, 24, 24, 0] > 127
        return np.stack([~bright, bright], axis=1).astype(float)

    accuracies = measure_robustness(looks_at_the_centre, images, labels)
    assert accuracies["upright"] == 1
    assert accuracies["shift 4 px left"] == 0.5
    assert accuracies["scale 1.15"] == 1
    assert ("shift 4 px left", "50.00%", "-50.00 points") in describe_robustness(accuracies)
