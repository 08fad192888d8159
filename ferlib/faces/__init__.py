"""Face detectors behind one interface: an image in, boxes and landmarks out; and face tracking."""

from typing import Literal, get_args

from ferlib.faces.adaptive import AdaptiveDetector
from ferlib.faces.base import (
    MIN_CONFIDENCE,
    MIN_FACE_SIZE,
    Detector,
    Face,
    Landmarks,
    RedetectingDetector,
    SizedDetector,
    match_box,
)
from ferlib.faces.haar import HaarDetector
from ferlib.faces.mtcnn import MtcnnDetector
from ferlib.faces.whole_image import WholeImage

DetectorName = Literal["haar", "mtcnn", "none"]

#: The names that `make_detector` takes.
DETECTORS: tuple[str, ...] = get_args(DetectorName)

__all__ = [
    "DETECTORS",
    "MIN_CONFIDENCE",
    "MIN_FACE_SIZE",
    "AdaptiveDetector",
    "Detector",
    "DetectorName",
    "Face",
    "Landmarks",
    "RedetectingDetector",
    "SizedDetector",
    "make_detector",
    "match_box",
]


def make_detector(
    name: str = "mtcnn",
    *,
    min_face_size: int | None = None,
    min_confidence: float = MIN_CONFIDENCE,
    n_threads: int = 0,
) -> Detector:
    """Create a detector by name; its model is loaded with the first image.

    Parameters
    ----------
    name : str
        ``"mtcnn"`` (most accurate), ``"haar"`` (upright frontal faces only) or ``"none"`` (the whole image is one
        face).
    min_face_size : int or None
        Size of the smallest face in pixels; ignored by ``"none"``. None: 20, or more in large images and next to large
        faces; see the detector.
    min_confidence : float
        Smallest face probability, 0 to 1; ignored by all detectors but MTCNN.
    n_threads : int
        Threads of MTCNN; 0 for one per available core.

    Raises
    ------
    ValueError
        The name is unknown, or `min_face_size` is below 1.

    Examples
    --------
    >>> import numpy as np
    >>> make_detector("none").detect(np.zeros((48, 64, 1), np.uint8))
    [Face(box=(0, 0, 64, 48), confidence=1.0, landmarks=None)]
    """
    if min_face_size is not None and min_face_size < 1:
        raise ValueError(f"min_face_size must be at least 1 pixel, got {min_face_size}")
    if name == "mtcnn":
        return MtcnnDetector(min_face_size=min_face_size, min_confidence=min_confidence, n_threads=n_threads)
    if name == "haar":
        return HaarDetector(min_face_size=min_face_size or MIN_FACE_SIZE)
    if name == "none":
        return WholeImage()
    raise ValueError(f"'{name}' is not a detector; expected one of {', '.join(DETECTORS)}")
