"""Draw what was recognized onto the image: boxes and labels that stay legible at any size."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ferlib.core.emotions import EMOTION_COLORS
from ferlib.core.errors import FerlibError
from ferlib.core.files import atomic_write
from ferlib.core.images import to_rgb
from ferlib.inference.recognizer import UNCERTAIN, FaceEmotion

#: Suffixes of the image formats that annotated images are written in.
WRITABLE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

_COLORS = {**EMOTION_COLORS, UNCERTAIN: "#FFFFFF"}

# Font sizes in pixels: the smallest that can be read, and the share of the image's shorter side that looks right.
_SMALLEST_FONT, _COMFORTABLE_FONT, _FONT_SHARE = 8, 13, 1 / 26

# x0, y0, x1, y1 in pixels.
_Rectangle = tuple[float, float, float, float]


def annotate(image: np.ndarray, faces: Sequence[FaceEmotion]) -> np.ndarray:
    """Draw a box and a label for each face, in the color of its emotion.

    Lines and letters grow with the image; a person's number stands before the emotion. A label stands above its box,
    or wherever it hides the fewest faces and other labels, always inside the image; where even the emotion's name is
    wider than the image there is only the box.

    Parameters
    ----------
    image : ndarray of shape (H, W, 1) or (H, W, 3), dtype uint8
        Gray or RGB; it is not changed.
    faces : sequence of FaceEmotion

    Returns
    -------
    ndarray of shape (H, W, 3), dtype uint8
        RGB, as large as `image`.
    """
    canvas = Image.fromarray(np.array(to_rgb(image)))
    draw = ImageDraw.Draw(canvas)
    width = _line_width(canvas.size)
    boxes = [_rectangle(found) for found in faces]
    for found, box in zip(faces, boxes, strict=True):
        _draw_box(draw, box, _COLORS[found.emotion], width)
    taken: list[_Rectangle] = []
    for found, box in zip(faces, boxes, strict=True):
        label = _fit_label(found, canvas.size)
        if label is None:
            continue
        text, font = label
        place = _place_label(_label_size(text, font), box, boxes, taken, canvas.size, width)
        taken.append(place)
        _draw_label(draw, place, text, font, _COLORS[found.emotion])
    return np.asarray(canvas)


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write an image whole or not at all, in the format of the path's suffix.

    Parameters
    ----------
    path : str or Path
        Ends in one of `WRITABLE_SUFFIXES`.
    image : ndarray of shape (H, W, 3), dtype uint8
        RGB.

    Raises
    ------
    FerlibError
        The folder cannot be written to, or the format cannot hold an image of this size.
    """
    path = Path(path)
    # What other formats do not know, Pillow ignores; JPEG's full color resolution keeps thin colored lines clean.
    options = {"quality": 95, "subsampling": 0} if path.suffix.lower() in (".jpg", ".jpeg") else {}
    with atomic_write(path) as temporary:
        try:
            Image.fromarray(image).save(temporary, **options)
        except ValueError as error:
            raise FerlibError(f"{path} cannot be written ({error}).") from error


def _line_width(size: tuple[int, int]) -> int:
    """Return the boxes' line width for an image of (width, height)."""
    return max(1, round(min(size) / 180))


def _rectangle(found: FaceEmotion) -> _Rectangle:
    """Return a face's box as corners, the far ones being the last pixels inside."""
    x, y, width, height = found.face.box
    return x, y, x + width - 1, y + height - 1


def _draw_box(draw: ImageDraw.ImageDraw, box: _Rectangle, color: str, width: int) -> None:
    """Draw a frame with a dark edge, which keeps it visible on any background."""
    x0, y0, x1, y1 = box
    edge = max(1, width // 3)
    draw.rectangle((x0 - edge, y0 - edge, x1 + edge, y1 + edge), outline="black", width=width + 2 * edge)
    draw.rectangle(box, outline=color, width=width)


def _fit_label(found: FaceEmotion, size: tuple[int, int]) -> tuple[str, ImageFont.FreeTypeFont] | None:
    """Return the longest text in the largest font that fits an image of (width, height)."""
    wanted = max(_COMFORTABLE_FONT, round(min(size) * _FONT_SHARE))
    who = "" if found.person is None else f"{found.person}: "
    share = "" if found.emotion == UNCERTAIN else f" {found.probability:.0%}"
    for text in dict.fromkeys((f"{who}{found.emotion}{share}", f"{who}{found.emotion}", found.emotion)):
        for font_size in range(wanted, _SMALLEST_FONT - 1, -1):
            font = ImageFont.load_default(font_size)
            width, height = _label_size(text, font)
            if width <= size[0] and height <= size[1] / 3:
                return text, font
    return None


def _padding(font: ImageFont.FreeTypeFont) -> int:
    """Return the space around a label's letters, in pixels."""
    return max(1, round(font.size / 5))


def _label_size(text: str, font: ImageFont.FreeTypeFont) -> tuple[int, int]:
    """Return a label's (width, height) with its padding; every label of one font is equally high."""
    ascent, descent = font.getmetrics()
    return round(font.getlength(text)) + 2 * _padding(font), ascent + descent + _padding(font)


def _place_label(
    label: tuple[int, int],
    box: _Rectangle,
    boxes: Sequence[_Rectangle],
    taken: Sequence[_Rectangle],
    size: tuple[int, int],
    line: int,
) -> _Rectangle:
    """Choose where a label of (width, height) hides least: above, below, beside, or inside its box."""
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
    # Another label hidden is worse than a piece of a face; of equals the earlier corner wins.
    return min(places, key=lambda place: 4 * _covered(place, taken) + _covered(place, boxes))


def _covered(place: _Rectangle, others: Sequence[_Rectangle]) -> float:
    """Return the area, in pixels, that a place shares with others."""
    return sum(
        max(0, min(place[2], x1) - max(place[0], x0) + 1) * max(0, min(place[3], y1) - max(place[1], y0) + 1)
        for x0, y0, x1, y1 in others
    )


def _draw_label(
    draw: ImageDraw.ImageDraw, place: _Rectangle, text: str, font: ImageFont.FreeTypeFont, color: str
) -> None:
    """Draw a filled label with letters in black or white, whichever can be read on the color."""
    draw.rectangle(place, fill=color)
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    bright = 0.299 * red + 0.587 * green + 0.114 * blue > 130
    middle = (place[1] + place[3]) / 2
    draw.text((place[0] + _padding(font), middle), text, font=font, fill="black" if bright else "white", anchor="lm")
