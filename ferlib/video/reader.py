"""Videos and cameras as frames with their times, and annotated frames as a video file."""

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageSequence

from ferlib.core.backend import suppress_native_stderr
from ferlib.core.errors import VideoError
from ferlib.core.files import atomic_write
from ferlib.core.images import MAX_PIXELS, resize

logger = logging.getLogger(__name__)

#: Suffixes that count as videos when a folder is searched, beside animated GIF and WebP images.
VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"})

#: Suffixes that annotated videos are written with, and the code of the format in which OpenCV's wheels write them.
WRITABLE_VIDEOS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}

_ANIMATED_IMAGES = frozenset({".gif", ".webp"})

# Frames a second of a video whose file does not say, and of what a camera's frames are written as.
_USUAL_RATE = 25.0

# Containers count their frames by guessing from the duration; what is shorter than this part of it was cut off.
_COMPLETE = 0.9


@dataclass(frozen=True)
class Frame:
    """One image of a video.

    Attributes
    ----------
    index : int
        From 0.
    time : float
        Seconds from the first frame.
    image : ndarray of shape (H, W, 3), dtype uint8
        RGB, upright.
    """

    index: int
    time: float
    image: np.ndarray = field(repr=False)


class Video:
    """An open video or camera: iterate over its frames, once. Made by `open_video` and `open_camera`.

    Attributes
    ----------
    name : str
        What to call it in a message.
    rate : float
        Frames a second, on average where they vary.
    n_frames : int or None
        How many frames it is said to have; None for a camera and where the file does not tell.
    cut_short : bool
        After the last frame: whether the file ended long before it said it would.
    """

    def __init__(self, name: str, frames: Iterator[Frame], *, rate: float, n_frames: int | None) -> None:
        self.name = name
        self.rate = rate
        self.n_frames = n_frames
        self.cut_short = False
        self._frames = frames
        self._n_read = 0

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames."""
        for frame in self._frames:
            self._n_read += 1
            yield frame
        self.cut_short = self.n_frames is not None and self._n_read < _COMPLETE * self.n_frames

    @property
    def n_read(self) -> int:
        """How many frames were read."""
        return self._n_read


def is_video(path: str | Path) -> bool:
    """Return whether a file is to be read as a video: by its suffix, or as a GIF or WebP of several frames."""
    suffix = Path(path).suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return True
    if suffix not in _ANIMATED_IMAGES:
        return False
    try:
        with Image.open(path) as image:
            return getattr(image, "n_frames", 1) > 1
    # Pillow raises nearly anything on damaged files; whatever is wrong, reading it as an image will say so.
    except Exception:
        return False


@contextlib.contextmanager
def open_video(path: str | Path) -> Iterator[Video]:
    """Open a video file; the rotation that its file asks for is applied.

    Raises
    ------
    VideoError
        The file is missing, unreadable, or no video.
    """
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
    if path.suffix.lower() in _ANIMATED_IMAGES:
        yield _open_animation(path)
        return
    with _capture(str(path), cv2.CAP_FFMPEG) as capture:
        if capture is None:
            raise VideoError(f"{path}: not a readable video.")
        rate = capture.get(cv2.CAP_PROP_FPS)
        rate = rate if 0.1 <= rate <= 1000 else _USUAL_RATE
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        frames = _read_frames(capture, str(path), rate)
        yield Video(str(path), frames, rate=rate, n_frames=count if count > 0 else None)


@contextlib.contextmanager
def open_camera(source: int | str) -> Iterator[Video]:
    """Open a camera by its number, or by a device or address that OpenCV knows.

    Raises
    ------
    VideoError
        There is no such camera, or it does not answer.
    """
    name = f"camera {source}"
    with _capture(source, cv2.CAP_ANY) as capture:
        if capture is None:
            raise VideoError(f"{name} cannot be opened; is it connected, and not in use elsewhere?")
        yield Video(name, _read_camera(capture, name), rate=_USUAL_RATE, n_frames=None)


@contextlib.contextmanager
def _capture(source: int | str, backend: int) -> Iterator[cv2.VideoCapture | None]:
    """Yield OpenCV's reader, or None where it cannot open the source."""
    _quiet_ffmpeg()
    with suppress_native_stderr():
        capture = cv2.VideoCapture(source, backend)
    try:
        yield capture if capture.isOpened() else None
    finally:
        capture.release()


