"""What face detectors have in common: the face record, the interface and functions on boxes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from ferlib.core.boxes import Box, iou, nms
from ferlib.core.images import resize

#: Smallest face, in pixels, that detectors look for by default.
MIN_FACE_SIZE = 20

#: Smallest face probability that MTCNN accepts by default.
MIN_CONFIDENCE = 0.9

# Two detections are of one face if they share more than this fraction of the smaller box.
_MAX_OVERLAP = 0.6

# Smallest IoU of a detection with a known box of the same face.
_MIN_IOU = 0.3

#: The names of landmarks, in the order of the networks that find them.
LANDMARKS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")

#: Names of points to (x, y) in pixels.
Landmarks = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Face:
    """A detected face.

    Attributes
    ----------
    box : tuple of int
        x, y, width, height in pixels, origin top left, entirely inside the image.
    confidence : float
        The detector's score, 0 to 1. MTCNN: the probability of a face. Haar: ``n / (n + 3)`` for `n` agreeing windows,
        which ranks faces but is not a probability. Whole image: 1.
    landmarks : dict or None
        ``left_eye``, ``right_eye``, ``nose``, ``mouth_left`` and ``mouth_right``, each (x, y) in pixels. None if the
        detector finds no landmarks. Left and right are the viewer's: ``left_eye`` is the eye nearer to the left edge of
        the image, which is the person's right eye.
    """

    box: tuple[int, int, int, int]
    confidence: float
    landmarks: Landmarks | None = None


class Detector(Protocol):
    """Interface of all detectors."""

    def detect(self, image: np.ndarray) -> list[Face]:
        """Find the faces in one image.

        Parameters
        ----------
        image : ndarray of shape (H, W, 1) or (H, W, 3), dtype uint8
            Gray or RGB, of any size.

        Returns
        -------
        list of Face
            From left to right (by the box's x, then its y); empty if there are none.
        """
        ...


@runtime_checkable
class RedetectingDetector(Detector, Protocol):
    """A detector that can also update known faces in the next frame of a video, which is faster than a detection."""

    def redetect(self, image: np.ndarray, faces: Sequence[Face]) -> list[Face | None]:
        """Return the faces of the previous frame as they are in the next one, an image as in `detect`.

        A face that was lost is None.
        """
        ...


@runtime_checkable
class SizedDetector(Detector, Protocol):
    """A detector that looks for small faces only in small images."""

    def smallest_face(self, size: tuple[int, int]) -> int:
        """Return the size in pixels below which no face is looked for in an image of (height, width)."""
        ...


def turn_back(face: Face, turns: int, size: tuple[int, int]) -> Face:
    """Return a face of ``np.rot90(image, turns)`` as one of the image, which has a size (height, width).

    Examples
    --------
    >>> turn_back(Face((1, 2, 3, 4), 1.0), 1, (20, 10)).box
    (4, 1, 4, 3)
    """
    height, width = size
    x, y, w, h = face.box
    boxes = [(x, y, w, h), (width - y - h, x, h, w), (width - x - w, height - y - h, w, h), (y, height - x - w, h, w)]

    def turn(point: tuple[float, float]) -> tuple[float, float]:
        u, v = point
        return [(u, v), (width - 1 - v, u), (width - 1 - u, height - 1 - v), (v, height - 1 - u)][turns % 4]

    landmarks = face.landmarks and {name: turn(point) for name, point in face.landmarks.items()}
    return replace(face, box=boxes[turns % 4], landmarks=landmarks)


def match_box(faces: Sequence[Face], box: Box) -> Face | None:
    """Return the face whose box has the highest IoU with a known box, or None if none reaches 0.3."""
    best = max(faces, key=lambda face: iou(face.box, box), default=None)
    return best if best is not None and iou(best.box, box) >= _MIN_IOU else None


def rescale(image: np.ndarray, scale: float) -> np.ndarray:
    """Return an image (H, W, C) resized by a factor, at least one pixel large."""
    height, width = image.shape[:2]
    return resize(image, (max(1, round(height * scale)), max(1, round(width * scale))))


def clip_box(box: Iterable[float], image: np.ndarray) -> tuple[int, int, int, int]:
    """Return a box rounded to whole pixels and clipped to the image, at least one pixel large."""
    height, width = image.shape[:2]
    x, y, w, h = (round(float(value)) for value in box)
    x0, y0 = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
    x1, y1 = min(max(x + w, x0 + 1), width), min(max(y + h, y0 + 1), height)
    return x0, y0, x1 - x0, y1 - y0


def merge_detections(faces: Sequence[Face]) -> list[Face]:
    """Return the faces from left to right, only the most confident of those that overlap."""
    boxes = np.array([face.box for face in faces], int).reshape(-1, 4)
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    scores = np.array([face.confidence for face in faces])
    kept = nms(corners, scores, _MAX_OVERLAP, mode="min")
    return sorted((faces[i] for i in kept), key=lambda face: face.box)
