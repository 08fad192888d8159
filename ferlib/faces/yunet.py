"""YuNet through OpenCV, from a model file that the user names."""

import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ferlib.core.errors import FerlibError
from ferlib.core.images import to_rgb
from ferlib.faces.base import LANDMARKS, MIN_CONFIDENCE, MIN_FACE_SIZE, Face, clip_box, merge_detections, rescale

# The network finds faces from about 10 to 300 pixels.
_SMALLEST, _LARGEST = 10, 300
# Images are reduced to this many pixels on the longer side.
_MAX_SIDE = 1600
# The network halves its input five times.
_MIN_SIDE = 32


class YunetDetector:
    """YuNet, a small network that finds faces of any pose, on OpenCV's ``FaceDetectorYN``.

    Parameters
    ----------
    model : path
        The network, such as ``face_detection_yunet_2023mar.onnx`` of OpenCV's model zoo; ferlib does not ship it.
    min_face_size : int or None
        Faces whose longer side is shorter than this, in pixels of the image, are discarded; 20 if None.
    min_confidence : float
        Faces with a lower score are discarded, 0 to 1.

    Raises
    ------
    FerlibError
        The file is missing, or OpenCV cannot read it as YuNet.

    References
    ----------
    W. Wu, H. Peng, S. Yu. YuNet: A Tiny Millisecond-level Face Detector. Machine Intelligence Research 20, 2023.
    """

    def __init__(
        self, *, model: str | Path, min_face_size: int | None = None, min_confidence: float = MIN_CONFIDENCE
    ) -> None:
        self.min_face_size = min_face_size or MIN_FACE_SIZE
        self.min_confidence = min_confidence
        self._network = _load(Path(model))
        # The network keeps the size of its input.
        self._lock = threading.Lock()

    def detect(self, image: np.ndarray) -> list[Face]:
        """Find faces and their landmarks; see `Detector.detect`."""
        longest = max(image.shape[:2])
        scale = min(1.0, 2 * _SMALLEST / self.min_face_size, _MAX_SIDE / longest)
        faces = self._detect_scaled(image, scale)
        # Faces that are too large for the network are found in a smaller copy.
        if longest * scale > _LARGEST:
            faces += self._detect_scaled(image, _LARGEST / longest)
        return merge_detections([face for face in faces if max(face.box[2:]) >= self.min_face_size])

    def _detect_scaled(self, image: np.ndarray, scale: float) -> list[Face]:
        """Return the faces of an image that is resized by a factor."""
        resized = cv2.cvtColor(np.ascontiguousarray(to_rgb(rescale(image, scale))), cv2.COLOR_RGB2BGR)
        height, width = resized.shape[:2]
        if min(height, width) < _MIN_SIDE:
            return []
        with self._lock:
            self._network.setInputSize((width, height))
            self._network.setScoreThreshold(self.min_confidence)
            _, rows = self._network.detect(resized)
        faces = []
        for row in np.empty((0, 15)) if rows is None else rows.astype(float):
            points = (row[4:14] / scale).reshape(5, 2).tolist()
            landmarks = {name: (x, y) for name, (x, y) in zip(LANDMARKS, points, strict=True)}
            faces.append(Face(clip_box(row[:4] / scale, image), min(1.0, float(row[14])), landmarks))
        return faces


def _load(path: Path) -> Any:
    """Return OpenCV's detector."""
    if not path.is_file():
        raise FerlibError(f"{path}: there is no such file; --detector-model names a YuNet network (.onnx).")
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(0)
    try:
        return cv2.FaceDetectorYN.create(str(path), "", (320, 320))
    except (cv2.error, AttributeError) as error:
        raise FerlibError(f"{path} cannot be read as a YuNet network by OpenCV {cv2.__version__}.") from error
    finally:
        cv2.utils.logging.setLogLevel(level)
