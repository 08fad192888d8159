"""Transforms and corruptions of images, and accuracy under them."""

import numpy as np
import pytest

from ferlib.evaluation.markdown import robustness_rows
from ferlib.evaluation.robustness import (
    CORRUPTIONS,
    TRANSFORMS,
    Transform,
    corrupt_images,
    measure_corruptions,
    measure_robustness,
    transform_images,
)


def spot(row, column):
    """Return an image of 48 x 48 pixels with one bright spot."""
    image = np.zeros((1, 48, 48, 1), np.uint8)
    image[0, row - 1 : row + 2, column - 1 : column + 2] = 255
    return image


def center(image):
    """Return the spot's row and column."""
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
        # A spot 10 pixels above the center moves to the left when the image is rotated to the left.
        ("rotate 12° left", (23.5 - 10 * np.cos(np.deg2rad(12)), 23.5 - 10 * np.sin(np.deg2rad(12)))),
        ("rotate 12° right", (23.5 - 10 * np.cos(np.deg2rad(12)), 23.5 + 10 * np.sin(np.deg2rad(12)))),
    ],
)
def test_transforms_move_a_spot(name, expected):
    # Between rows 13 and 14, columns 23 and 24: 10 pixels above the center of the image.
    image = np.maximum(np.maximum(spot(13, 23), spot(14, 24)), np.maximum(spot(13, 24), spot(14, 23)))
    assert center(image) == pytest.approx((13.5, 23.5))
    assert center(transform_images(image, TRANSFORMS[name])) == pytest.approx(expected, abs=0.15)


def test_transforms_repeat_the_edge():
    image = np.full((2, 48, 48, 3), (10, 20, 30), np.uint8)
    for transform in TRANSFORMS.values():
        np.testing.assert_array_equal(transform_images(image, transform), image)
    assert transform_images(image[:0], Transform(right=4)).shape == (0, 48, 48, 3)


def test_robustness_of_model_that_uses_one_pixel():
    images = np.concatenate([spot(24, 24), np.zeros((1, 48, 48, 1), np.uint8)] * 5)
    labels = np.array([1, 0] * 5)

    def uses_the_center(images):
        bright = images[:, 24, 24, 0] > 127
        return np.stack([~bright, bright], axis=1).astype(float)

    accuracies = measure_robustness(uses_the_center, images, labels)
    assert accuracies["original"] == 1
    assert accuracies["shift 4 px left"] == 0.5
    assert accuracies["scale 1.15"] == 1
    assert ("shift 4 px left", "50.00%", "-50.00 points") in robustness_rows(accuracies)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_stronger_corruptions_change_more(name, drawn_faces):
    images = drawn_faces.images[:20]
    distances = [
        np.abs(corrupt_images(images, name, strength).astype(int) - images).mean() for strength in CORRUPTIONS[name]
    ]
    assert distances[0] > 0
    assert distances == sorted(distances)
    np.testing.assert_array_equal(*(corrupt_images(images, name, CORRUPTIONS[name][2]) for _ in range(2)))
    color = np.repeat(images, 3, axis=-1)
    assert corrupt_images(color, name, CORRUPTIONS[name][0]).shape == color.shape


def test_corruptions_by_hand():
    gray = np.full((50, 40, 40, 1), 100, np.uint8)
    assert (corrupt_images(gray, "darker", 0.5) == 50).all()
    assert corrupt_images(gray, "noise", 10).std() == pytest.approx(10, rel=0.03)
    covered = corrupt_images(gray, "occlusion", 0.25)
    assert ((covered == 128).sum(axis=(1, 2, 3)) == 100).all()
    assert (corrupt_images(gray, "blur", 2) == 100).all()
    # Stripes of one pixel vanish at half the size.
    stripes = np.tile(np.array([0, 200], np.uint8), (1, 48, 24))[..., np.newaxis]
    assert (corrupt_images(stripes, "small face", 0.5) == 100).all()
    assert corrupt_images(gray, "small face", 0.01).shape == gray.shape
    with pytest.raises(ValueError, match="corruption must be one of"):
        corrupt_images(gray, "rain", 1)


def test_accuracy_falls_with_corruption():
    images = np.concatenate([spot(24, 24), np.zeros((1, 48, 48, 1), np.uint8)] * 20)
    labels = np.array([1, 0] * 20)

    def uses_brightness(images):
        bright = images.max(axis=(1, 2, 3)) > 160
        return np.stack([~bright, bright], axis=1).astype(float)

    table = measure_corruptions(uses_brightness, images, labels).set_index(["corruption", "level"])["accuracy"]
    assert len(table) == 6 * len(CORRUPTIONS)
    assert table["darker"].tolist() == [1, 1, 1, 0.5, 0.5, 0.5]
    assert table["rotation"].tolist() == [1] * 6
    assert table["blur", 5] == 0.5
