"""Face detectors behind one interface: an image in, boxes and landmarks out; and face tracking."""

import re
from pathlib import Path
from typing import Any, Literal, get_args

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

#: The detectors that need no file.
DetectorName = Literal["haar", "mtcnn", "none"]

#: The names that `make_detector` takes, besides classes.
DETECTORS: tuple[str, ...] = (*get_args(DetectorName), "yunet")

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
    "check_detector",
    "make_detector",
    "match_box",
]


def check_detector(name: str, model: str | Path | None, *, flag: str = "detector") -> None:
    """Check a detector's name and model file, without importing anything.

    Raises
    ------
    ValueError
        The name is unknown, or the model file is missing or not wanted.
    """
    if name not in DETECTORS and not re.fullmatch(r"[\w.]+:\w+", name):
        raise ValueError(f"'{name}' is not a {flag}; expected one of {', '.join(DETECTORS)}, or package.module:Class")
    if name == "yunet" and model is None:
        raise ValueError("the detector yunet needs a model file: --detector-model face_detection_yunet_2023mar.onnx")
    if model is not None and name in ("haar", "mtcnn", "none"):
        raise ValueError(f"the detector {name} takes no model file; --detector-model is for yunet and for one's own")


def make_detector(
    name: str = "mtcnn",
    *,
    model: str | Path | None = None,
    min_face_size: int | None = None,
    min_confidence: float = MIN_CONFIDENCE,
    n_threads: int = 0,
) -> Detector:
    """Create a detector by name; its model is loaded with the first image.

    Parameters
    ----------
    name : str
        ``"mtcnn"`` (most accurate), ``"haar"`` (upright frontal faces only), ``"yunet"`` (with a model file),
        ``"none"`` (the whole image is one face), or ``"package.module:Class"`` for a class with the method
        `Detector.detect`. The class is created with those of the following arguments that it takes.
    model : path, optional
        The model file of ``"yunet"`` or of a detector of one's own.
    min_face_size : int or None
        Size of the smallest face in pixels; ignored by ``"none"``. None: 20, or more in large images and next to large
        faces; see the detector.
    min_confidence : float
        Smallest face probability, 0 to 1; ignored by Haar cascades.
    n_threads : int
        Threads of MTCNN; 0 for one per available core.

    Raises
    ------
    ValueError
        The name is unknown, `min_face_size` is below 1, or the model file is missing or not wanted.
    FerlibError
        The class or the model file cannot be loaded.

    Examples
    --------
    >>> import numpy as np
    >>> make_detector("none").detect(np.zeros((48, 64, 1), np.uint8))
    [Face(box=(0, 0, 64, 48), confidence=1.0, landmarks=None)]
    """
    if min_face_size is not None and min_face_size < 1:
        raise ValueError(f"min_face_size must be at least 1 pixel, got {min_face_size}")
    check_detector(name, model)
    if name == "mtcnn":
        return MtcnnDetector(min_face_size=min_face_size, min_confidence=min_confidence, n_threads=n_threads)
    if name == "haar":
        return HaarDetector(min_face_size=min_face_size or MIN_FACE_SIZE)
    if name == "none":
        return WholeImage()
    options: dict[str, Any] = {"model": model, "min_face_size": min_face_size, "min_confidence": min_confidence}
    if name == "yunet":
        from ferlib.faces.yunet import YunetDetector

        return YunetDetector(**options)
    from ferlib.faces.plugin import load_detector

    return load_detector(name, **options, n_threads=n_threads)
