"""Images of all kinds are decoded upright, with 8 bits, in gray or RGB; errors name the file."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from ferlib.core.errors import ImageError
from ferlib.core.images import crop, decode_image, fit, fit_to_model, read_image, resize, to_gray, to_rgb, window


def encode(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture
def colors():
    """Return an image of 40 x 30 pixels: red at the left, blue at the right."""
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[:, :20, 0] = 250
    pixels[:, 20:, 2] = 250
    return Image.fromarray(pixels)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_color_order_is_rgb(colors, kind):
    decoded = decode_image(encode(colors, kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, np.asarray(colors))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(colors, orientation):
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = colors.transpose(turns[orientation]) if orientation > 1 else colors
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(decode_image(encode(stored, exif=exif)), np.asarray(colors))


def test_other_modes_are_converted(colors):
    deep = Image.fromarray(np.array([[0, 65535], [32768, 257]], np.uint16))
    np.testing.assert_array_equal(decode_image(encode(deep))[..., 0], [[0, 255], [128, 1]])
    np.testing.assert_array_equal(decode_image(encode(colors.convert("P"))).shape, (30, 40, 3))
    cmyk = decode_image(encode(colors.convert("CMYK"), "TIFF"))
    assert np.abs(cmyk.astype(int) - np.asarray(colors)).max() <= 2
    clear = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    assert (decode_image(encode(clear)) == 255).all()


def test_gray_stays_one_channel():
    gray = np.arange(48 * 48, dtype=np.uint8).reshape(48, 48)
    np.testing.assert_array_equal(decode_image(encode(Image.fromarray(gray)))[..., 0], gray)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<html>not an image</html>", "unknown image format"),
        (b"\xff\xd8\xff\xe0", "not a readable"),
        (encode(Image.new("RGB", (4, 4)), "EPS"), "unknown image format"),
    ],
)
def test_other_content_is_refused(data, reason):
    with pytest.raises(ImageError, match=rf"holiday\.jpg: .*{reason}"):
        decode_image(data, name="holiday.jpg")


def test_truncated_image_is_an_error(colors):
    data = encode(colors, "JPEG")
    with pytest.raises(ImageError, match="not a readable image"):
        decode_image(data[: len(data) * 2 // 3])


def test_large_image_is_refused_before_decoding():
    data = encode(Image.new("1", (30_000, 30_000)), "TIFF", compression="group4")
    with pytest.raises(ImageError, match="over the limit"):
        decode_image(data)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"nothing\.png: there is no such file"):
        read_image(tmp_path / "nothing.png")
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(tmp_path)


def test_gray_is_the_same_for_batches_and_images():
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 9, 3), dtype=np.uint8)
    batch = to_gray(images)
    assert batch.shape == (3, 8, 9, 1)
    expected = images @ np.array([0.299, 0.587, 0.114])
    assert np.abs(batch[..., 0] - expected).max() <= 0.51
    for image, gray in zip(images, batch, strict=True):
        np.testing.assert_array_equal(to_gray(image), gray)


@given(arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 60), st.integers(1, 60), st.sampled_from([1, 3]))))
def test_any_image_fits_any_model(images):
    for channels in (1, 3):
        fitted = fit_to_model(images, image_size=(48, 48), channels=channels)
        assert fitted.shape == (len(images), 48, 48, channels)
        assert fitted.dtype == np.uint8


def test_fitting_images_are_unchanged():
    images = np.random.default_rng(1).integers(0, 256, (5, 48, 48, 1), dtype=np.uint8)
    np.testing.assert_array_equal(fit_to_model(images, image_size=(48, 48), channels=1), images)


@pytest.mark.parametrize(
    "images", [np.zeros((48, 48, 1), np.uint8), np.zeros((1, 48, 48, 1)), np.zeros((1, 48, 48, 4), np.uint8)]
)
def test_other_arrays_are_refused(images):
    with pytest.raises(ValueError, match="expected uint8 images"):
        fit_to_model(images, image_size=(48, 48), channels=1)


def test_shrinking_does_not_alias():
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))[..., np.newaxis]
    assert np.abs(resize(stripes, (16, 16)).astype(int) - 127).max() <= 1


def test_crop_clips_at_edges_and_adds_the_margin():
    image = np.arange(100, dtype=np.uint8).reshape(10, 10, 1)
    np.testing.assert_array_equal(crop(image, (2, 3, 4, 5)), image[3:8, 2:6])
    np.testing.assert_array_equal(crop(image, (-3, -2, 6, 6)), image[:4, :3])
    assert crop(image, (4, 4, 4, 4), margin=0.25).shape == (6, 6, 1)
    with pytest.raises(ValueError, match="outside"):
        crop(image, (20, 20, 5, 5))


@pytest.mark.parametrize("shape", [(10, 10), (3, 7), (1, 4), (5, 1)])
@pytest.mark.parametrize("place", [(2, 1, 3, 2), (-3, -2, 6, 6), (4, 5, 12, 30), (-40, -30, 90, 70)])
def test_outside_of_an_image_pixels_are_mirrored(shape, place):
    image = np.arange(2 * np.prod(shape), dtype=np.uint8).reshape(*shape, 2)
    x0, y0, width, height = place
    pad = [(100, 100), (100, 100), (0, 0)]
    padded = np.pad(image, pad, mode="reflect")
    expected = padded[100 + y0 : 100 + y0 + height, 100 + x0 : 100 + x0 + width]
    np.testing.assert_array_equal(window(image, *place), expected)


@pytest.mark.parametrize(("shape", "size"), [((30, 20), (48, 48)), ((20, 30), (48, 48)), ((30, 30), (40, 60))])
def test_images_are_not_stretched(shape, size):
    """A disc stays one. Its mirror images are apart from it."""
    height, width = shape
    y, x = np.mgrid[:height, :width]
    disc = ((y - (height - 1) / 2) ** 2 + (x - (width - 1) / 2) ** 2 < 16)[..., np.newaxis] * np.uint8(255)
    fitted = fit(disc, size)
    assert fitted.shape == (*size, 1)
    _, _, boxes, centers = cv2.connectedComponentsWithStats((fitted > 127).astype(np.uint8))
    middle = np.hypot(*(centers[1:] - [(size[1] - 1) / 2, (size[0] - 1) / 2]).T).argmin() + 1
    assert boxes[middle, cv2.CC_STAT_WIDTH] == pytest.approx(boxes[middle, cv2.CC_STAT_HEIGHT], abs=1)
    np.testing.assert_allclose(centers[middle], [(size[1] - 1) / 2, (size[0] - 1) / 2], atol=1)
    np.testing.assert_array_equal(fit_to_model(disc[np.newaxis], image_size=size, channels=1)[0], fitted)


def test_images_in_the_right_proportions_are_only_resized():
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    np.testing.assert_array_equal(fit(image, (15, 20)), resize(image, (15, 20)))
    assert fit(image, (30, 40)) is image


def test_gray_is_repeated_as_rgb():
    gray = np.array([[[7]]], np.uint8)
    np.testing.assert_array_equal(to_rgb(gray), [[[7, 7, 7]]])