def _quiet_ffmpeg() -> None:
    """Keep FFmpeg's words about damaged frames to itself; OpenCV asks when the first video is opened or written."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


def _read_frames(capture: cv2.VideoCapture, name: str, rate: float) -> Iterator[Frame]:
    """Yield the frames of a file; one that holds none is an error."""
    index, moment, first = 0, 0.0, 0.0
    while True:
        ok, image = capture.read()
        if not ok:
            break
        told = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        # Some files tell no times, and damaged ones tell times that go back.
        moment = told if index == 0 or told > moment else moment + 1 / rate
        first = moment if index == 0 else first
        yield Frame(index, moment - first, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        index += 1
    if index == 0:
        raise VideoError(f"{name}: not one frame of this video can be read.")


def _read_camera(capture: cv2.VideoCapture, name: str) -> Iterator[Frame]:
    """Yield a camera's frames as they come; it ends when the camera stops to answer."""
    index, started = 0, time.monotonic()
    while True:
        ok, image = capture.read()
        if not ok:
            break
        moment = time.monotonic() - started
        yield Frame(index, 0.0 if index == 0 else moment, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        index += 1
    if index == 0:
        raise VideoError(f"{name} gives no image.")
    logger.info("%s gives no more images", name)


def _open_animation(path: Path) -> Video:
    """Return an animated GIF or WebP as a video."""
    try:
        image = Image.open(path)
        n_frames = getattr(image, "n_frames", 1)
    # Pillow's decoders raise many kinds of error on damaged files.
    except Exception as error:
        raise VideoError(f"{path}: not a readable animation ({type(error).__name__}).") from None
    if image.width * image.height > MAX_PIXELS:
        size = f"{image.width} x {image.height}"
        raise VideoError(f"{path}: {size} pixels is over the limit of {MAX_PIXELS:,}.")
    first = image.info.get("duration", 0) / 1000
    return Video(str(path), _read_animation(image, path), rate=1 / first if first else 10.0, n_frames=n_frames)


def _read_animation(image: Image.Image, path: Path) -> Iterator[Frame]:
    """Yield the frames of an animation; transparency is laid on white."""
    moment = 0.0
    with image:
        frames = ImageSequence.Iterator(image)
        index = 0
        while True:
            try:
                frame = next(frames)
                upright = Image.alpha_composite(Image.new("RGBA", frame.size, "white"), frame.convert("RGBA"))
            except StopIteration:
                return
            except Exception as error:
                if index == 0:
                    raise VideoError(f"{path}: not one frame can be read ({type(error).__name__}).") from None
                return
            yield Frame(index, moment, np.array(upright.convert("RGB")))
            # Browsers, too, take a duration of nothing for a tenth of a second.
            moment += (frame.info.get("duration") or 100) / 1000
            index += 1


class VideoWriter:
    """Write frames to a video file of a constant rate; frames are repeated or dropped to keep time.

    Use as a context manager; the file appears at the end, with what was written until then if that is an error or
    Ctrl+C. It has no sound.

    Parameters
    ----------
    path : path
        Ends in one of `WRITABLE_VIDEOS`.
    rate : float
        Frames a second.
    """

    def __init__(self, path: str | Path, *, rate: float) -> None:
        self.path = Path(path)
        self.rate = min(max(rate, 1.0), 120.0)
        self._writer: cv2.VideoWriter | None = None
        self._stack = contextlib.ExitStack()
        self._n_written = 0
        self._size = (0, 0)

    def __enter__(self) -> "VideoWriter":
        """Begin."""
        return self

    def write(self, image: np.ndarray, time: float) -> None:
        """Add a frame.

        Parameters
        ----------
        image : ndarray of shape (H, W, 3), dtype uint8
            RGB; all frames as large as the first, or they are resized.
        time : float
            Seconds from the first frame.

        Raises
        ------
        VideoError
            OpenCV cannot write such a file.
        """
        if self._writer is None:
            self._open(image)
        due = int(np.floor(time * self.rate + 0.5)) + 1
        if due <= self._n_written:
            return
        bgr = cv2.cvtColor(resize(image, self._size), cv2.COLOR_RGB2BGR)
        for _ in range(due - self._n_written):
            self._writer.write(bgr)
        self._n_written = due

    def _open(self, image: np.ndarray) -> None:
        """Make the temporary file."""
        # Most formats want even sides.
        height, width = (max(2, side - side % 2) for side in image.shape[:2])
        self._size = (height, width)
        temporary = self._stack.enter_context(atomic_write(self.path))
        _quiet_ffmpeg()
        code = cv2.VideoWriter_fourcc(*WRITABLE_VIDEOS[self.path.suffix.lower()])
        with suppress_native_stderr():
            self._writer = cv2.VideoWriter(str(temporary), code, self.rate, (width, height))
        if not self._writer.isOpened():
            raise VideoError(f"{self.path} cannot be written as a video of {width} x {height} pixels.")

    def __exit__(self, *error: Any) -> None:
        """Close the file and put it in its place."""
        if self._writer is not None:
            opened = self._writer.isOpened()
            self._writer.release()
            if opened:
                error = (None, None, None)  # what was written until an interrupt is kept
        self._stack.__exit__(*error)
