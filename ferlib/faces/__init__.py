"""Where the faces are: images in, boxes out; this room knows no emotion."""

from ferlib.faces.detectors import (
    DETECTORS,
    MIN_CONFIDENCE,
    MIN_FACE_SIZE,
    Detector,
    Face,
    HaarDetector,
    MtcnnDetector,
    WholeImage,
    iou,
    make_detector,
    match_box,
)

__all__ = [
    "DETECTORS",
    "MIN_CONFIDENCE",
    "MIN_FACE_SIZE",
    "Detector",
    "Face",
    "HaarDetector",
    "MtcnnDetector",
    "WholeImage",
    "iou",
    "make_detector",
    "match_box",
]
