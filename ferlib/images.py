"""Read any picture safely, and bring pictures to the size and colour that a model wants."""

import contextlib
import io
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from ferlib.errors import PictureError
from ferlib.quiet import silent_stderr

#: Suffixes that count as pictures when a folder is searched; what a file really is, its bytes decide.
PICTURE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

#: Pictures with more pixels than this are refused before they are decoded (about 0.5 GB as RGB while they are).
MAX_PIXELS = 100_000_000


def decode_picture(data: bytes, *, name: str = "picture", max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode a picture as a person would see it: upright, 8 bits, grey or RGB.

    The EXIF orientation is applied, transparency is laid on white, 16 bits and floats are scaled to 8, and of an
    animation or a file of several pages the first is taken.

    Parameters
    ----------
    data : bytes
        The file's content, in any format that Pillow reads.
    name : str
        What to call the picture in an error.
    max_pixels : int
        The most pixels (width times height) that are decoded.

    Returns
    -------
    ndarray of shape (H, W, 1) or (H, W, 3), dtype uint8
        Grey, or RGB, 0 to 255.

    Raises
    ------
    PictureError
        The bytes are no picture, the picture is cut short or damaged, or it has more than `max_pixels`.
    """
    if not data:
        raise PictureError(f"{name}: the file is empty.")
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures and odd metadata; the limit below is the one that counts here.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as picture:
                if picture.width * picture.height > max_pixels:
                    raise PictureError(
                        f"{name}: {picture.width} x {picture.height} pixels is over the limit of {max_pixels:,} pixels."
                    )
                # libtiff writes what it thinks of a damaged file to standard error by itself.
                quiet = silent_stderr(even_if_it_fails=True) if picture.format == "TIFF" else contextlib.nullcontext()
                with quiet:
                    upright = ImageOps.exif_transpose(picture)
                    upright.load()
    except PictureError:
        raise
    except Image.DecompressionBombError:
        raise PictureError(f"{name}: the picture is over the limit of {max_pixels:,} pixels.") from None
    except MemoryError:
        raise PictureError(f"{name}: the picture does not fit into memory.") from None
    # Pillow's decoders raise many kinds of error on damaged files (OSError, SyntaxError, ValueError, struct.error).
    except Exception as error:
        raise PictureError(f"{name}: not a readable picture ({_first_line(error)}).") from None
    return _to_uint8(upright)


def read_picture(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a picture file; see `decode_picture` for what comes back and what is refused.

    Raises
    ------
    PictureError
        The file is missing or unreadable, or `decode_picture` refuses its content.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise PictureError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise PictureError(f"{path}: the file cannot be read ({error.strerror}).") from None
    return decode_picture(data, name=str(path), max_pixels=max_pixels)


def as_picture(picture: np.ndarray | Image.Image | str | Path) -> np.ndarray:
    """Return whatever holds a picture as an array.

    Parameters
    ----------
    picture : ndarray of shape (H, W), (H, W, 1) or (H, W, 3), dtype uint8; Pillow picture; or path

    Returns
    -------
    ndarray of shape (H, W, 1) or (H, W, 3), dtype uint8
        Grey, or RGB, 0 to 255.

    Raises
    ------
    PictureError
        A file cannot be read as a picture.
    ValueError
        An array has another shape or dtype, or no pixel.
    """
    if isinstance(picture, str | Path):
        return read_picture(picture)
    if isinstance(picture, Image.Image):
        return _to_uint8(ImageOps.exif_transpose(picture))
    array = np.asarray(picture)
    array = array[..., np.newaxis] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[-1] not in (1, 3) or array.dtype != np.uint8 or not array.size:
        raise ValueError(
            "expected a uint8 picture of shape (H, W), (H, W, 1) or (H, W, 3), "
            f"got {array.dtype} of shape {array.shape}"
        )
    return array


def _first_line(error: BaseException) -> str:
    """Return an error's first line, short, without the memory addresses that Pillow puts there."""
    lines = str(error).splitlines()
    text = lines[0] if lines else type(error).__name__
    return "no known picture format" if "cannot identify image file" in text else text[:120]


def _to_uint8(picture: Image.Image) -> np.ndarray:
    """Return a loaded Pillow picture as uint8 (H, W, 1) or (H, W, 3)."""
    if picture.mode in ("I", "F") or picture.mode.startswith("I;"):
        values = np.nan_to_num(np.asarray(picture, dtype=np.float64))
        # 16-bit files come as I or I;16; floats are taken as 0 to 1 where nothing is larger.
        top = 65535.0 if values.max(initial=0) > 255 else (1.0 if picture.mode == "F" and values.max() <= 1 else 255.0)
        return np.clip(values * (255.0 / top), 0, 255).round().astype(np.uint8)[..., np.newaxis]
    if picture.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        picture = Image.alpha_composite(white, rgba).convert("L" if picture.mode in ("LA", "La") else "RGB")
    if picture.mode in ("1", "L"):
        return np.array(picture.convert("L"))[..., np.newaxis]
    return np.array(picture.convert("RGB"))


def to_gray(images: np.ndarray) -> np.ndarray:
    """Return pictures in grey, by the luma weights of ITU-R BT.601 (0.299, 0.587, 0.114).

    Parameters
    ----------
    images : ndarray of shape (..., H, W, C), dtype uint8
        One picture or a batch, C being 1 or 3 (RGB).

    Returns
    -------
    ndarray of shape (..., H, W, 1), dtype uint8
    """
    if images.shape[-1] == 1:
        return images
    height, width = images.shape[-3:-1]
    # OpenCV rounds as its single-picture conversion does when a batch is laid out as one tall picture.
    tall = np.ascontiguousarray(images).reshape(-1, width, 3) if width else images
    return cv2.cvtColor(tall, cv2.COLOR_RGB2GRAY).reshape(*images.shape[:-3], height, width, 1)


def to_rgb(images: np.ndarray) -> np.ndarray:
    """Return pictures as RGB; grey (..., H, W, 1) is repeated into three channels."""
    return images if images.shape[-1] == 3 else np.repeat(images, 3, axis=-1)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize one picture; area averaging when it shrinks, so that nothing aliases, else linear.

    Parameters
    ----------
    image : ndarray of shape (H, W, C), dtype uint8
    size : tuple of int
        The wanted (height, width) in pixels.

    Returns
    -------
    ndarray of shape (*size, C), dtype uint8
    """
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    shrinks = height < image.shape[0] or width < image.shape[1]
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return resized.reshape(height, width, image.shape[2])


def crop(image: np.ndarray, box: tuple[float, float, float, float], *, margin: float = 0.0) -> np.ndarray:
    """Cut a box out of a picture, clipped at the picture's edge.

    Parameters
    ----------
    image : ndarray of shape (H, W, C)
    box : tuple of float
        x, y, width, height in pixels, origin top left.
    margin : float
        How much to add on each side, as a fraction of the box's width and height.

    Returns
    -------
    ndarray of shape (h, w, C)
        A view; at least one pixel in each direction.

    Raises
    ------
    ValueError
        The box lies wholly outside the picture.
    """
    x, y, width, height = box
    left, right = x - margin * width, x + (1 + margin) * width
    top, bottom = y - margin * height, y + (1 + margin) * height
    x0, x1 = max(0, round(left)), min(image.shape[1], max(round(right), round(left) + 1))
    y0, y1 = max(0, round(top)), min(image.shape[0], max(round(bottom), round(top) + 1))
    if x0 >= x1 or y0 >= y1:
        raise ValueError(f"box {tuple(box)} lies outside a picture of {image.shape[1]} x {image.shape[0]} pixels")
    return image[y0:y1, x0:x1]


def fit_to_model(images: np.ndarray, *, image_size: tuple[int, int], channels: int) -> np.ndarray:
    """Bring pictures to the colour and size of a model's input; the one path for training and for prediction.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C), dtype uint8
        Grey or RGB, 0 to 255.
    image_size : tuple of int
        The model's (height, width) in pixels.
    channels : int
        1 for grey, 3 for RGB.

    Returns
    -------
    ndarray of shape (n, *image_size, channels), dtype uint8

    Raises
    ------
    ValueError
        `images` has another shape or dtype.
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


#: What `make_views` knows.
VIEWS = ("none", "flip", "ten_crop")

# Side of the crops in "ten_crop", as a fraction of the picture's: 44 of FER2013's 48 pixels.
_CROP = 11 / 12


def make_views(images: np.ndarray, views: str) -> list[np.ndarray]:
    """Return the views of pictures whose predictions are averaged: test-time augmentation.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C), dtype uint8
    views : {"none", "flip", "ten_crop"}
        The pictures alone; and their mirror images; or the four corners and the centre, 11/12 of the side, enlarged to
        the full size, and the mirror images of these five.

    Returns
    -------
    list of ndarray of shape (n, H, W, C), dtype uint8

    Raises
    ------
    ValueError
        `views` is unknown.

    References
    ----------
    A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", NeurIPS
    2012 (ten crops).
    """
    if views not in VIEWS:
        raise ValueError(f"views must be one of {', '.join(VIEWS)}, got '{views}'")
    upright = [images] if views != "ten_crop" else _five_crops(images)
    return upright if views == "none" else upright + [view[:, :, ::-1] for view in upright]


def _five_crops(images: np.ndarray) -> list[np.ndarray]:
    """Return the four corners and the centre, each enlarged to the pictures' size."""
    height, width = images.shape[1:3]
    h, w = round(height * _CROP), round(width * _CROP)
    corners = [(0, 0), (0, width - w), (height - h, 0), (height - h, width - w), ((height - h) // 2, (width - w) // 2)]
    if not len(images):
        return [images] * len(corners)
    return [
        np.stack([resize(image[top : top + h, left : left + w], (height, width)) for image in images])
        for top, left in corners
    ]
