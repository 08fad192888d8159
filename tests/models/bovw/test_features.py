"""Local features: as many as the grid has, where it says, and steady under light."""

import cv2
import numpy as np
import pytest

from ferlib.models.bovw.features import KINDS, LocalFeatures, _root


@pytest.fixture
def faces(drawn_faces):
    return drawn_faces.images[:6]


@pytest.mark.parametrize(
    ("kind", "length"), [("dense_sift", 128), ("grid_sift", 128), ("sift", 128), ("orb", 256), ("patches", 64)]
)
def test_every_kind_describes_faces(kind, length, faces):
    found = list(LocalFeatures(kind=kind, patch_sizes=(8,)).describe(faces))
    assert len(found) == 6
    for descriptors, positions in found:
        assert descriptors.dtype == positions.dtype == np.float32
        assert descriptors.shape == (len(positions), length)
        assert np.isfinite(descriptors).all()
        assert len(positions) > 5
        assert (positions >= 0).all()
        assert (positions <= 1).all()


def test_the_grid_is_where_it_says(faces):
    _, positions = next(LocalFeatures(kind="grid_sift", step=8, patch_sizes=(12, 24)).describe(faces))
    assert len(positions) == 2 * 6 * 6
    np.testing.assert_allclose(np.unique(positions[:, 0]) * 48, np.arange(4, 48, 8))
    # Patches of 12 and 24 pixels that lie within the image.
    _, positions = next(LocalFeatures(step=6, patch_sizes=(12, 24)).describe(faces))
    assert len(positions) == 7 * 7 + 5 * 5
    np.testing.assert_allclose(np.unique(positions[:49, 1]) * 48, np.arange(6, 43, 6))
    _, patches = next(LocalFeatures(kind="patches", step=4, patch_sizes=(8,)).describe(faces))
    np.testing.assert_allclose(np.unique(patches[:, 1]) * 48, np.arange(4, 48, 4))


def test_dense_sift_is_opencv_s_sift_upright_on_a_grid():
    rng = np.random.default_rng(0)
    images = np.stack([cv2.GaussianBlur(rng.integers(0, 256, (48, 48), np.uint8), (0, 0), 2) for _ in range(5)])
    stretched = cv2.normalize(images, None, 0, 255, cv2.NORM_MINMAX)[..., np.newaxis]
    sift = cv2.SIFT_create()
    for image, (ours, positions) in zip(
        stretched, LocalFeatures(step=4, patch_sizes=(24,)).describe(stretched), strict=True
    ):
        points = [cv2.KeyPoint(float(x) * 96, float(y) * 96, 48 / 6, 0.0) for x, y in positions]
        large = cv2.resize(image, (96, 96), interpolation=cv2.INTER_CUBIC)
        theirs = _root(sift.compute(large, points)[1])
        assert np.median((ours * theirs).sum(axis=1)) > 0.98


def test_batches_change_nothing(drawn_faces):
    features = LocalFeatures(step=6)
    many = list(features.describe(drawn_faces.images[:70]))
    np.testing.assert_array_equal(many[69][0], next(features.describe(drawn_faces.images[69:70]))[0])


def test_a_patch_is_what_stands_in_the_image(faces):
    descriptors, positions = next(LocalFeatures(kind="patches", step=4, patch_sizes=(8,)).describe(faces))
    number = int(np.flatnonzero((positions * 48 == (24, 16)).all(axis=1))[0])
    patch = faces[0, 12:20, 20:28, 0].astype(float)
    expected = (patch - patch.mean()) / np.sqrt(patch.var() + 10)
    np.testing.assert_allclose(descriptors[number].reshape(8, 8), expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["dense_sift", "patches"])
def test_light_changes_little(kind, faces):
    features = LocalFeatures(kind=kind, patch_sizes=(12,))
    (bright, _), (dark, _) = (next(features.describe(images)) for images in (faces, (faces * 0.6).astype(np.uint8)))
    similarity = (bright * dark).sum(axis=1) / np.maximum(
        np.linalg.norm(bright, axis=1) * np.linalg.norm(dark, axis=1), 1e-9
    )
    described = np.linalg.norm(bright, axis=1) > 0.3
    assert np.median(similarity[described]) > 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_a_flat_image_gives_no_not_a_number(kind):
    [(descriptors, positions)] = LocalFeatures(kind=kind).describe(np.full((1, 48, 48, 1), 200, np.uint8))
    assert np.isfinite(descriptors).all()
    assert len(descriptors) == len(positions)


@pytest.mark.parametrize("wrong", [{"kind": "surf"}, {"step": 0}, {"patch_sizes": ()}, {"upscale": 0}])
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        LocalFeatures(**wrong)
