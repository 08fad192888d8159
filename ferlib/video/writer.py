"""Write frames to a video file."""

import contextlib
import importlib.util
import logging
import math
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from ferlib.core.errors import VideoError
from ferlib.core.files import atomic_write
from ferlib.core.images import resize
from ferlib.video.opencv import open_capture, silence_opencv
from ferlib.video.reader import MAX_GAP

logger = logging.getLogger(__name__)

#: Suffixes of videos that can be written, and the codecs that OpenCV's wheels have for them.
VIDEO_CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}

# Those that become H.264 with sound where PyAV is installed.
_H264_SUFFIXES = frozenset(VIDEO_CODECS) - {".avi"}


class Encoder(Protocol):
    """What turns frames into a file."""

    def write(self, image: np.ndarray) -> None:
        """Add an RGB frame (H, W, 3), uint8, of the size that the encoder was made for."""
        ...

    def close(self) -> None:
        """Complete the file."""
        ...


class VideoWriter:
    """Write frames to a video file with a constant frame rate; frames are repeated or dropped to keep time.

    A context manager. The file appears at the end. After an error or Ctrl+C it holds the frames written until then;
    without frames there is no file. AVI files are Motion JPEG. Others are H.264, with sound if wanted, where PyAV is
    installed (the extra ``video``), else MPEG-4 Part 2, which browsers do not play, without sound.

    Parameters
    ----------
    path : path
        Ends in one of `VIDEO_CODECS`.
    rate : float
        Frames per second, limited to 1 to 120.
    sound : path, optional
        The video whose sound is copied.
    max_gap : float
        A longer time between two frames, in seconds, is one step: it is rather a fault of the source than a still
        image.
    """

    def __init__(
        self, path: str | Path, *, rate: float, sound: str | Path | None = None, max_gap: float = MAX_GAP
    ) -> None:
        self.path = Path(path)
        self.rate = min(max(rate, 1.0), 120.0)
        self.max_gap = max_gap
        self._sound = sound
        self._encoder: Encoder | None = None
        self._temporary = self.path
        self._stack = contextlib.ExitStack()
        self._n_written = 0
        self._size = (0, 0)
        # The time of the last frame, and what is subtracted from the times: the start, and gaps.
        self._last = 0.0
        self._offset = 0.0

    def __enter__(self) -> "VideoWriter":
        """Return the writer."""
        return self

    def write(self, image: np.ndarray, time: float) -> None:
        """Add an RGB frame (H, W, 3), uint8, resized to the first one's size, at a time in seconds.

        The video starts with the first frame, whatever its time.

        Raises
        ------
        VideoError
            OpenCV cannot write this format.
        """
        if self._encoder is None:
            self._last = self._offset = time
            self._encoder = self._open(image, time)
        if time - self._last > self.max_gap:
            self._offset += time - self._last - 1 / self.rate
        self._last = time
        n_due = math.floor((time - self._offset) * self.rate + 0.5) + 1
        if n_due <= self._n_written:
            return
        resized = resize(image, self._size)
        for _ in range(n_due - self._n_written):
            self._encoder.write(resized)
        self._n_written = n_due

    def _open(self, image: np.ndarray, start: float) -> Encoder:
        """Create the temporary file."""
        # Most codecs need even sides.
        height, width = (max(2, side - side % 2) for side in image.shape[:2])
        self._size = (height, width)
        with contextlib.ExitStack() as stack:
            self._temporary = stack.enter_context(atomic_write(self.path))
            encoder = self._open_h264(start) if has_h264(self.path) else None
            encoder = encoder or _OpencvEncoder(self._temporary, self.rate, self._size, self.path)
            self._stack = stack.pop_all()
        return encoder

    def _open_h264(self, start: float) -> Encoder | None:
        """Return an encoder for H.264, or None if this build of PyAV has none or cannot be imported."""
        try:
            from ferlib.video.h264 import H264Encoder

            return H264Encoder(self._temporary, self.rate, self._size, sound=self._sound, start=start)
        except (ImportError, ValueError) as error:
            logger.warning("PyAV cannot write H.264 (%s); %s becomes MPEG-4 without sound.", error, self.path)
            return None

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        """Finish the file and move it to its path, also after an error."""
        if self._encoder is None:
            return
        with self._stack:
            self._encoder.close()
            if not _can_be_read(self._temporary):
                message = f"{self.path} cannot be written; is the disk full?"
                # The first error says why.
                if kind is None:
                    raise VideoError(message)
                logger.error("%s", message)
                self._temporary.unlink(missing_ok=True)


class _OpencvEncoder:
    """Encode with OpenCV, which has MPEG-4 Part 2 and Motion JPEG."""

    def __init__(self, temporary: Path, rate: float, size: tuple[int, int], path: Path) -> None:
        silence_opencv()
        codec = cv2.VideoWriter.fourcc(*VIDEO_CODECS[path.suffix.lower()])
        height, width = size
        self._writer = cv2.VideoWriter(str(temporary), codec, rate, (width, height))
        if not self._writer.isOpened():
            raise VideoError(f"{path} cannot be written as a video of {width} x {height} pixels.")

    def write(self, image: np.ndarray) -> None:
        """Add a frame."""
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        """Complete the file."""
        self._writer.release()


def has_h264(path: str | Path) -> bool:
    """Return whether a video with this suffix is written as H.264, with sound: whether PyAV is installed."""
    return Path(path).suffix.lower() in _H264_SUFFIXES and importlib.util.find_spec("av") is not None


def _can_be_read(path: Path) -> bool:
    """Return whether a written file is a video: OpenCV does not report that it could not write."""
    with open_capture(str(path), cv2.CAP_FFMPEG) as capture:
        return capture is not None and capture.grab()
