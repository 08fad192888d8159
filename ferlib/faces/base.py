"""What face detectors have in common: the face record, the interface and the registry of names."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from ferlib.core.boxes import Box, iou, nms
from ferlib.core.images import resize

#: Smallest face, in pixels, that detectors look for by default.
MIN_FACE_SIZE = 20

#: Smallest face probability that MTCNN accepts by default.
MIN_CONFIDENCE = 0.9

# Two detections are of one face if they share more than this fraction of the smaller box.
_MAX_OVERLAP = 0.6

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
        """Update faces of the previous frame.

        Parameters
        ----------
        image : ndarray of shape (H, W, 1) or (H, W, 3), dtype uint8
            The next frame.
        faces : sequence of Face
            The faces of the previous frame.

        Returns
        -------
        list of Face or None
            In the order of `faces`; None for a face that was lost.
        """
        ...


_registry: dict[str, Callable[..., Detector]] = {}

DetectorClass = TypeVar("DetectorClass", bound=Callable[..., Detector])


def register_detector(name: str) -> Callable[[DetectorClass], DetectorClass]:
    """Return a decorator that makes a detector class available by a name.

    Its constructor takes those keyword arguments of `make_detector` that it uses.
    """

    def register(cls: DetectorClass) -> DetectorClass:
        _registry[name] = cls
        return cls

    return register


def detector_names() -> tuple[str, ...]:
    """Return the names of the registered detectors in alphabetical order."""
    return tuple(sorted(_registry))


def make_detector(
    name: str = "mtcnn",
    *,
    min_face_size: int = MIN_FACE_SIZE,
    min_confidence: float = MIN_CONFIDENCE,
    n_threads: int = 0,
) -> Detector:
    """Create a detector by name; its model is loaded with the first image.

    Parameters
    ----------
    name : str
        ``"mtcnn"`` (most accurate), ``"haar"`` (upright frontal faces only) or ``"none"`` (the whole image is one
        face).
    min_face_size : int
        Size of the smallest face in pixels; ignored by ``"none"``.
    min_confidence : float
        Smallest face probability, 0 to 1; ignored by all detectors but MTCNN.
    n_threads : int
        Threads of MTCNN; 0 lets ONNX Runtime choose.

    Raises
    ------
    ValueError
        The name is unknown, or `min_face_size` is below 1.

    Examples
    --------
    >>> make_detector("none").detect(np.zeros((48, 64, 1), np.uint8))
    [Face(box=(0, 0, 64, 48), confidence=1.0, landmarks=None)]
    """
    if name not in _registry:
        raise ValueError(f"'{name}' is not a detector; expected one of {', '.join(detector_names())}")
    if min_face_size < 1:
        raise ValueError(f"min_face_size must be at least 1 pixel, got {min_face_size}")
    cls = _registry[name]
    values: dict[str, Any] = {
        "min_face_size": min_face_size,
        "min_confidence": min_confidence,
        "n_threads": n_threads,
    }
    accepted = inspect.signature(cls).parameters
    return cls(**{keyword: value for keyword, value in values.items() if keyword in accepted})


def match_box(faces: Sequence[Face], box: Box, *, min_iou: float = 0.3) -> Face | None:
    """Return the face whose box has the highest IoU with a known box, or None if none reaches `min_iou`.

    Parameters
    ----------
    faces : sequence of Face
    box : tuple of float
        x, y, width, height in pixels.
    min_iou : float
    """
    best = max(faces, key=lambda face: iou(face.box, box), default=None)
    return best if best is not None and iou(best.box, box) >= min_iou else None


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
