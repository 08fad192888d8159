"""Draw boxes and labels onto images, legible at any image size."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from ferlib.core.emotions import class_colors
from ferlib.core.errors import FerlibError
from ferlib.core.files import atomic_write
from ferlib.core.images import to_rgb
from ferlib.inference.results import UNCERTAIN, FaceEmotion

#: Suffixes of image formats that can be written.
WRITABLE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

_UNCERTAIN_COLOR = "#FFFFFF"

# Font sizes in pixels: smallest legible, smallest preferred, and preferred as a fraction of the image's shorter side.
_MIN_FONT, _PREFERRED_FONT, _FONT_FRACTION = 8, 13, 1 / 26

# What Pillow returns for its own font at a size.
_Font = ImageFont.FreeTypeFont

# x0, y0, x1, y1 in pixels.
_Rectangle = tuple[float, float, float, float]


def annotate(image: np.ndarray, faces: Sequence[FaceEmotion], *, in_place: bool = False) -> np.ndarray:
    """Draw a box and a label for each face, in the color of its emotion.

    Line width and font size grow with the image. The label starts with the number of the face where there are several,
    as in the column ``face`` of the CSV: its track ID in a video, else its place from left to right. A label is placed
    above its box, or wherever it covers the least of faces and other labels, always inside the image. If the image is
    narrower than the emotion's name, there is no label.

    Parameters
    ----------
    image : ndarray of shape (H, W, 1) or (H, W, 3), dtype uint8
        Gray or RGB; not modified unless `in_place` is true.
    faces : sequence of FaceEmotion
    in_place : bool
        Draw onto an RGB image itself, which saves the memory of a copy.

    Returns
    -------
    ndarray of shape (H, W, 3), dtype uint8, RGB
    """
    canvas = to_rgb(image)
    if canvas is image and not (in_place and image.flags.writeable):
        canvas = canvas.copy()
    size = (canvas.shape[1], canvas.shape[0])
    width = max(1, round(min(size) / 180))
    boxes = [_rectangle(found) for found in faces]
    for found, box in zip(faces, boxes, strict=True):
        _draw_box(canvas, box, _color(found), width)
    labels: list[_Rectangle] = []
    for number, (found, box) in enumerate(zip(faces, boxes, strict=True), start=1):
        if found.track_id is not None:
            label = _fit_label(found, size, f"{found.track_id}: ")
        else:
            label = _fit_label(found, size, f"{number}: " if len(faces) > 1 else "")
        if label is None:
            continue
        text, font = label
        label_box = _place_label(_label_size(text, font), box, boxes, labels, size, width)
        labels.append(label_box)
        _draw_label(canvas, label_box, text, font, _color(found))
    return canvas


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write an RGB image (H, W, 3), uint8, atomically in the format of the path's suffix, one of `WRITABLE_SUFFIXES`.

    Raises
    ------
    FerlibError
        The folder cannot be written to, or the format cannot hold an image of this size.
    """
    path = Path(path)
    # Full color resolution keeps thin colored lines sharp in a JPEG.
    options: dict[str, Any] = {"quality": 95, "subsampling": 0} if path.suffix.lower() in (".jpg", ".jpeg") else {}
    with atomic_write(path) as temporary:
        try:
            Image.fromarray(image).save(temporary, **options)
        except ValueError as error:
            raise FerlibError(f"{path} cannot be written ({error}).") from error


def _rectangle(found: FaceEmotion) -> _Rectangle:
    """Return a face's box as x0, y0, x1, y1, the last two being the last pixels inside."""
    x, y, width, height = found.face.box
    return x, y, x + width - 1, y + height - 1


