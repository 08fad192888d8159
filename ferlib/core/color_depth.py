"""Conversion of numbers of any depth to 8 bits, a few rows at a time to save memory."""

import re
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image

# The usual largest values of integers: 8, 10, 12, 14, 16, 24, 31 and 32 bits.
_TOPS = (255, 1023, 4095, 16383, 65535, 2**24 - 1, 2**31 - 1, 2**32 - 1)

# Numbers that are converted at once, so that the copies that a conversion makes are small.
_STRIP_VALUES = 1_000_000


def scale_to_uint8(values: np.ndarray) -> np.ndarray:
    """Scale numbers of any type from the smallest usual range that holds the largest of them, 0 to 1 only for floats.

    NaN, infinity and negative numbers become 0.
    """
    if values.dtype == bool:
        return values * np.uint8(255)
    if values.dtype == np.uint8 or not values.ndim:
        return values.astype(np.uint8, copy=False)
    largest = max((finite(values[rows]).max(initial=0) for rows in strips(values)), default=0)
    scale = scale_factor(largest, is_float=values.dtype.kind == "f")
    scaled = np.empty(values.shape, np.uint8)
    for rows in strips(values):
        scaled[rows] = apply_scale(values[rows], scale)
    return scaled


def strips(array: np.ndarray) -> Iterator[slice]:
    """Yield slices of whole rows that cover an array (H, ...)."""
    rows = max(1, _STRIP_VALUES * len(array) // max(1, array.size))
    return (slice(start, start + rows) for start in range(0, len(array), rows))


def finite(values: np.ndarray) -> np.ndarray:
    """Return numbers with 0 for NaN and infinity."""
    return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0) if values.dtype.kind == "f" else values


def scale_factor(largest: float, *, is_float: bool) -> float:
    """Return the factor from the smallest usual range that holds a number to 8 bits."""
    if is_float and largest <= 1:
        return 255.0
    return 255.0 / next((top for top in _TOPS if largest <= top), float(largest))


def apply_scale(values: np.ndarray, scale: float) -> np.ndarray:
    """Return numbers times a factor, as floats from 0 to 255 without fractions."""
    return np.clip(finite(values) * scale, 0, 255).round()


def has_deep_colors(image: Image.Image) -> bool:
    """Return whether an image that was not loaded yet has colors of 16 bits, of which Pillow keeps the upper eight."""
    tiles = getattr(image, "tile", [])
    return image.mode in ("RGB", "RGBA", "LA") and any(re.search(r";16|\b65535\b", str(tile[3])) for tile in tiles)


def decode_deep_colors(data: bytes) -> np.ndarray | None:
    """Return colors of 10 to 14 bits in a 16-bit file as uint8 (H, W, 3), or None if OpenCV cannot read the file."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        return None
    scale = scale_factor(max(pixels[rows, :, :3].max(initial=0) for rows in strips(pixels)), is_float=False)
    height, width, channels = pixels.shape
    # Each strip becomes smaller and is written over an earlier one: a second array would need more memory.
    memory = pixels.reshape(-1).view(np.uint8)
    end = 0
    for rows in strips(pixels):
        strip = pixels[rows]
        colors = apply_scale(strip[..., 2::-1], scale).astype(np.uint8)
        if channels == 4:
            colors = over_white(np.concatenate([colors, (strip[..., 3:] // 256).astype(np.uint8)], axis=-1))
        memory[end : end + colors.size] = colors.reshape(-1)
        end += colors.size
    return memory[:end].reshape(height, width, 3)


def over_white(pixels: np.ndarray) -> np.ndarray:
    """Return RGBA (H, W, 4), uint8, as RGB (H, W, 3) on white."""
    colors = np.empty((*pixels.shape[:2], 3), np.uint8)
    for rows in strips(pixels):
        part = pixels[rows].astype(np.uint16)
        alpha = part[..., 3:]
        colors[rows] = (part[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return colors
