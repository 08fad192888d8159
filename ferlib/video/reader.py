"""Read videos and animations as frames with times."""

import contextlib
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from ferlib.core.decoding import MAX_PIXELS
from ferlib.core.errors import VideoError
from ferlib.core.images import resize
from ferlib.core.signatures import describe_content
from ferlib.video.animation import open_animation
from ferlib.video.container import is_cut_off
from ferlib.video.kinds import is_animation, read_head, refuse_playlists
from ferlib.video.opencv import frame_size, open_capture

logger = logging.getLogger(__name__)

# Frames per second of videos that state no plausible rate.
_DEFAULT_RATE = 25.0

# Frames that are left out for longer than this, in seconds, are jumped over. Decoding them is faster for shorter times,
# because a jump leads to the last complete frame before, which may be ten seconds earlier.
_JUMP = 10.0

#: A longer gap between two frames, in seconds, is reported: it is rather a fault of the file than a still image.
MAX_GAP = 10.0

# Times are rounded: a frame that is due at 2 s may have the time 1.9999.
_ROUNDING = 1e-3

# Pixels that differ from a square by less than this are taken for squares.
_SQUARE = 0.01


@dataclass(frozen=True)
class Frame:
    """One frame of a video.

    Attributes
    ----------
    index : int, from 0
    time : float, seconds since the first frame of the video
    image : ndarray of shape (H, W, 3), dtype uint8, RGB, upright, with square pixels
    """

    index: int
    time: float
    image: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class Selection:
    """Which frames of a video are read.

    Attributes
    ----------
    start, end : float
        Seconds since the first frame of the video; frames before and after are left out.
    every : float
        Seconds between two frames, 0 for every frame.
    """

    start: float = 0.0
    end: float = math.inf
    every: float = 0.0

    def next_time(self, time: float) -> float:
        """Return when the frame after one at a time is wanted, or `start` for -inf."""
        if time < self.start or not self.every:
            return max(time, self.start)
        return self.start + (math.floor((time - self.start) / self.every + _ROUNDING) + 1) * self.every

    def apply(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """Yield those of some frames that are selected."""
        due = self.start
        for frame in frames:
            if frame.time > self.end + _ROUNDING:
                return
            if frame.time >= due - _ROUNDING:
                yield frame
                due = self.next_time(max(frame.time, due))


@dataclass
class Video:
    """An open video or camera, whose frames can be iterated over once; made by `open_video` and `open_camera`.

    Attributes
    ----------
    name : str
        The path or address, without user names and passwords.
    size : tuple of int
        (height, width) in pixels, as the file states it; the sides may be swapped if the video is rotated.
    rate : float
        Frames per second, on average if they vary.
    n_frames : int or None
        Number of frames that the file states, or that a selection makes of it; None for a camera and for files that do
        not state it. It is an estimate: some files count frames that are not shown.
    n_read : int
        Number of frames read so far.
    truncated : bool
        After the last frame: whether the file, or the stream of a camera, broke off.
    """

    name: str
    frames: Iterator[Frame] = field(repr=False)
    size: tuple[int, int]
    rate: float
    n_frames: int | None
    n_read: int = 0
    truncated: bool = False
    is_cut_off: Callable[[], bool] = field(default=lambda: False, repr=False)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames."""
        for frame in self.frames:
            self.n_read += 1
            yield frame
        self.truncated = self.is_cut_off()


@contextlib.contextmanager
def open_video(
    path: str | Path,
    *,
    start: float = 0.0,
    end: float | None = None,
    every: float = 0.0,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[Video]:
    """Open a video file or an animation.

    Frames are rotated as the file's metadata state, and have square pixels.

    Parameters
    ----------
    path : path
    start, end : float
        Read the frames from and until these times only, in seconds since the first frame.
    every : float
        Read one frame every so many seconds; 0 reads each.
    max_pixels : int
        A video with larger frames is refused.

    Raises
    ------
    VideoError
        The file is not a video, or none of its frames can be read.
    """
    path, selection = Path(path), Selection(start, math.inf if end is None else end, every)
    try:
        with path.open("rb") as file:
            first = file.read(1)
    except FileNotFoundError:
        raise VideoError(f"{path}: there is no such file.") from None
    # ValueError: a null character in the name.
    except (OSError, ValueError) as error:
        raise VideoError(f"{path}: the file cannot be read ({getattr(error, 'strerror', error)}).") from None
    if not first:
        raise VideoError(f"{path}: the file is empty.")
    if is_animation(path):
        animation = open_animation(path, max_pixels=max_pixels)
        frames = selection.apply(Frame(*frame) for frame in animation.frames)
        count = estimate_count(animation.n_frames, animation.rate, selection)
        yield Video(str(path), frames, animation.size, animation.rate, count, is_cut_off=lambda: animation.is_cut_off)
        return
    refuse_playlists(path)
    with open_capture(str(path), cv2.CAP_FFMPEG) as capture:
        if capture is None:
            raise VideoError(f"{path}: not a readable video{_reason(path)}.")
        height, width = frame_size(capture)
        if height * width > max_pixels:
            raise VideoError(f"{path}: {width:,} x {height:,} pixels is over the limit of {max_pixels:,} pixels.")
        rate = capture.get(cv2.CAP_PROP_FPS)
        rate = rate if 0.1 <= rate <= 1000 else _DEFAULT_RATE
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        yield Video(
            str(path),
            _read_frames(capture, str(path), rate, selection),
            square_size((height, width), shown_aspect(capture)),
            rate,
            estimate_count(count, rate, selection) if count > 0 else None,
            is_cut_off=lambda: is_cut_off(path),
        )


def estimate_count(n_frames: int, rate: float, selection: Selection) -> int:
    """Return about how many frames of a video a selection keeps."""
    seconds = min(selection.end, n_frames / rate) - selection.start
    return max(0, math.ceil(seconds * min(rate, 1 / selection.every if selection.every else rate) - 1e-6))


def _read_frames(capture: cv2.VideoCapture, name: str, rate: float, selection: Selection) -> Iterator[Frame]:
    """Yield the selected frames of a file; those in between are neither converted nor, if possible, decoded."""
    clock = _Clock(capture, rate)
    index, due, found = -1, selection.start, False
    aspect = shown_aspect(capture)
    while True:
        if clock.time > -math.inf and due - clock.time > _JUMP:
            index += _jump(capture, clock, due, rate)
        if not _grab(capture):
            break
        index += 1
        time = clock.update(name, index)
        # Half a frame earlier is the frame that is shown at that time.
        if time < due - 0.5 / rate:
            continue
        if time > selection.end + _ROUNDING:
            break
        ok, image = _retrieve(capture)
        if ok:
            found = True
            yield Frame(index, time, to_square(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), aspect))
            due = selection.next_time(max(time, due))
    if not found:
        reason = f"not one frame can be read{_cut(name)}" if index < 0 else "there is no frame in the selected time"
        raise VideoError(f"{name}: {reason}.")


def _reason(path: Path) -> str:
    """Return the end of a sentence about a file that cannot be opened, which says what it is, if that is known."""
    if cut := _cut(path):
        return cut
    content = describe_content(read_head(path))
    if content == "a video":
        return ": it is damaged, or has only sound, or is of an unknown codec"
    return content and f": it is {content}"


def _cut(path: str | Path) -> str:
    """Return the end of a sentence about a file that cannot be read, if it is cut off."""
    return ": the file is cut off" if is_cut_off(path) else ""


def _grab(capture: cv2.VideoCapture) -> bool:
    """Go to the next frame; return whether there is one."""
    try:
        return capture.grab()
    # No memory for the frame of a damaged file.
    except cv2.error:
        return False


def _retrieve(capture: cv2.VideoCapture) -> tuple[bool, np.ndarray]:
    """Return whether the frame can be decoded, and its BGR image (H, W, 3)."""
    try:
        return capture.retrieve()
    except cv2.error:
        return False, np.empty((0, 0, 3), np.uint8)


def _jump(capture: cv2.VideoCapture, clock: "_Clock", due: float, rate: float) -> int:
    """Go to just before a time; return the number of frames left out, 0 if that is not possible."""
    before = capture.get(cv2.CAP_PROP_POS_FRAMES)
    # OpenCV stops at the frame before, so that the next one is the first that is not earlier.
    if not capture.set(cv2.CAP_PROP_POS_MSEC, 1000 * (clock.first + due - 1 / rate)):
        return 0
    clock.jumped = True
    return max(0, round(capture.get(cv2.CAP_PROP_POS_FRAMES) - before))


class _Clock:
    """The time of the current frame, in seconds since the first one."""

    def __init__(self, capture: cv2.VideoCapture, rate: float) -> None:
        self._capture = capture
        self._step = 1 / rate
        self.first = 0.0
        self.time = -math.inf
        self.jumped = False  # whether frames were left out before the next one

    def update(self, name: str, index: int) -> float:
        """Return the time of the frame that was just read."""
        position = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if self.time == -math.inf:
            self.first, self.time = position, 0.0
            return 0.0
        now = position - self.first
        # Some files have no timestamps, and those of damaged files may decrease.
        if not now > self.time:
            now = self.time + self._step
        if now - self.time > MAX_GAP and not self.jumped:
            logger.warning("%s: the time jumps by %.0f seconds before frame %d.", name, now - self.time, index)
        self.time, self.jumped = now, False
        return now


def shown_aspect(capture: cv2.VideoCapture) -> float:
    """Return the width of a pixel of a frame divided by its height, 1 if that is unknown or implausible."""
    width, height = capture.get(cv2.CAP_PROP_SAR_NUM), capture.get(cv2.CAP_PROP_SAR_DEN)
    aspect = width / height if width > 0 and height > 0 else 1.0
    if int(capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 180 and capture.get(cv2.CAP_PROP_ORIENTATION_AUTO):
        aspect = 1 / aspect
    return aspect if 0.1 < aspect < 10 and abs(aspect - 1) > _SQUARE else 1.0


def square_size(size: tuple[int, int], aspect: float) -> tuple[int, int]:
    """Return the (height, width) that a frame has with square pixels; it is enlarged rather than reduced."""
    height, width = size
    return (height, round(width * aspect)) if aspect >= 1 else (round(height / aspect), width)


def to_square(image: np.ndarray, aspect: float) -> np.ndarray:
    """Return a frame (H, W, 3) as it is shown, with square pixels."""
    return image if aspect == 1 else resize(image, square_size((image.shape[0], image.shape[1]), aspect))
