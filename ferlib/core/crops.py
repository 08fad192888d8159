"""Cut a face out of an image, in the geometry in which a model sees faces: for training, evaluation and prediction."""

import cmath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from ferlib.core.boxes import Box
from ferlib.core.images import window
from ferlib.core.records import Record

CropMethod = Literal["square", "landmarks"]

# Where FER2013's images of 48 x 48 pixels have the eyes, the nose and the corners of the mouth: medians of what MTCNN
# finds in PublicTest, after enlarging the images.
_LANDMARKS = {
    "left_eye": 14.5 + 17.7j,
    "right_eye": 32.4 + 17.2j,
    "nose": 23.5 + 27.9j,
    "mouth_left": 16.4 + 37.4j,
    "mouth_right": 31.1 + 37.1j,
}
_SIDE = 48

# Landmarks of faces in profile are so close to each other that the square would be smaller than this fraction of the
# box; then the box decides.
_MIN_SCALE = 0.5

_MAX_MARGIN = 2.0


@dataclass(frozen=True, kw_only=True)
class CropGeometry(Record):
    """How a face is cut out of an image: always a square, never stretched.

    Attributes
    ----------
    method : {"square", "landmarks"}
        A square with the center of the face's box and its longer side; or a square in which the landmarks come closest
        to their places in FER2013's images, turned so that the eyes are level. Without landmarks it is the former.
    margin : float
        Fraction of the square that is added on each side.
    """

    method: CropMethod = "square"
    margin: float = 0.075

    def __post_init__(self) -> None:
        """Check the margin, which may come from a stranger's file."""
        if not -0.4 <= self.margin <= _MAX_MARGIN:
            raise ValueError(f"the crop margin must be from -0.4 to {_MAX_MARGIN:g}, got {self.margin}")


#: The geometry of prediction for models that were trained on faces in FER2013's geometry, chosen by
#: ``tools/crop_experiment.py``.
DEFAULT_CROP = CropGeometry()


def cut_face(
    image: np.ndarray,
    box: Box,
    geometry: CropGeometry = DEFAULT_CROP,
    *,
    landmarks: Mapping[str, tuple[float, float]] | None = None,
) -> np.ndarray:
    """Return a face as a square image.

    Outside of the image, pixels are mirrored at its edge. An image that the box covers completely is a face that was
    cut out before, and is returned as it is.

    Parameters
    ----------
    image : ndarray of shape (H, W, C), dtype uint8
    box : tuple of float
        x, y, width, height in pixels, origin top left. A box that is completely outside the image is a ValueError.
    geometry : CropGeometry
    landmarks : mapping, optional
        Names of points, as in `ferlib.faces.Face`, to (x, y) in pixels.

    Returns
    -------
    ndarray of shape (side, side, C), or the image itself, dtype uint8
        At least one pixel; a view of the image where the square is inside.
    """
    height, width = image.shape[:2]
    x, y, w, h = box
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        raise ValueError(f"box {tuple(box)} lies outside an image of {width} x {height} pixels")
    if x <= 0 and y <= 0 and x + w >= width and y + h >= height:
        return image
    scale = 1 + 2 * geometry.margin
    if geometry.method == "landmarks" and landmarks is not None:
        place = _align(landmarks)
        if abs(place[1]) * _SIDE >= _MIN_SCALE * max(w, h):
            return _cut_turned(image, *place, scale)
    side = max(1, round(scale * max(w, h)))
    return window(image, round(x + w / 2 - side / 2), round(y + h / 2 - side / 2), side, side)


def _align(landmarks: Mapping[str, tuple[float, float]]) -> tuple[complex, complex]:
    """Return where a face's square is: its center, and the image's pixels per pixel of FER2013's, turned.

    Points are complex numbers, x + iy, so that a scale and a turn are one factor. It is the least-squares solution.

    References
    ----------
    S. Umeyama, "Least-Squares Estimation of Transformation Parameters Between Two Point Patterns", PAMI 1991.
    """
    found = np.array([complex(*landmarks[name]) for name in _LANDMARKS])
    wanted = np.array(list(_LANDMARKS.values()))
    deviations = wanted - wanted.mean()
    factor = (deviations.conj() * found).sum() / (abs(deviations) ** 2).sum()
    return found.mean() + (complex(_SIDE, _SIDE) / 2 - wanted.mean()) * factor, factor


def _cut_turned(image: np.ndarray, center: complex, factor: complex, scale: float) -> np.ndarray:
    """Return a turned square around a center, in the image's own resolution."""
    side = max(1, round(abs(factor) * _SIDE * scale))
    turn = cmath.exp(1j * cmath.phase(factor))
    # Pixel (i, j) of the square has its center at i + 0.5, j + 0.5; OpenCV counts from the pixels' centers.
    corner = center + (complex(1, 1) * (0.5 - side / 2)) * turn - complex(0.5, 0.5)
    matrix = np.array([[turn.real, -turn.imag, corner.real], [turn.imag, turn.real, corner.imag]])
    turned = cv2.warpAffine(
        image,
        matrix,
        (side, side),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return turned.reshape(side, side, image.shape[2])
