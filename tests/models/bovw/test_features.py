"""Dense SIFT on a regular grid."""

import cv2
import numpy as np
import pytest

from ferlib.models.bovw.features import dense_sift, root_normalize


@pytest.fixture
def faces(drawn_faces):
    return drawn_faces.images[:6]


def test_patches_lie_on_a_grid_inside_the_image(faces):
    descriptors, positions = dense_sift(faces, step=6, patch_sizes=(12, 24))
    assert descriptors.shape == (6, 7 * 7 + 5 * 5, 128)
    assert descriptors.dtype == positions.dtype == np.float32
    np.testing.assert_allclose(np.unique(positions[:49, 1]) * 48, np.arange(6, 43, 6))
    np.testing.assert_allclose(np.unique(positions[49:, 0]) * 48, np.arange(12, 37, 6))


def test_descriptors_equal_opencv_sift():
    rng = np.random.default_rng(0)
    blurred = np.stack([cv2.GaussianBlur(rng.integers(0, 256, (48, 48), np.uint8), (0, 0), 2) for _ in range(5)])
    images = cv2.normalize(blurred, None, 0, 255, cv2.NORM_MINMAX)[..., np.newaxis]
    sift = cv2.SIFT_create()
    descriptors, positions = dense_sift(images, step=4, patch_sizes=(24,))
    # OpenCV smooths by 1.6 pixels, which matters less in an enlarged image; its descriptor spans six diameters.
    points = [cv2.KeyPoint(float(x) * 96, float(y) * 96, 48 / 6, 0.0) for x, y in positions]
    for image, ours in zip(images, descriptors, strict=True):
        large = cv2.resize(image, (96, 96), interpolation=cv2.INTER_CUBIC)
        theirs = root_normalize(sift.compute(large, points)[1])
        assert np.median((ours * theirs).sum(axis=1)) > 0.98


def test_one_image_or_a_batch_give_equal_descriptors(faces):
    np.testing.assert_array_equal(dense_sift(faces)[0][5], dense_sift(faces[5:])[0][0])


def test_brightness_hardly_changes_descriptors(faces):
    bright, dark = (dense_sift(images, patch_sizes=(12,))[0] for images in (faces, (faces * 0.6).astype(np.uint8)))
    described = np.linalg.norm(bright, axis=2) > 0.3
    assert np.median((bright * dark).sum(axis=2)[described]) > 0.95


def test_flat_image_has_finite_descriptors():
    descriptors, _ = dense_sift(np.full((1, 48, 48, 1), 200, np.uint8))
    assert (descriptors == 0).all()


@pytest.mark.parametrize("wrong", [{"step": 0}, {"patch_sizes": ()}, {"patch_sizes": (10,)}])
def test_impossible_grid_is_refused(wrong, faces):
    with pytest.raises(ValueError, match="must be at least 1 and patch_sizes multiples of 4"):
        dense_sift(faces, **wrong)
