"""Read cameras and network streams: the newest frame, across interruptions, without telling passwords."""

import contextlib
import logging
import math
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from ferlib.core.errors import VideoError
from ferlib.video.opencv import frame_size, open_capture
from ferlib.video.reader import Frame, Selection, Video, shown_aspect, square_size, to_square

logger = logging.getLogger(__name__)

# Frames per second that are assumed, because cameras state what they are set to and not what they deliver.
_RATE = 25.0

# How long opening a network stream, and waiting for its next frame, may take, in milliseconds.
_TIMEOUTS = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 10_000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 10_000)

# Seconds between two attempts to connect.
_PAUSE = 1.0


def hide_credentials(address: object) -> str:
    """Return an address without user name, password and query, which may contain a password or a key too."""
    # Everything up to the last @: a password may contain any character. A path has one slash less.
    text = re.sub(r"(\w\w+:/{1,2})?(?:.*@)?([^?#]*)(?:[?#].*)?", r"\1\2", str(address), count=1, flags=re.DOTALL)
    text = re.sub(r"^(\w\w+:/)(?!/)", r"\1/", text)
    # Properties of a GStreamer pipeline.
    return re.sub(r"((?:user|pass|pw|token|key|auth)[\w-]*\s*=\s*)\S+", r"\1***", text, flags=re.IGNORECASE)


@contextlib.contextmanager
def open_camera(
    source: int | str, *, start: float = 0.0, end: float | None = None, every: float = 0.0, reconnect: float = 0.0
) -> Iterator[Video]:
    """Open a camera or a network stream.

    Of a live stream, the newest frame is read: if frames come faster than they are processed, those in between are left
    out, and the delay does not grow. A file, or a stream of known length, is read frame by frame.

    Parameters
    ----------
    source : int or str
        The camera's number, or a device, an address or a file that OpenCV opens.
    start, end : float
        Yield the frames from and until these times only, in seconds since the first frame.
    every : float
        Seconds between two frames; 0 yields as many as possible.
    reconnect : float
        For how many seconds to try again when the stream breaks off or cannot be opened.

    Raises
    ------
    VideoError
        The camera cannot be opened.
    """
    name = f"camera {hide_credentials(source)}"
    selection = Selection(start, math.inf if end is None else end, every)
    is_file = isinstance(source, str) and Path(source).is_file()
    with contextlib.ExitStack() as stack:
        capture = _connect(source, stack, 0 if is_file else reconnect)
        if capture is None:
            raise VideoError(f"{name} cannot be opened; is it connected, and not used by another program?")
        if is_file or capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
            frames, is_live = _read_all(capture, name), False
        else:
            stream = _LiveStream(source, capture, reconnect, name)
            frames, is_live = stack.enter_context(stream).frames(), True
        video = Video(
            name, selection.apply(frames), square_size(frame_size(capture), shown_aspect(capture)), _RATE, None
        )
        # A live stream does not end by itself.
        video.is_cut_off = lambda: is_live and stream.ended
        yield video


def _connect(source: int | str, stack: contextlib.ExitStack, seconds: float) -> cv2.VideoCapture | None:
    """Return an open camera, which the stack closes; try again for so many seconds."""
    deadline = time.monotonic() + seconds
    is_address = isinstance(source, str) and re.match(r"\w+://", source)
    while True:
        backend, settings = (cv2.CAP_FFMPEG, _TIMEOUTS) if is_address else (cv2.CAP_ANY, ())
        capture = stack.enter_context(open_capture(source, backend, settings))
        if capture is not None or time.monotonic() + _PAUSE > deadline:
            return capture
        time.sleep(_PAUSE)


def _read_all(capture: cv2.VideoCapture, name: str) -> Iterator[Frame]:
    """Yield every frame of a file or a stream of known length, with the time at which it was read."""
    first, index, aspect = 0.0, 0, shown_aspect(capture)
    while True:
        ok, image = capture.read()
        if not ok:
            break
        now = time.monotonic()
        first = first if index else now
        yield Frame(index, now - first, to_square(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), aspect))
        index += 1
    if not index:
        raise VideoError(f"{name}: not one frame can be read.")


class _LiveStream:
    """A thread that reads a camera as fast as it delivers, and keeps the newest frame; a context manager."""

    def __init__(self, source: int | str, capture: cv2.VideoCapture, reconnect: float, name: str) -> None:
        self._source, self._capture, self._reconnect, self._name = source, capture, reconnect, name
        self._changed = threading.Condition()
        # Index, time in seconds, BGR image and shape of the pixels.
        self._newest: tuple[int, float, np.ndarray, float] | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._read, name="ferlib camera", daemon=True)
        #: Whether the stream broke off and could not be opened again.
        self.ended = False

    def __enter__(self) -> "_LiveStream":
        """Start reading."""
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop reading."""
        self._stopped = True
        # A camera that delivers nothing may block for as long as its timeout.
        self._thread.join(timeout=2 * _TIMEOUTS[-1] / 1000)

    def frames(self) -> Iterator[Frame]:
        """Yield the newest frame, each once."""
        first, last = 0.0, -1
        while True:
            with self._changed:
                # The limit lets Ctrl+C through on systems where waiting cannot be interrupted.
                while not self.ended and (self._newest is None or self._newest[0] == last):
                    self._changed.wait(timeout=0.5)
                newest = self._newest
            if newest is None or newest[0] == last:
                break
            index, now, image, aspect = newest
            first = now if last < 0 else first
            last = index
            yield Frame(index, now - first, to_square(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), aspect))
        if last < 0:
            raise VideoError(f"{self._name}: not one frame can be read.")

    def _read(self) -> None:
        """Read frames until the stream ends for good; runs in the thread."""
        index, aspect = 0, shown_aspect(self._capture)
        with contextlib.ExitStack() as stack:
            while not self._stopped:
                ok, image = self._capture.read()
                if ok:
                    with self._changed:
                        self._newest = index, time.monotonic(), image, aspect
                        self._changed.notify_all()
                    index += 1
                elif self._connect_again(stack):
                    aspect = shown_aspect(self._capture)
                else:
                    break
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def _connect_again(self, stack: contextlib.ExitStack) -> bool:
        """Return whether a stream that broke off could be opened again."""
        if not self._reconnect or self._stopped:
            return False
        logger.warning("%s: the stream broke off; connecting again.", self._name)
        deadline = time.monotonic() + self._reconnect
        self._capture.release()
        while not self._stopped and time.monotonic() < deadline:
            capture = _connect(self._source, stack, 0)
            if capture is not None:
                self._capture = capture
                return True
            time.sleep(_PAUSE)
        return False
