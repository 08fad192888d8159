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
    make_detector,
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
    "make_detector",
]