def _draw_box(canvas: np.ndarray, box: _Rectangle, color: str, width: int) -> None:
    """Draw a box with a dark outline, visible on any background."""
    edge = max(1, width // 3)
    outer = (box[0] - edge, box[1] - edge, box[2] + edge, box[3] + edge)
    for (x0, y0, x1, y1), line, value in ((outer, width + 2 * edge, "black"), (box, width, color)):
        sides = ((x0, y0, x1, y0 + line - 1), (x0, y1 - line + 1, x1, y1))
        for left, top, right, bottom in (*sides, (x0, y0, x0 + line - 1, y1), (x1 - line + 1, y0, x1, y1)):
            rows, columns = slice(max(0, int(top)), int(bottom) + 1), slice(max(0, int(left)), int(right) + 1)
            canvas[rows, columns] = ImageColor.getrgb(value)


def _color(found: FaceEmotion) -> str:
    """Return the color of a face's emotion."""
    return class_colors(found.probabilities).get(found.emotion, _UNCERTAIN_COLOR)


def _fit_label(found: FaceEmotion, size: tuple[int, int], number: str) -> tuple[str, _Font] | None:
    """Return the longest label in the largest font that fits an image of (width, height), or None."""
    preferred = max(_PREFERRED_FONT, round(min(size) * _FONT_FRACTION))
    probability = "" if found.emotion == UNCERTAIN else f" {found.probability:.0%}"
    for text in dict.fromkeys((f"{number}{found.emotion}{probability}", f"{number}{found.emotion}", found.emotion)):
        for font_size in range(preferred, _MIN_FONT - 1, -1):
            font = cast(_Font, ImageFont.load_default(font_size))
            width, height = _label_size(text, font)
            if width <= size[0] and height <= size[1] / 3:
                return text, font
    return None


def _padding(font: _Font) -> int:
    """Return the space around a label's text, in pixels."""
    return max(1, round(font.size / 5))


def _label_size(text: str, font: _Font) -> tuple[int, int]:
    """Return a label's (width, height) with padding; all labels of a font have the same height."""
    ascent, descent = font.getmetrics()
    return round(font.getlength(text)) + 2 * _padding(font), ascent + descent + _padding(font)


def _place_label(
    label: tuple[int, int],
    box: _Rectangle,
    boxes: Sequence[_Rectangle],
    labels: Sequence[_Rectangle],
    size: tuple[int, int],
    line: int,
) -> _Rectangle:
    """Return where a label of (width, height) covers least: above, below, next to or inside its box."""
    width, height = label
    x0, y0, x1, y1 = box
    gap = line + 1
    corners = [
        (x0 - line, y0 - height - gap),
        (x1 - width + line, y0 - height - gap),
        (x0 - line, y1 + gap),
        (x1 - width + line, y1 + gap),
        (x1 + gap, y0),
        (x0 - width - gap, y0),
        (x0, y1 - height),
        (x0, y0),
    ]
    places = []
    for x, y in corners:
        left, top = min(max(x, 0), size[0] - width), min(max(y, 0), size[1] - height)
        places.append((left, top, left + width - 1, top + height - 1))
    # Covering a label is worse than covering a face; earlier corners win ties.
    return min(places, key=lambda place: 4 * _covered_area(place, labels) + _covered_area(place, boxes))


def _covered_area(place: _Rectangle, others: Sequence[_Rectangle]) -> float:
    """Return the area, in pixels, that a rectangle shares with others."""
    return sum(
        max(0, min(place[2], x1) - max(place[0], x0) + 1) * max(0, min(place[3], y1) - max(place[1], y0) + 1)
        for x0, y0, x1, y1 in others
    )


def _draw_label(canvas: np.ndarray, place: _Rectangle, text: str, font: _Font, color: str) -> None:
    """Draw a filled label with black or white text, whichever is legible on the color."""
    left, top, right, bottom = map(int, place)
    label = Image.new("RGB", (right - left + 1, bottom - top + 1), color)
    red, green, blue = ImageColor.getrgb(color)[:3]
    bright = 0.299 * red + 0.587 * green + 0.114 * blue > 130
    position = (_padding(font), (bottom - top) / 2)
    ImageDraw.Draw(label).text(position, text, font=font, fill="black" if bright else "white", anchor="lm")
    canvas[top : bottom + 1, left : right + 1] = np.asarray(label)
