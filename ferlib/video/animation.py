"""Animated images, which Pillow reads, as frames with times."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from ferlib.core.decoding import ignore_warnings
from ferlib.core.errors import VideoError
from ferlib.video.kinds import ANIMATION_FORMATS


@dataclass
class Animation:
    """An open animation: the index, the time in seconds and the RGB image of each frame, and what `Video` needs."""

    size: tuple[int, int]
    rate: float
    n_frames: int
    frames: Iterator[tuple[int, float, np.ndarray]] = field(default=iter(()), repr=False)
    is_cut_off: bool = False


def open_animation(path: Path, *, max_pixels: int) -> Animation:
    """Open an animated GIF, WebP, PNG or AVIF file; what is not one is a `VideoError`."""
    try:
        with ignore_warnings():
            image = Image.open(path, formats=ANIMATION_FORMATS)
            n_frames = getattr(image, "n_frames", 1)
    # Pillow's decoders raise many kinds of errors for damaged files.
    except Exception as error:
        raise VideoError(f"{path}: not a readable animation ({type(error).__name__}).") from None
    if image.width * image.height > max_pixels:
        image.close()
        raise VideoError(f"{path}: {image.width:,} x {image.height:,} pixels is over the limit of {max_pixels:,}.")
    first = image.info.get("duration", 0) / 1000
    animation = Animation((image.height, image.width), 1 / first if first else 10.0, n_frames)
    animation.frames = _read_frames(image, path, animation)
    return animation


def _read_frames(image: Image.Image, path: Path, animation: Animation) -> Iterator[tuple[int, float, np.ndarray]]:
    """Yield the frames, on white where they are transparent."""
    time = 0.0
    with image:
        frames = ImageSequence.Iterator(image)
        for index in itertools.count():
            try:
                with ignore_warnings():
                    frame = next(frames)
                    upright = Image.alpha_composite(Image.new("RGBA", frame.size, "white"), frame.convert("RGBA"))
            except StopIteration:
                return
            except Exception as error:
                if index == 0:
                    raise VideoError(f"{path}: not one frame can be read ({type(error).__name__}).") from None
                animation.is_cut_off = True
                return
            yield index, time, np.array(upright.convert("RGB"))
            # Like browsers, take a duration of 0 for a tenth of a second.
            time += (frame.info.get("duration") or 100) / 1000
