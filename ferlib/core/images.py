"""Images in memory: what counts as one, and their color, size and crops."""

import os
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import Image

from ferlib.core.color_depth import over_white, scale_to_uint8
from ferlib.core.decoding import (
    IMAGE_SUFFIXES,
    MAX_PIXELS,
    decode_image,
    decode_pillow,
    ignore_warnings,
    read_image,
)
from ferlib.core.errors import ImageError

# Files are decoded in a module of its own; the names are those that most callers need together.
__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "ImageLike",
    "as_image",
    "crop",
    "decode_image",
    "fit_to_model",
    "ignore_warnings",
    "read_image",
    "resize",
    "to_gray",
    "to_rgb",
]

#: The types that `as_image` converts.
ImageLike = np.ndarray | Image.Image | str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO


def as_image(image: ImageLike | Any) -> np.ndarray:
    """Return an image in any form as uint8 (H, W, 1) or (H, W, 3), gray or RGB.

    Parameters
    ----------
    image : path, bytes, binary file, Pillow image, or array
        Paths, bytes and files hold an encoded image; see `ferlib.core.decoding.decode_image`. Arrays have the shape (H,
        W), (H, W, 1), (H, W, 3) or (H, W, 4) and are gray, RGB or RGBA: reverse the channels of OpenCV's BGR with
        ``array[..., ::-1]``. Values are 0 to 255 in uint8, False and True, or 0 to 1 in floats. Other integers and
        floats are scaled from the smallest usual range that holds the largest value: 8, 10, 12, 14 or 16 bits.

    Raises
    ------
    ImageError
        A file or bytes cannot be read as an image.
    ValueError
        What is given is not an image: None, an array of another shape, without pixels, or with values that are not
        finite numbers.
    """
    if image is None:
        raise ValueError("expected an image, got None, which cv2.imread returns for a file that it cannot read")
    if isinstance(image, str) and "://" in image:
        raise ImageError(f"{image.split('://')[0]}://…: an address is not read; download the image and name the file.")
    if isinstance(image, str | os.PathLike):
        return read_image(image)
    if isinstance(image, bytes | bytearray | memoryview):
        return decode_image(bytes(image))
    if hasattr(image, "read"):
        return _read_file(image)
    if isinstance(image, Image.Image):
        return decode_pillow(image, name=str(getattr(image, "filename", "")) or "image")
    return _check_array(image)


def _read_file(file: Any) -> np.ndarray:
    """Decode an open file."""
    name = str(getattr(file, "name", "image"))
    if isinstance(file.read(0), str):
        raise ImageError(f"{name}: the file is open as text; open it with the mode 'rb'.")
    if file.seekable() and file.tell() and not file.read(1):
        raise ImageError(f"{name}: the open file is at its end; go back with seek(0).")
    return decode_image(file.read() if not file.seekable() else file, name=name)


def _check_array(image: Any) -> np.ndarray:
    """Return an array as uint8 (H, W, 1) or (H, W, 3)."""
    array = np.asarray(image)
    array = array[..., np.newaxis] if array.ndim == 2 else array
    problem = ""
    if array.ndim == 4 or (isinstance(image, list | tuple) and array.ndim != 3):
        problem = "several images go to recognize_all"
    elif array.ndim == 3 and array.shape[-1] not in (1, 3, 4) and array.shape[0] in (1, 3, 4):
        problem = "the channels come last"
    elif array.ndim != 3 or array.shape[-1] not in (1, 3, 4) or array.dtype.kind not in "buif" or not array.size:
        problem = "gray, RGB or RGBA numbers are needed"
    elif array.dtype.kind == "f" and not np.isfinite(array).all():
        problem = "some values are not finite numbers"
    elif array.dtype.kind in "if" and array.min() < 0:
        problem = "some values are negative; reverse the normalization first"
    if problem:
        raise ValueError(
            f"expected an image of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), got {array.dtype} of shape "
            f"{array.shape}: {problem}"
        )
    array = scale_to_uint8(array)
    return over_white(array) if array.shape[-1] == 4 else array


def to_gray(images: np.ndarray) -> np.ndarray:
    """Convert gray or RGB images (..., H, W, C), uint8, to gray (..., H, W, 1) by the luma weights of ITU-R BT.601."""
    if images.shape[-1] == 1:
        return images
    height, width = images.shape[-3:-1]
    # As one tall image, a batch is rounded in the same way as a single image.
    tall = np.ascontiguousarray(images).reshape(-1, width, 3) if width else images
    return cv2.cvtColor(tall, cv2.COLOR_RGB2GRAY).reshape(*images.shape[:-3], height, width, 1)


