"""Where the faces are: pictures in, boxes out; this room knows no emotion."""

from ferlib.faces.detect import (
    DETECTORS,
    MIN_CONFIDENCE,
    MIN_FACE_SIZE,
    Detector,
    Face,
    HaarDetector,
    MtcnnDetector,
    WholePicture,
    find_match,
    make_detector,
    overlap,
)

__all__ = [
    "DETECTORS",
    "MIN_CONFIDENCE",
    "MIN_FACE_SIZE",
    "Detector",
    "Face",
    "HaarDetector",
    "MtcnnDetector",
    "WholePicture",
    "find_match",
    "make_detector",
    "overlap",
]
