"""Local features: as many as the grid has, where it says, and steady under light."""

import numpy as np
import pytest

from ferlib.words.features import KINDS, LocalFeatures


@pytest.fixture
def faces(drawn_faces):
    return drawn_faces.images[:6]


@pytest.mark.parametrize(("kind", "length"), [("dense_sift", 128), ("sift", 128), ("orb", 256), ("patches", 64)])
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
    features = LocalFeatures(step=8, patch_sizes=(12, 24), upscale=2)
    _, positions = next(features.describe(faces))
    assert len(positions) == 2 * 6 * 6
    np.testing.assert_allclose(np.unique(positions[:, 0]) * 48, np.arange(4, 48, 8))
    _, patches = next(LocalFeatures(kind="patches", step=4, patch_sizes=(8,)).describe(faces))
    np.testing.assert_allclose(np.unique(patches[:, 1]) * 48, np.arange(4, 48, 4))


def test_a_patch_is_what_stands_in_the_picture(faces):
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
def test_a_flat_picture_gives_no_not_a_number(kind):
    [(descriptors, positions)] = LocalFeatures(kind=kind).describe(np.full((1, 48, 48, 1), 200, np.uint8))
    assert np.isfinite(descriptors).all()
    assert len(descriptors) == len(positions)


@pytest.mark.parametrize("wrong", [{"kind": "surf"}, {"step": 0}, {"patch_sizes": ()}, {"upscale": 0}])
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        LocalFeatures(**wrong)
