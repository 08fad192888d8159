"""Write frames to a video file."""

import contextlib
import math
from pathlib import Path

import cv2
import numpy as np

from ferlib.core.backend import suppress_native_stderr
from ferlib.core.errors import VideoError
from ferlib.core.files import atomic_write
from ferlib.core.images import resize
from ferlib.video.reader import silence_ffmpeg

#: Suffixes of videos that can be written, and the codecs that OpenCV's wheels have for them.
VIDEO_CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}


class VideoWriter:
    """Write frames to a video file with a constant frame rate; frames are repeated or dropped to keep time.

    A context manager. The path ends in one of `VIDEO_CODECS`, and the rate is in frames per second. The file appears at
    the end and has no sound. After an error or Ctrl+C it holds the frames written until then; without frames there is
    no file.
    """

    def __init__(self, path: str | Path, *, rate: float) -> None:
        self.path = Path(path)
        self.rate = min(max(rate, 1.0), 120.0)
        self._writer: cv2.VideoWriter | None = None
        self._stack = contextlib.ExitStack()
        self._n_written = 0
        self._size = (0, 0)

    def __enter__(self) -> "VideoWriter":
        """Return the writer."""
        return self

    def write(self, image: np.ndarray, time: float) -> None:
        """Add an RGB frame (H, W, 3), uint8, resized to the first one's size, at a time in seconds since that one.

        Raises
        ------
        VideoError
            OpenCV cannot write this format.
        """
        if self._writer is None:
            self._writer = self._open(image)
        n_due = math.floor(time * self.rate + 0.5) + 1
        if n_due <= self._n_written:
            return
        bgr = cv2.cvtColor(resize(image, self._size), cv2.COLOR_RGB2BGR)
        for _ in range(n_due - self._n_written):
            self._writer.write(bgr)
        self._n_written = n_due

    def _open(self, image: np.ndarray) -> cv2.VideoWriter:
        """Create the temporary file."""
        # Most codecs need even sides.
        height, width = (max(2, side - side % 2) for side in image.shape[:2])
        self._size = (height, width)
        silence_ffmpeg()
        codec = cv2.VideoWriter.fourcc(*VIDEO_CODECS[self.path.suffix.lower()])
        with contextlib.ExitStack() as stack:
            temporary = stack.enter_context(atomic_write(self.path))
            with suppress_native_stderr():
                writer = cv2.VideoWriter(str(temporary), codec, self.rate, (width, height))
            if not writer.isOpened():
                raise VideoError(f"{self.path} cannot be written as a video of {width} x {height} pixels.")
            self._stack = stack.pop_all()
        return writer

    def __exit__(self, *error: object) -> None:
        """Finish the file and move it to its path, also after an error."""
        if self._writer is not None:
            self._writer.release()
        self._stack.close()