def to_rgb(images: np.ndarray) -> np.ndarray:
    """Convert images to RGB; gray (..., H, W, 1) is repeated in three channels."""
    return images if images.shape[-1] == 3 else np.repeat(images, 3, axis=-1)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image (H, W, C), uint8, to a (height, width): by area averaging if it shrinks, else linearly."""
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    # Area averaging avoids aliasing.
    shrinks = height < image.shape[0] or width < image.shape[1]
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return resized.reshape(height, width, image.shape[2])


def crop(image: np.ndarray, box: tuple[float, float, float, float], *, margin: float = 0.0) -> np.ndarray:
    """Crop a box from an image, clipped at the image's edges.

    Parameters
    ----------
    image : ndarray of shape (H, W, C)
    box : tuple of float
        x, y, width, height in pixels, origin top left.
    margin : float
        Added on each side, as a fraction of the box's width and height.

    Returns
    -------
    ndarray of shape (h, w, C)
        A view; at least one pixel in each direction. A box that is completely outside the image is a ValueError.
    """
    x, y, width, height = box
    left, right = x - margin * width, x + (1 + margin) * width
    top, bottom = y - margin * height, y + (1 + margin) * height
    x0, x1 = max(0, round(left)), min(image.shape[1], max(round(right), round(left) + 1))
    y0, y1 = max(0, round(top)), min(image.shape[0], max(round(bottom), round(top) + 1))
    if x0 >= x1 or y0 >= y1:
        raise ValueError(f"box {tuple(box)} lies outside an image of {image.shape[1]} x {image.shape[0]} pixels")
    return image[y0:y1, x0:x1]


def window(image: np.ndarray, x0: int, y0: int, width: int, height: int) -> np.ndarray:
    """Return a window (height, width, C) of an image (H, W, C); outside, pixels are mirrored at the edge.

    It is a view where the window lies inside the image. The pixels at the edge are not repeated.
    """
    inside = x0 >= 0 and y0 >= 0 and x0 + width <= image.shape[1] and y0 + height <= image.shape[0]
    if inside:
        return image[y0 : y0 + height, x0 : x0 + width]
    rows = _mirrored(np.arange(y0, y0 + height), image.shape[0])
    columns = _mirrored(np.arange(x0, x0 + width), image.shape[1])
    return image[rows[:, np.newaxis], columns]


def _mirrored(index: np.ndarray, n: int) -> np.ndarray:
    """Return indices mirrored into 0 to n - 1, as often as necessary."""
    period = max(1, 2 * (n - 1))
    index = np.abs(index) % period
    return np.minimum(index, period - index) if n > 1 else np.zeros_like(index)


def fit(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image (H, W, C) to a (height, width) without stretching it: the shorter side is mirrored at its edges.

    Mirroring is more accurate than stretching and than cutting off the longer side, because the face keeps its shape
    and all of its parts.
    """
    height, width = image.shape[:2]
    full_height, full_width = height, width
    if height * size[1] < width * size[0]:
        full_height = round(width * size[0] / size[1])
    else:
        full_width = round(height * size[1] / size[0])
    if (full_height, full_width) != (height, width):
        image = window(image, (width - full_width) // 2, (height - full_height) // 2, full_width, full_height)
    return resize(image, size)


def fit_to_model(images: np.ndarray, *, image_size: tuple[int, int], channels: int) -> np.ndarray:
    """Convert images to the color and size of a model's input, for training and prediction alike.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, 1) or (n, H, W, 3), dtype uint8
        Gray or RGB, 0 to 255; not stretched, see `fit`. Another shape or dtype is a ValueError.
    image_size : tuple of int
        The model's (height, width) in pixels.
    channels : int
        1 for gray, 3 for RGB.

    Returns
    -------
    ndarray of shape ``(n, *image_size, channels)``, dtype uint8
    """
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or images.dtype != np.uint8:
        raise ValueError(
            f"expected uint8 images of shape (n, H, W, 1) or (n, H, W, 3), got {images.dtype} of shape {images.shape}"
        )
    images = to_gray(images) if channels == 1 else to_rgb(images)
    if images.shape[1:3] == tuple(image_size):
        return images
    if not len(images):
        return np.empty((0, *image_size, channels), np.uint8)
    return np.stack([fit(image, image_size) for image in images])
