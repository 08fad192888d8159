"""Face detectors behind one interface: an image in, boxes and landmarks out; and face tracking."""

import importlib
import pkgutil

from ferlib.core.boxes import iou
from ferlib.faces.base import (
    MIN_CONFIDENCE,
    MIN_FACE_SIZE,
    Detector,
    Face,
    Landmarks,
    RedetectingDetector,
    detector_names,
    make_detector,
    match_box,
    register_detector,
)

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

#: The names that `make_detector` takes. A module of this package that registers a detector adds its name.
DETECTORS = detector_names()

__all__ = [
    "DETECTORS",
    "MIN_CONFIDENCE",
    "MIN_FACE_SIZE",
    "Detector",
    "Face",
    "Landmarks",
    "RedetectingDetector",
    "iou",
    "make_detector",
    "match_box",
    "register_detector",
]
