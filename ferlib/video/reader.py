"""Read videos, animations and cameras as frames with times."""

import contextlib
import itertools
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageSequence

from ferlib.core.backend import suppress_native_stderr
from ferlib.core.errors import VideoError
from ferlib.core.images import MAX_PIXELS

#: Suffixes that are read as videos in a folder, in addition to animated GIF and WebP images.
VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"})

# Pillow reads these; the formats are named because it would otherwise try all it knows, and EPS starts Ghostscript.
_ANIMATION_SUFFIXES = frozenset({".gif", ".webp"})
_ANIMATION_FORMATS = ("GIF", "WEBP")

# Frames per second of cameras, and of videos that state no plausible rate.
_DEFAULT_RATE = 25.0

# Containers estimate their number of frames from the duration. A video with fewer than this part of them is truncated.
_COMPLETE = 0.9


@dataclass(frozen=True)
class Frame:
    """One frame of a video.

    Attributes
    ----------
    index : int, from 0
    time : float, seconds since the first frame
    image : ndarray of shape (H, W, 3), dtype uint8, RGB, upright
    """

    index: int
    time: float
    image: np.ndarray = field(repr=False)


@dataclass
class Video:
    """An open video or camera, whose frames can be iterated over once; made by `open_video` and `open_camera`.

    Attributes
    ----------
    name : str
    size : tuple of int
        (height, width) in pixels, as the file states it; the sides may be swapped if the video is rotated.
    rate : float
        Frames per second, on average if they vary.
    n_frames : int or None
        Number of frames that the file states; None for a camera and for files that do not state it.
    n_read : int
        Number of frames read so far.
    truncated : bool
        After the last frame: whether the file had clearly fewer frames than it states.
    """

    name: str
    frames: Iterator[Frame] = field(repr=False)
    size: tuple[int, int]
    rate: float
    n_frames: int | None
    n_read: int = 0
    truncated: bool = False

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames."""
        for frame in self.frames:
            self.n_read += 1
            yield frame
        self.truncated = self.n_frames is not None and self.n_read < _COMPLETE * self.n_frames


def is_video(path: str | Path) -> bool:
    """Return whether a file is read as a video: by its suffix, or because a GIF or WebP file has several frames."""
    suffix = Path(path).suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return True
    if suffix not in _ANIMATION_SUFFIXES:
        return False
    try:
        with Image.open(path, formats=_ANIMATION_FORMATS) as image:
            return getattr(image, "n_frames", 1) > 1
    # Pillow raises many kinds of errors for damaged files; reading the file as an image reports them.
    except Exception:
        return False


@contextlib.contextmanager
def open_video(path: str | Path) -> Iterator[Video]:
    """Open a video file; frames are rotated as the file's metadata states. What is not a video is a `VideoError`."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(1)
    except FileNotFoundError:
        raise VideoError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise VideoError(f"{path}: the file cannot be read ({error.strerror}).") from None
    if not start:
        raise VideoError(f"{path}: the file is empty.")
    if path.suffix.lower() in _ANIMATION_SUFFIXES:
        yield _open_animation(path)
        return
    with _capture(str(path), cv2.CAP_FFMPEG) as capture:
        if capture is None:
            raise VideoError(f"{path}: not a readable video.")
        rate = capture.get(cv2.CAP_PROP_FPS)
        rate = rate if 0.1 <= rate <= 1000 else _DEFAULT_RATE
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        frames = _read_frames(capture, str(path), _timestamps(capture, rate).__next__)
        yield Video(str(path), frames, _size(capture), rate, count if count > 0 else None)


@contextlib.contextmanager
def open_camera(source: int | str) -> Iterator[Video]:
    """Open a camera by its number, or by a device or address that OpenCV accepts; a missing one is a `VideoError`."""
    name = f"camera {source}"
    with _capture(source, cv2.CAP_ANY) as capture:
        if capture is None:
            raise VideoError(f"{name} cannot be opened; is it connected, and not used by another program?")
        frames = _read_frames(capture, name, time.monotonic)
        yield Video(name, frames, _size(capture), _DEFAULT_RATE, None)


@contextlib.contextmanager
def _capture(source: int | str, backend: int) -> Iterator[cv2.VideoCapture | None]:
    """Yield OpenCV's reader, or None if it cannot open the source."""
    silence_ffmpeg()
    with suppress_native_stderr():
        capture = cv2.VideoCapture(source, backend)
    try:
        yield capture if capture.isOpened() else None
    finally:
        capture.release()


def silence_ffmpeg() -> None:
    """Hide FFmpeg's messages about damaged frames; OpenCV reads this variable with the first video."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


def _size(capture: cv2.VideoCapture) -> tuple[int, int]:
    """Return the (height, width) of the frames."""
    return int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))


def _read_frames(capture: cv2.VideoCapture, name: str, clock: Callable[[], float]) -> Iterator[Frame]:
    """Yield the frames of a file or camera; `clock` returns the time of the frame that was just read."""
    first = 0.0
    for index in itertools.count():
        ok, image = capture.read()
        if not ok and index == 0:
            raise VideoError(f"{name}: not one frame can be read.")
        if not ok:
            return
        now = clock()
        first = first if index else now
        yield Frame(index, now - first, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def _timestamps(capture: cv2.VideoCapture, rate: float) -> Iterator[float]:
    """Yield the time of the frame that was just read, in seconds."""
    timestamp = -math.inf
    while True:
        position = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        # Some files have no timestamps, and those of damaged files may decrease.
        timestamp = position if position > timestamp else timestamp + 1 / rate
        yield timestamp


def _open_animation(path: Path) -> Video:
    """Return an animated GIF or WebP file as a video."""
    try:
        image = Image.open(path, formats=_ANIMATION_FORMATS)
        n_frames = getattr(image, "n_frames", 1)
    # Pillow's decoders raise many kinds of errors for damaged files.
    except Exception as error:
        raise VideoError(f"{path}: not a readable animation ({type(error).__name__}).") from None
    if image.width * image.height > MAX_PIXELS:
        raise VideoError(f"{path}: {image.width} x {image.height} pixels is over the limit of {MAX_PIXELS:,}.")
    first = image.info.get("duration", 0) / 1000
    frames = _read_animation(image, path)
    return Video(str(path), frames, (image.height, image.width), 1 / first if first else 10.0, n_frames)


def _read_animation(image: Image.Image, path: Path) -> Iterator[Frame]:
    """Yield the frames of an animation, on white where they are transparent."""
    timestamp = 0.0
    with image:
        frames = ImageSequence.Iterator(image)
        for index in itertools.count():
            try:
                frame = next(frames)
                upright = Image.alpha_composite(Image.new("RGBA", frame.size, "white"), frame.convert("RGBA"))
            except StopIteration:
                return
            except Exception as error:
                if index == 0:
                    raise VideoError(f"{path}: not one frame can be read ({type(error).__name__}).") from None
                return
            yield Frame(index, timestamp, np.array(upright.convert("RGB")))
            # Like browsers, take a duration of 0 for a tenth of a second.
            timestamp += (frame.info.get("duration") or 100) / 1000
