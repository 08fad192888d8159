"""Face detectors behind one interface: an image in, a list of faces out, from left to right."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from ferlib.core.errors import FerlibError
from ferlib.core.images import resize, to_gray, to_rgb
from ferlib.faces.mtcnn import THRESHOLDS, Cascade

#: The detectors that `make_detector` knows by name.
DETECTORS = ("mtcnn", "haar", "none")

#: The smallest face, in pixels, that detectors look for unless told otherwise.
MIN_FACE_SIZE = 20

#: The least that MTCNN's last network has to give a face, unless told otherwise.
MIN_CONFIDENCE = 0.9

# Where a face was a moment ago, this much is enough: turned aside, or half hidden, it stays the same face.
_STILL_A_FACE = 0.5

# Of two boxes, the less certain goes when they share more than this fraction of the smaller one.
_MAX_OVERLAP = 0.6

# The pyramid is sound for faces of this many pixels, and only from this many pixels a side.
_MTCNN_FACE = 20
_MTCNN_SIDE = 24
# Shorter sides are enlarged to this first, or a face that fills a tiny image has no level of the pyramid.
_MTCNN_COMFORTABLE_SIDE = 48


@dataclass(frozen=True)
class Face:
    """A face found in an image.

    Attributes
    ----------
    box : tuple of int
        x, y, width, height in pixels, origin top left, wholly inside the image.
    confidence : float
        The detector's own, 0 to 1. MTCNN: its last network's probability of a face. Haar: ``n / (n + 3)`` for `n`
        agreeing windows, which ranks faces but is no probability. Whole image: 1.
    landmarks : dict or None
        ``left_eye``, ``right_eye``, ``nose``, ``mouth_left``, ``mouth_right``, each (x, y) in pixels; None when the
        detector knows none. Left and right are as the viewer sees the image: ``left_eye`` is the eye nearer to the
        image's left edge when the head is upright, which is the person's own right eye.
    """

    box: tuple[int, int, int, int]
    confidence: float
    landmarks: dict[str, tuple[float, float]] | None = None


class Detector(Protocol):
    """What every detector answers."""

    def detect(self, image: np.ndarray) -> list[Face]:
        """Find the faces of one image.

        Parameters
        ----------
        image : ndarray of shape (H, W, 1) or (H, W, 3), dtype uint8
            Gray or RGB, of any size.

        Returns
        -------
        list of Face
            From left to right (by the box's x, then its y); empty when there is none.
        """
        ...


def make_detector(
    name: str = "mtcnn",
    *,
    min_face_size: int = MIN_FACE_SIZE,
    min_confidence: float = MIN_CONFIDENCE,
    n_threads: int = 0,
) -> Detector:
    """Return a detector by name; what it needs is loaded at its first image.

    Parameters
    ----------
    name : str
        ``"mtcnn"`` (most accurate), ``"haar"`` (frontal faces only) or ``"none"`` (the whole
        image is the face).
    min_face_size : int
        Smaller faces, in pixels of the image, are not looked for; ``"none"`` ignores it.
    min_confidence : float
        Faces that MTCNN gives less than this are left out, 0 to 1; the other detectors ignore it.
    n_threads : int
        Of MTCNN; 0 leaves the choice to ONNX Runtime.

    Raises
    ------
    ValueError
        The name is unknown, or `min_face_size` is below 1.

    Examples
    --------
    >>> make_detector("none").detect(np.zeros((48, 64, 1), np.uint8))
    [Face(box=(0, 0, 64, 48), confidence=1.0, landmarks=None)]
    """
    if min_face_size < 1:
        raise ValueError(f"min_face_size must be at least 1 pixel, got {min_face_size}")
    if name == "mtcnn":
        return MtcnnDetector(min_face_size=min_face_size, min_confidence=min_confidence, n_threads=n_threads)
    if name == "haar":
        return HaarDetector(min_face_size=min_face_size)
    if name == "none":
        return WholeImage()
    raise ValueError(f"'{name}' is not a detector; expected one of {', '.join(DETECTORS)}")


def match_box(faces: Sequence[Face], box: tuple[float, float, float, float], *, min_iou: float = 0.3) -> Face | None:
    """Return the face that a known box is of: the one that overlaps it most, None if none does enough.

    Parameters
    ----------
    faces : sequence of Face
    box : tuple of float
        x, y, width, height in pixels.
    min_iou : float
        The least common area, as a fraction of the area of both together.
    """
    best = max(faces, key=lambda face: iou(face.box, box), default=None)
    return best if best is not None and iou(best.box, box) >= min_iou else None


def iou(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Return the common area of two boxes as a fraction of the area of both together (IoU)."""
    common = _common_area(a, b)
    return common / (a[2] * a[3] + b[2] * b[3] - common)


class WholeImage:
    """Take the whole image as one face: for crops such as those of FER2013."""

    def detect(self, image: np.ndarray) -> list[Face]:
        """Return one face as large as the image; see `Detector.detect`."""
        height, width = image.shape[:2]
        return [Face((0, 0, width, height), 1.0)]


class HaarDetector:
    """Viola and Jones's cascade of Haar features, as trained by OpenCV: frontal and upright faces only.

    Parameters
    ----------
    min_face_size : int
        Smaller faces, in pixels, are not looked for (the cascade itself finds none below 20).
    min_neighbors : int
        How many overlapping windows must agree on a face; more means fewer faces and fewer mistakes.
    max_side : int
        Larger images are searched at this many pixels on the longer side: the more windows there are to look at, the
        more of them are taken for a face by mistake.

    Notes
    -----
    Of OpenCV's three frontal cascades (with 3 to 5 neighbors, with and without equalized gray levels), ``alt2`` with 3
    found the most faces of a few group photos, 18 of 21, among those that took nothing else for a face.

    References
    ----------
    P. Viola, M. Jones. Rapid Object Detection using a Boosted Cascade of Simple Features. CVPR, 2001.
    """

    def __init__(self, *, min_face_size: int = MIN_FACE_SIZE, min_neighbors: int = 3, max_side: int = 1000):
        self.min_face_size = min_face_size
        self.min_neighbors = min_neighbors
        self.max_side = max_side

    def detect(self, image: np.ndarray) -> list[Face]:
        """Find frontal faces; see `Detector.detect`.

        Raises
        ------
        FerlibError
            The installed OpenCV has no cascade classifier.
        """
        scale = min(1.0, self.max_side / max(image.shape[:2]))
        small = to_gray(_rescale(image, scale))[..., 0]
        shortest = max(1, round(self.min_face_size * scale))
        boxes, agreeing = self._cascade.detectMultiScale2(
            small, scaleFactor=1.1, minNeighbors=self.min_neighbors, minSize=(shortest, shortest)
        )
        found = [
            Face(_clip_box(np.asarray(box) / scale, image), int(count) / (int(count) + 3))
            for box, count in zip(boxes, agreeing, strict=True)
        ]
        return _arrange(found)

    @functools.cached_property
    def _cascade(self) -> Any:
        """OpenCV's frontal-face cascade."""
        if not hasattr(cv2, "CascadeClassifier"):
            raise FerlibError(f"OpenCV {cv2.__version__} has no Haar cascades; install opencv-python below version 5.")
        path = Path(cv2.data.haarcascades) / "haarcascade_frontalface_alt2.xml"
        if not path.is_file():
            raise FerlibError(f"OpenCV's Haar cascade {path} is missing; install opencv-python again.")
        return cv2.CascadeClassifier(str(path))


class MtcnnDetector:
    """The multi-task cascaded networks of Zhang et al., on ONNX Runtime; see `ferlib.faces.mtcnn`.

    Parameters
    ----------
    min_face_size : int
        Faces whose box's longer side is shorter than this, in pixels of the image, are left out.
    min_confidence : float
        Faces that the last network gives less than this are left out, 0 to 1.
    max_side : int
        Larger images are searched at this many pixels on the longer side, which raises the smallest face that can be
        found in them accordingly.
    n_threads : int
        Of ONNX Runtime; 0 leaves it the choice.

    Notes
    -----
    A wanted `min_face_size` resizes the image rather than the pyramid, which is sound for faces of 20 pixels.

    References
    ----------
    K. Zhang, Z. Zhang, Z. Li, Y. Qiao. Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
    Networks. IEEE Signal Processing Letters 23(10), 2016.
    """

    def __init__(
        self,
        *,
        min_face_size: int = MIN_FACE_SIZE,
        min_confidence: float = MIN_CONFIDENCE,
        max_side: int = 1600,
        n_threads: int = 0,
    ):
        self.min_face_size = min_face_size
        self.min_confidence = min_confidence
        self.max_side = max_side
        self.n_threads = n_threads

    def detect(self, image: np.ndarray) -> list[Face]:
        """Find faces and their landmarks; see `Detector.detect`.

        An image that stays under 24 pixels on one side even when it is enlarged holds no face.
        """
        scale = self._scale(*image.shape[:2])
        resized = to_rgb(_rescale(image, scale))
        if min(resized.shape[:2]) < _MTCNN_SIDE:
            return []
        found = [_mtcnn_face(row, scale, image) for row in self._cascade.detect(resized)]
        return _arrange([face for face in found if max(face.box[2:]) >= self.min_face_size])

    def follow(self, image: np.ndarray, faces: Sequence[Face]) -> list[Face | None]:
        """Look again where faces were a moment ago; much quicker than `detect`, and blind to new faces.

        Parameters
        ----------
        image : ndarray of shape (H, W, 1) or (H, W, 3), dtype uint8
            The next frame of a video.
        faces : sequence of Face
            What was found in the frame before.

        Returns
        -------
        list of Face or None
            In the same order; None where no face is any more.
        """
        corners = np.array([(x, y, x + width, y + height) for x, y, width, height in (face.box for face in faces)])
        rows = self._cascade.follow(to_rgb(image), corners.reshape(-1, 4))
        return [_mtcnn_face(row, 1.0, image) if row[4] > _STILL_A_FACE else None for row in rows]

    def _scale(self, height: int, width: int) -> float:
        """Return what to resize an image by, so that the pyramid's smallest face is the wanted one."""
        scale = max(_MTCNN_FACE / self.min_face_size, _MTCNN_COMFORTABLE_SIDE / min(height, width))
        return min(scale, self.max_side / max(height, width))

    @functools.cached_property
    def _cascade(self) -> Cascade:
        """The networks."""
        return Cascade(
            min_face_size=_MTCNN_FACE, thresholds=(*THRESHOLDS[:2], self.min_confidence), n_threads=self.n_threads
        )


def _rescale(image: np.ndarray, scale: float) -> np.ndarray:
    """Resize (H, W, C) by a factor, to one pixel at least."""
    height, width = image.shape[:2]
    return resize(image, (max(1, round(height * scale)), max(1, round(width * scale))))


def _mtcnn_face(row: np.ndarray, scale: float, image: np.ndarray) -> Face:
    """Return a face from one row of the cascade: x0, y0, x1, y1, probability, five x, five y."""
    x0, y0, x1, y1 = row[:4] / scale
    points = row[5:15].reshape(2, 5).T / scale
    names = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
    landmarks = {name: (float(x), float(y)) for name, (x, y) in zip(names, points, strict=True)}
    return Face(_clip_box((x0, y0, x1 - x0, y1 - y0), image), float(row[4]), landmarks)


def _clip_box(box: Any, image: np.ndarray) -> tuple[int, int, int, int]:
    """Round a box to whole pixels and keep it inside the image, at least one pixel large."""
    height, width = image.shape[:2]
    x, y, w, h = (round(float(value)) for value in box)
    x0, y0 = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
    x1, y1 = min(max(x + w, x0 + 1), width), min(max(y + h, y0 + 1), height)
    return x0, y0, x1 - x0, y1 - y0


def _arrange(faces: list[Face]) -> list[Face]:
    """Drop the less certain of two boxes on one face; sort what stays from left to right."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.confidence):
        if all(_share_of_smaller(face.box, other.box) <= _MAX_OVERLAP for other in kept):
            kept.append(face)
    return sorted(kept, key=lambda face: face.box)


def _share_of_smaller(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Return the common area of two boxes as a fraction of the smaller one."""
    return _common_area(a, b) / min(a[2] * a[3], b[2] * b[3])


def _common_area(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Return the common area of two boxes."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(0, width) * max(0, height)
