"""Decoding of image files, and color, size and crops of images."""

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image, ImageOps

from ferlib.core.backend import suppress_native_stderr
from ferlib.core.errors import ImageError

#: Suffixes of images when a folder is searched; the format is determined by the content.
IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

#: Images with more pixels are refused before they are decoded, which would take about 0.5 GB as RGB.
MAX_PIXELS = 100_000_000

# The formats that are tried, the common ones first. Others are refused: EPS, for one, would start Ghostscript.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO", "TGA")


def decode_image(data: bytes, *, name: str = "image", max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode an image: upright, 8 bits, gray or RGB.

    The EXIF orientation is applied and transparency is replaced by white. 16-bit integers and floats are scaled to 8
    bits. Only the first frame of an animation and the first page of a document are decoded.

    Parameters
    ----------
    data : bytes
        The content of a JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000, PPM, ICO or TGA file.
    name : str
        Identifies the image in an error.
    max_pixels : int
        Larger images are refused.

    Returns
    -------
    ndarray of shape (H, W, 1) or (H, W, 3), dtype uint8
        Gray, or RGB, 0 to 255.

    Raises
    ------
    ImageError
        The bytes are not an image, the image is truncated or damaged, or it has more than `max_pixels`.
    """
    if not data:
        raise ImageError(f"{name}: the file is empty.")
    try:
        # Pillow warns of large images, which have a limit here, and of wrong metadata.
        with ignore_warnings(), Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise ImageError(
                    f"{name}: {image.width} x {image.height} pixels is over the limit of {max_pixels:,} pixels."
                )
            # libtiff writes its messages about a damaged file to standard error.
            quiet = suppress_native_stderr(always=True) if image.format == "TIFF" else contextlib.nullcontext()
            with quiet:
                upright = ImageOps.exif_transpose(image)
                upright.load()
    except ImageError:
        raise
    except Image.DecompressionBombError:
        # Pillow's own limit, about 179 million pixels, cannot be exceeded.
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise ImageError(f"{name}: the image is over the limit of {limit:,} pixels.") from None
    except MemoryError:
        raise ImageError(f"{name}: the image does not fit into memory.") from None
    # Pillow's decoders raise many kinds of error on damaged files (OSError, SyntaxError, ValueError, struct.error).
    except Exception as error:
        raise ImageError(f"{name}: not a readable image ({_first_line(error)}).") from None
    return _to_uint8(upright)


def read_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read an image file; see `decode_image`, whose `ImageError` is also raised if the file cannot be read."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise ImageError(f"{path}: the file cannot be read ({error.strerror}).") from None
    return decode_image(data, name=str(path), max_pixels=max_pixels)


#: The types that `as_image` converts.
ImageLike = np.ndarray | Image.Image | str | Path | bytes | BinaryIO


def as_image(image: ImageLike) -> np.ndarray:
    """Return an array (H, W), (H, W, 1) or (H, W, 3), a Pillow image, or an encoded image as `decode_image` does.

    Raises
    ------
    ImageError
        A file or bytes cannot be read as an image.
    ValueError
        An array has another shape, another dtype than uint8, or no pixels.
    """
    if isinstance(image, str | Path):
        return read_image(image)
    if isinstance(image, bytes | bytearray | memoryview):
        return decode_image(bytes(image))
    if hasattr(image, "read"):
        return decode_image(image.read(), name=str(getattr(image, "name", "image")))
    if isinstance(image, Image.Image):
        return _to_uint8(ImageOps.exif_transpose(image))
    array = np.asarray(image)
    array = array[..., np.newaxis] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[-1] not in (1, 3) or array.dtype != np.uint8 or not array.size:
        raise ValueError(
            f"expected a uint8 image of shape (H, W), (H, W, 1) or (H, W, 3), got {array.dtype} of shape {array.shape}"
        )
    return array


class _SharedFilter:
    """Ignores warnings while at least one thread needs it.

    `warnings.catch_warnings` changes the filters of the whole process: if each thread used its own, the last one to
    leave could restore the filters of another one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_users = 0
        self._stack = contextlib.ExitStack()

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._n_users == 0:
                self._stack.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
            self._n_users += 1
        try:
            yield
        finally:
            with self._lock:
                self._n_users -= 1
                if self._n_users == 0:
                    self._stack.close()


ignore_warnings = _SharedFilter()


def _first_line(error: BaseException) -> str:
    """Return the first line of an error, without the memory addresses in Pillow's messages."""
    lines = str(error).splitlines()
    text = lines[0] if lines else type(error).__name__
    return "unknown image format" if "cannot identify image file" in text else text[:120]


def _to_uint8(image: Image.Image) -> np.ndarray:
    """Return a loaded Pillow image as uint8 (H, W, 1) or (H, W, 3)."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        values = np.nan_to_num(np.asarray(image, dtype=np.float64))
        # 16-bit files have the modes I and I;16. Floats have a range of 0 to 1 if none is larger.
        top = 65535.0 if values.max(initial=0) > 255 else (1.0 if image.mode == "F" and values.max() <= 1 else 255.0)
        return np.clip(values * (255.0 / top), 0, 255).round().astype(np.uint8)[..., np.newaxis]
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        image = Image.alpha_composite(white, rgba).convert("L" if image.mode in ("LA", "La") else "RGB")
    if image.mode in ("1", "L"):
        return np.array(image.convert("L"))[..., np.newaxis]
    return np.array(image.convert("RGB"))


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


def fit_to_model(images: np.ndarray, *, image_size: tuple[int, int], channels: int) -> np.ndarray:
    """Convert images to the color and size of a model's input, for training and prediction alike.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, 1) or (n, H, W, 3), dtype uint8
        Gray or RGB, 0 to 255. Another shape or dtype is a ValueError.
    image_size : tuple of int
        The model's (height, width) in pixels.
    channels : int
        1 for gray, 3 for RGB.

    Returns
    -------
    ndarray of shape (n, *image_size, channels), dtype uint8
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
    return np.stack([resize(image, image_size) for image in images])
