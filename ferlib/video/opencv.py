"""OpenCV's readers of videos and cameras, without the messages of its libraries."""

import contextlib
import os
from collections.abc import Iterator, Sequence

import cv2


@contextlib.contextmanager
def open_capture(source: int | str, backend: int, settings: Sequence[int] = ()) -> Iterator[cv2.VideoCapture | None]:
    """Yield OpenCV's reader, or None if it cannot open the source; `settings` are pairs of properties and values."""
    silence_opencv()
    capture = cv2.VideoCapture(source, backend, settings) if settings else cv2.VideoCapture(source, backend)
    try:
        yield capture if capture.isOpened() else None
    finally:
        capture.release()


def silence_opencv() -> None:
    """Hide the messages of OpenCV and FFmpeg about damaged files and missing cameras, which are also errors.

    This needs no redirection of the process's standard error, and so is safe in threads.
    """
    # OpenCV reads this variable with the first video.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def frame_size(capture: cv2.VideoCapture) -> tuple[int, int]:
    """Return the (height, width) of the frames."""
    return int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
