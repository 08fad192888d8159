"""OpenCV's cascade of Haar features."""

import functools
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ferlib.core.errors import FerlibError
from ferlib.core.images import to_gray
from ferlib.faces.base import MIN_FACE_SIZE, Face, clip_box, merge_detections, rescale

# Number of overlapping windows that must agree on a face. More gives fewer faces and fewer false positives.
_MIN_NEIGHBORS = 3

# Larger images are reduced to this many pixels on the longer side: false positives grow with the number of windows.
_MAX_SIDE = 1000


class HaarDetector:
    """Viola and Jones's cascade of Haar features, as trained by OpenCV: upright frontal faces only.

    Parameters
    ----------
    min_face_size : int
        Size of the smallest face in pixels; the cascade itself finds none below 20.

    Notes
    -----
    Among OpenCV's three frontal cascades (with 3 to 5 neighbors, with and without histogram equalization), ``alt2``
    with 3 neighbors found the most faces in a few group photos without false positives: 18 of 21.

    References
    ----------
    P. Viola, M. Jones. Rapid Object Detection using a Boosted Cascade of Simple Features. CVPR, 2001.
    """

    def __init__(self, *, min_face_size: int = MIN_FACE_SIZE) -> None:
        self.min_face_size = min_face_size
        # OpenCV's cascade keeps the image that it searches.
        self._lock = threading.Lock()

    def detect(self, image: np.ndarray) -> list[Face]:
        """Find frontal faces; see `Detector.detect`.

        Raises
        ------
        FerlibError
            The installed OpenCV has no cascade classifier.
        """
        scale = min(1.0, _MAX_SIDE / max(image.shape[:2]))
        small = to_gray(rescale(image, scale))[..., 0]
        side = max(1, round(self.min_face_size * scale))
        with self._lock:
            boxes, counts = self._cascade.detectMultiScale2(
                small, scaleFactor=1.1, minNeighbors=_MIN_NEIGHBORS, minSize=(side, side)
            )
        return merge_detections(
            [
                Face(clip_box(np.asarray(box) / scale, image), int(count) / (int(count) + 3))
                for box, count in zip(boxes, counts, strict=True)
            ]
        )

    @functools.cached_property
    def _cascade(self) -> Any:
        """OpenCV's cascade for frontal faces."""
        if not hasattr(cv2, "CascadeClassifier"):
            raise FerlibError(
                f"OpenCV {cv2.__version__} has no Haar cascades; install OpenCV below version 5, or use mtcnn."
            )
        path = Path(cv2.data.haarcascades, "haarcascade_frontalface_alt2.xml")  # type: ignore[attr-defined]
        if not path.is_file():
            raise FerlibError(f"OpenCV's Haar cascade {path} is missing; reinstall OpenCV.")
        return cv2.CascadeClassifier(str(path))
