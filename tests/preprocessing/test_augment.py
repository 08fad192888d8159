import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferlib.core.errors import FerlibError
from ferlib.preprocessing import Augmentation

STILL = {"rotation": 0, "scale": 0, "shift": 0, "shear": 0, "flip": False, "brightness": 0, "contrast": 0, "erase": 0}
STILL |= {"blur": 0, "noise": 0}


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (40, 24, 32, 1), dtype=np.uint8)


def test_zero_amounts_change_nothing(noise):
    np.testing.assert_array_equal(Augmentation(**STILL)(noise, np.random.default_rng(0)), noise)


def test_input_images_are_not_changed(noise):
    before = noise.copy()
    Augmentation()(noise, np.random.default_rng(0))
    np.testing.assert_array_equal(noise, before)


def test_flip_mirrors_half_of_the_images(noise):
    flipped = Augmentation(**STILL | {"flip": True})(noise, np.random.default_rng(0))
    mirrored = (flipped == noise[:, :, ::-1]).all(axis=(1, 2, 3))
    same = (flipped == noise).all(axis=(1, 2, 3))
    assert (mirrored | same).all()
    assert 10 < mirrored.sum() < 30


def test_shift_is_at_most_its_fraction():
    image = np.zeros((200, 41, 41, 1), np.uint8)
    image[:, 20, 20] = 255
    moved = Augmentation(**STILL | {"shift": 0.1})(image, np.random.default_rng(0))
    rows, columns = np.indices((41, 41))
    weight = moved[..., 0].sum(axis=(1, 2), dtype=float)
    centre = np.stack([(moved[..., 0] * rows).sum((1, 2)) / weight, (moved[..., 0] * columns).sum((1, 2)) / weight])
    distance = np.abs(centre - 20)
    assert distance.max() <= 4.2
    assert distance.max() > 3


def test_brightness_changes_by_at_most_its_fraction():
    gray = np.full((300, 8, 8, 1), 128, np.uint8)
    means = Augmentation(**STILL | {"brightness": 0.1})(gray, np.random.default_rng(0)).mean(axis=(1, 2, 3))
    assert np.abs(means - 128).max() <= 26.5
    assert means.std() > 10


def test_gamma_keeps_black_and_white_and_moves_the_middle():
    ramp = np.tile(np.array([0, 128, 255], np.uint8), (100, 1, 1, 1)).transpose(0, 3, 1, 2)
    out = Augmentation(**STILL | {"gamma": 0.5})(ramp, np.random.default_rng(0))[..., 0, 0]
    assert (out[:, 0] == 0).all() and (out[:, 2] == 255).all()
    assert 80 < out[:, 1].min() < 100 and 160 < out[:, 1].max() < 170


def test_low_resolution_removes_detail_and_keeps_the_mean(noise):
    out = Augmentation(**STILL | {"resolution": 1})(noise, np.random.default_rng(0)).astype(float)
    assert (out.std(axis=(1, 2, 3)) < noise.std(axis=(1, 2, 3))).all()
    np.testing.assert_allclose(out.mean(axis=(1, 2, 3)), noise.mean(axis=(1, 2, 3)), atol=6)


def test_erase_fills_one_rectangle_with_one_gray(noise):
    out = Augmentation(**STILL | {"erase": 0.5})(noise, np.random.default_rng(0))
    changed = [np.unique(image[image != before]) for image, before in zip(out, noise, strict=True)]
    erased = [values for values in changed if len(values)]
    assert 10 < len(erased) < 30
    assert all(len(values) == 1 for values in erased)


@given(seed=st.integers(0, 2**32), channels=st.sampled_from([1, 3]))
def test_random_state_determines_the_images(seed, channels):
    images = np.random.default_rng(1).integers(0, 256, (4, 48, 48, channels), dtype=np.uint8)
    first, again, other = (Augmentation()(images, np.random.default_rng(s)) for s in (seed, seed, seed + 1))
    assert first.shape == images.shape
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_crop_keeps_scale_at_a_random_place(noise):
    images = np.repeat(noise[:1], 200, axis=0)
    crops = Augmentation(**STILL | {"crop": 0.75})(images, np.random.default_rng(0))
    assert crops.shape == (200, 18, 24, 1)
    assert Augmentation(crop=0.75).output_size(24, 32) == (18, 24)
    # A ramp keeps its slope and starts from 0 to the number of pixels cut away.
    ramp = np.broadcast_to(np.arange(0, 192, 4, dtype=np.uint8)[:, np.newaxis], (200, 48, 48, 1))
    rows = Augmentation(**STILL | {"crop": 5 / 6})(ramp, np.random.default_rng(0))[..., 0].astype(int)
    assert rows.shape == (200, 40, 40)
    starts = rows[:, 0, 0] / 4
    assert 0 <= starts.min() < 1
    assert 7 < starts.max() <= 8
    assert (np.abs(rows[:, 0, -1] - rows[:, 0, 0] - 39 * 4) <= 1).all()


@pytest.mark.parametrize("crop", [0, 1.2])
def test_invalid_crop_is_an_error(crop):
    with pytest.raises(FerlibError, match="crop: expected a number above 0 and at most 1"):
        Augmentation(crop=crop)


def test_blur_smooths_its_fraction_of_the_images(noise):
    blurred = Augmentation(**STILL | {"blur": 0.5})(noise, np.random.default_rng(0))
    changed = (blurred != noise).any(axis=(1, 2, 3))
    assert 10 < changed.sum() < 30
    assert (blurred[changed].std(axis=(1, 2, 3)) < 0.95 * noise[changed].std(axis=(1, 2, 3))).all()
    assert blurred[changed].mean() == pytest.approx(noise[changed].mean(), abs=2)


def test_noise_changes_its_fraction_of_the_images():
    plain = np.full((100, 24, 32, 3), 120, np.uint8)
    noisy = Augmentation(**STILL | {"noise": 0.4})(plain, np.random.default_rng(0))
    spread = noisy.std(axis=(1, 2, 3))
    assert 25 < (spread > 0).sum() < 55
    assert (spread[spread > 0] > 2.5).all()
    assert spread.max() < 21
    assert noisy.mean() == pytest.approx(120, abs=1)


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_invalid_fraction_is_an_error(share):
    with pytest.raises(FerlibError, match=f"noise: expected a number at least 0 and at most 1, got '{share}'"):
        Augmentation(noise=share)
