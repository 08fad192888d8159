"""Decoding of image files into arrays."""

import contextlib
import importlib.util
import io
import logging
import os
import re
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import ExifTags, Image

from ferlib.core.color_depth import (
    apply_scale,
    decode_deep_colors,
    finite,
    has_deep_colors,
    over_white,
    scale_factor,
)
from ferlib.core.errors import ImageError
from ferlib.core.signatures import describe_content, is_heic

logger = logging.getLogger(__name__)

#: Images with more pixels are refused before they are decoded, which would take about 0.7 GB as RGB.
MAX_PIXELS = 100_000_000

# The formats that are tried, in this order: first those that Pillow loads at once, last those that it recognizes only
# by trying. Not among them: EPS and WMF, which start other programs or the printer drivers of Windows; IPTC, which may
# contain any other format; FITS, which takes minutes; MPEG, BUFR, GRIB and HDF5, which Pillow cannot decode.
_FORMATS: tuple[str, ...] = (
    *("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "AVIF", "JPEG2000", "BLP", "CUR", "DCX", "DDS", "DIB", "FLI"),
    *("FTEX", "GBR", "ICNS", "ICO", "MCIDAS", "MSP", "PCX", "PIXAR", "PSD", "QOI", "SGI", "SUN", "XBM", "XPM"),
    *("XVTHUMB", "IM", "IMT", "PCD", "SPIDER", "TGA"),
)

#: Suffixes of images when a folder is searched; the format is determined by the content.
IMAGE_SUFFIXES = frozenset(
    re.findall(
        r"\S+",
        ".apng .avif .avifs .blp .bmp .bw .cur .dcx .dds .dib .flc .fli .ftc .ftu .gbr .gif .heic .heif .hif "
        ".icb .icns .ico .im .j2c .j2k .jfif .jp2 .jpc .jpe .jpeg .jpf .jpg .jpx .mpo .msp .pbm .pcd .pcx .pfm "
        ".pgm .png .pnm .ppm .psd .pxr .qoi .ras .rgb .rgba .sgi .tga .tif .tiff .vda .vst .webp .xbm .xpm",
    )
)

# A truncated image is used if it has at least this part of its rows.
_NEARLY_ALL = 0.9

# The memory for decoding that `max_pixels` allows, in bytes per pixel, and what decoders need that keep several copies.
_ALLOWED_BYTES = 8
_PEAK_BYTES = {"AVIF": 12, "HEIF": 9, "JPEG2000": 20, "WEBP": 16}

# Pixels that are converted at once, so that the copies that a conversion makes are small.
_STRIP_PIXELS = 1_000_000

# The values of the EXIF orientation, and how the stored array (H, W, C) becomes upright.
_UPRIGHT = {
    2: lambda array: array[:, ::-1],
    3: lambda array: array[::-1, ::-1],
    4: lambda array: array[::-1],
    5: lambda array: array.swapaxes(0, 1),
    6: lambda array: array[::-1].swapaxes(0, 1),
    7: lambda array: array[::-1, ::-1].swapaxes(0, 1),
    8: lambda array: array[:, ::-1].swapaxes(0, 1),
}


def decode_image(data: bytes | BinaryIO, *, name: str = "image", max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode an image: upright, 8 bits, gray or RGB.

    The EXIF orientation is applied and transparency is replaced by white. Integers of more than 8 bits are scaled from
    the smallest of the ranges of 10, 12, 14, 16, 24, 31 or 32 bits that holds the largest value, floats from 0 to 1 or
    one of these ranges. Only the first frame of an animation and the first page of a document are decoded. An image
    that lacks up to a tenth of its rows at the end is decoded with a warning.

    Memory at the peak is 7 bytes per pixel for RGB. Some decoders keep more copies: HEIC takes 9 bytes, AVIF and
    progressive JPEG up to 12, animated WebP and colors of 10 to 14 bits up to 16, JPEG 2000 up to 20. Never more than 8
    bytes times `max_pixels` are used: where these formats would need more, JPEG and JPEG 2000 are decoded at half the
    resolution and enlarged, and the others are refused.

    Parameters
    ----------
    data : bytes or binary file
        The content of a file of any format that Pillow decodes itself. HEIC is read if pillow-heif is installed.
    name : str
        Identifies the image in an error.
    max_pixels : int
        Larger images are refused, and those whose decoder needs more memory than 8 bytes for each of so many pixels.

    Returns
    -------
    ndarray of shape (H, W, 1) or (H, W, 3), dtype uint8
        Gray, or RGB, 0 to 255.

    Raises
    ------
    ImageError
        The bytes are not an image, the image is truncated or damaged, or it has more than `max_pixels`.
    """
    stream = io.BytesIO(data) if isinstance(data, bytes) else data
    try:
        if not stream.seekable():  # a pipe
            stream = io.BytesIO(stream.read())
        start = stream.tell()
        array, orientation, missing = _decode(stream, name, max_pixels)
        if array is None:  # what Pillow decoded is freed by now
            stream.seek(start)
            array = decode_deep_colors(stream.read())
        if array is None:
            stream.seek(start)
            array, orientation, missing = _decode(stream, name, max_pixels, allow_deep=False)
            assert array is not None
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(name, _size_of(stream) or _counted_pixels(error), max_pixels) from None
    except (MemoryError, cv2.error):
        raise ImageError(f"{name}: the image does not fit into memory.") from None
    # Pillow's decoders raise many kinds of error on damaged files (OSError, SyntaxError, ValueError, struct.error).
    except Exception as error:
        raise ImageError(f"{name}: not a readable image ({_first_line(error, stream)}).") from None
    if missing:
        logger.warning("%s: the file is truncated; %.1f %% of the image is missing.", name, 100 * missing)
    return np.ascontiguousarray(_UPRIGHT[orientation](array)) if orientation in _UPRIGHT else array


def read_image(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read an image file; see `decode_image`, whose `ImageError` is also raised if the file cannot be read."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            return decode_image(file, name=str(path), max_pixels=max_pixels)
    except FileNotFoundError:
        raise ImageError(f"{path}: there is no such file.") from None
    # ValueError: a null character in the name.
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{path}: the file cannot be read ({reason}).") from None


def decode_pillow(image: Image.Image, *, name: str = "image") -> np.ndarray:
    """Convert a Pillow image as `decode_image` does; a file that Pillow cannot decode after all is an `ImageError`."""
    try:
        with ignore_warnings():
            image.load()
            array, orientation = _to_uint8(image), _orientation(image)
    except Exception as error:
        raise ImageError(f"{name}: not a readable image ({_first_line(error)}).") from None
    return np.ascontiguousarray(_UPRIGHT[orientation](array)) if orientation in _UPRIGHT else array


def _decode(
    stream: BinaryIO, name: str, max_pixels: int, *, allow_deep: bool = True
) -> tuple[np.ndarray | None, int, float]:
    """Return an image as stored, its EXIF orientation, and the fraction of its rows that is missing.

    The image is None if it has colors of 10 to 14 bits, of which Pillow keeps too few, and `allow_deep` is set.
    """
    start = stream.tell()
    head = stream.read(64)
    if not head:
        raise ImageError(f"{name}: the file is empty.")
    stream.seek(start)
    formats = _FORMATS
    if is_heic(head):
        if importlib.util.find_spec("pillow_heif") is None:
            raise ImageError(
                f"{name}: an HEIC image; install pillow-heif (pip install pillow-heif), or save it as a JPEG."
            )
        import pillow_heif

        pillow_heif.register_heif_opener()
        formats = ("HEIF",)
    # Pillow warns of large images, which have a limit here, and of wrong metadata.
    with ignore_warnings(), _raised_limit(max_pixels), Image.open(stream, formats=formats) as image:
        _check_size(image, name, max_pixels)
        if image.format == "TIFF":
            _silence_libtiff()
        if image.format == "WEBP" and not image.is_animated:  # type: ignore[attr-defined]
            stream.seek(start)
            if (array := _decode_webp(stream.read())) is not None:
                return array, _orientation(image), 0.0
        size, deep = image.size, allow_deep and has_deep_colors(image)
        _bound_memory(image, name, max_pixels)
        missing = 0.0
        try:
            image.load()
        except OSError as error:
            if "truncated" not in str(error) or (image.format == "JPEG" and image.size != size):
                raise
            if image.format == "JPEG":
                stream.seek(start)
                return _decode_cut_jpeg(stream.read())
            missing = _accept_cut(image)
        _check_size(image, name, max_pixels)
        n_colors = len(image.getbands()) - ("A" in image.getbands())
        if deep and not missing and np.max(image.getextrema()[:n_colors]) <= 64:
            _check_memory(image, name, max_pixels, need=16)  # OpenCV copies what it decodes
            return None, _orientation(image), missing
        array, orientation = _to_uint8(image), _orientation(image)
    if image.size == size:
        return array, orientation, missing
    del image  # before the memory for the enlarged one is needed
    return cv2.resize(array, size, interpolation=cv2.INTER_LINEAR).reshape(*size[::-1], -1), orientation, missing


def _check_size(image: Image.Image, name: str, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise _too_large(name, f"{image.width:,} x {image.height:,}", max_pixels)


def _bound_memory(image: Image.Image, name: str, max_pixels: int) -> None:
    """Decode an image at half its resolution, or raise, if its decoder needs more memory than `max_pixels` allows."""
    if image.format == "JPEG" and image.info.get("progressive"):
        need = 4 + 2 * len(image.getbands())  # all coefficients, before the first row is decoded
    else:
        need = _PEAK_BYTES.get(image.format or "", 0)
    try:
        _check_memory(image, name, max_pixels, need)
    except ImageError:
        if image.format == "JPEG2000":
            image.reduce = 1  # type: ignore[method-assign, assignment]
        elif image.format == "JPEG":
            image.draft(image.mode, (image.width // 2, image.height // 2))
        else:
            raise


def _check_memory(image: Image.Image, name: str, max_pixels: int, need: int) -> None:
    if image.width * image.height * need > _ALLOWED_BYTES * max_pixels:
        raise ImageError(
            f"{name}: {image.width:,} x {image.height:,} pixels of {image.format} need {need} bytes each, over the "
            f"limit of {_ALLOWED_BYTES} for each of {max_pixels:,} pixels, which --max-pixels (in Python max_pixels) "
            "raises."
        )


def _too_large(name: str, size: str, max_pixels: int) -> ImageError:
    return ImageError(
        f"{name}: {size} pixels is over the limit of {max_pixels:,} pixels, which --max-pixels (in Python max_pixels) "
        "raises."
    )


def _size_of(stream: BinaryIO) -> str:
    """Return the size of an image that Pillow refuses to open, or ""."""
    formats = [name for name in _FORMATS if name != "WEBP"]  # Pillow's WebP decoder needs memory before it is asked to
    with contextlib.suppress(Exception), ignore_warnings(), _raised_limit(2**40):
        stream.seek(0)
        with Image.open(stream, formats=formats) as image:
            return f"{image.width:,} x {image.height:,}"
    return ""


def _counted_pixels(error: Exception) -> str:
    """Return the number of pixels in Pillow's message about too large an image."""
    found = re.search(r"\((\d+) pixels\)", str(error))
    return f"{int(found[1]):,}" if found else "the number of"


def _first_line(error: BaseException, stream: BinaryIO | None = None) -> str:
    """Return the first line of an error, without the memory addresses in Pillow's messages."""
    lines = str(error).splitlines()
    text = lines[0] if lines else type(error).__name__
    if "cannot identify image file" not in text:
        return text[:120]
    content = ""
    if stream is not None and stream.seekable():
        stream.seek(0)
        content = describe_content(stream.read(512))
    return f"unknown image format{content and f': {content}'}"


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if the metadata are damaged."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    # The metadata are the least important part of a file, and raise as many kinds of errors as the others.
    except Exception:
        return 1


def _to_uint8(image: Image.Image) -> np.ndarray:
    """Return a loaded Pillow image as uint8 (H, W, 1) or (H, W, 3); a strip at a time, to save memory."""
    width, height = image.size
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        largest = max(finite(np.asarray(image.crop(box))).max(initial=0) for box in _strips(image))
        scale, array = scale_factor(largest, is_float=image.mode == "F"), np.empty((height, width, 1), np.uint8)
        for box in _strips(image):
            array[box[1] : box[3], :, 0] = apply_scale(np.asarray(image.crop(box)), scale)
        return array
    clear = image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info
    mode = "L" if image.mode in ("LA", "La") or (image.mode in ("1", "L") and not clear) else "RGB"
    array = np.empty((height, width, len(mode)), np.uint8)
    for box in _strips(image):
        strip = image.crop(box)
        if clear:
            strip = strip.convert("RGBA")
            strip = Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip)
        array[box[1] : box[3]] = np.asarray(strip.convert(mode)).reshape(-1, width, len(mode))
    return array


def _strips(image: Image.Image) -> list[tuple[int, int, int, int]]:
    """Return boxes of whole rows, x0, y0, x1, y1, that cover an image."""
    width, height = image.size
    rows = max(1, _STRIP_PIXELS // max(1, width))
    return [(0, top, width, min(top + rows, height)) for top in range(0, height, rows)]


def _decode_webp(data: bytes) -> np.ndarray | None:
    """Return a still WebP image as uint8 (H, W, 3), with 6 bytes per pixel instead of Pillow's 16, or None."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint8 or pixels.ndim != 3:
        return None
    if pixels.shape[-1] == 4:
        return over_white(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA, pixels))
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, pixels)


def _decode_cut_jpeg(data: bytes) -> tuple[np.ndarray, int, float]:
    """Return a truncated JPEG as `_decode` does; an OSError if too much is missing."""
    # With an end-of-image marker libjpeg fills what is missing with gray.
    with Image.open(io.BytesIO(data + b"\xff\xd9"), formats=("JPEG",)) as image:
        image.load()
        array, orientation = _to_uint8(image), _orientation(image)
        is_progressive = bool(image.info.get("progressive"))
    if is_progressive:
        missing = 0.0 if _has_all_scans(data) else 1.0
    else:
        gray = (array == 128).all(axis=(1, 2))
        missing = float(np.argmin(gray[::-1])) / len(gray) if not gray.all() else 1.0
    if missing > 1 - _NEARLY_ALL:
        raise OSError("image file is truncated")
    return array, orientation, max(missing, 1 / len(array))


def _has_all_scans(data: bytes) -> bool:
    """Return whether a progressive JPEG has at least the start of every scan of its luma."""
    # The bits of each coefficient that the scans so far have left out (ITU-T T.81, B.2.3).
    left_out = [16] * 64
    for found in re.finditer(rb"\xff\xda..(.)", data, re.DOTALL):
        n_components = found[1][0]
        header = data[found.start(1) : found.end() + 2 * n_components + 3]
        if len(header) < 2 * n_components + 4:
            break
        first, last, bits = header[-3:]
        # The first component is the luma; scans of the others cost little detail.
        if header[1] == 1 or n_components > 1:
            left_out[first : last + 1] = [bits & 15] * (min(last, 63) + 1 - first)
    return not any(left_out)


def _accept_cut(image: Image.Image) -> float:
    """Let Pillow take a truncated image as it is; return the fraction of missing rows, an OSError if it is large."""
    tiles = getattr(image, "tile", [])
    image.tile = []  # type: ignore[attr-defined]
    # Pillow leaves what is missing at zero.
    empty = np.concatenate([_are_zero(image.crop(box)) for box in _strips(image)])
    interlaced = image.info.get("interlace") or any(tile[0] == "gif" and tile[3][1] for tile in tiles)
    if empty.all():
        missing = 1.0
    elif interlaced:
        missing = float(empty.mean())
    else:
        # BMP and TGA are stored from the last row to the first.
        upward = any(tile[0] in ("raw", "tga_rle") and tile[3][-1] == -1 for tile in tiles)
        missing = float(np.argmin(empty if upward else empty[::-1])) / len(empty)
    if missing > 1 - _NEARLY_ALL:
        raise OSError("image file is truncated")
    return max(missing, 1 / image.height)


def _are_zero(image: Image.Image) -> np.ndarray:
    """Return whether each row of an image is zero, (H,)."""
    return (np.asarray(image).reshape(image.height, -1) == 0).all(axis=1)


def _silence_libtiff() -> None:
    """Stop libtiff from writing to standard error what it also reports as errors."""
    import ctypes

    # Absent where Pillow contains libtiff: its messages are then written.
    with contextlib.suppress(Exception):
        library = ctypes.CDLL(Image.core.__file__)
        library.TIFFSetErrorHandler.argtypes = [ctypes.c_void_p]
        library.TIFFSetErrorHandler(None)


_pillow_limit = threading.Lock()


@contextlib.contextmanager
def _raised_limit(max_pixels: int) -> Iterator[None]:
    """Raise Pillow's own limit of pixels, which belongs to the whole process, while a large image may be decoded."""
    # Pillow refuses images of over twice its limit.
    if Image.MAX_IMAGE_PIXELS is None or max_pixels <= 2 * Image.MAX_IMAGE_PIXELS:
        yield
        return
    with _pillow_limit:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = max(before or 0, max_pixels)
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


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
        """Ignore warnings in a block."""
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
