"""Cut faces out of the photographs of a dataset, and notice where that was forgotten."""

import numpy as np

from ferlib.core.crops import DEFAULT_CROP, CropGeometry, cut_face
from ferlib.core.images import resize
from ferlib.faces.base import Detector

# An image with a shorter side below this, in pixels, may be a face that was cut out before.
_MIN_SIDE = 96

# Faces are looked for in at most this many images, after shrinking them to at most this size.
_N_CHECKED, _CHECKED_SIDE = 16, 400

# In an image of a face, the face covers at least this fraction of the shorter side.
_SMALL_FACE = 0.45


class FaceCropper:
    """Return the largest face of a photograph, or None if none is found; for `ferlib.data.load_images`.

    Parameters
    ----------
    detector : Detector
    geometry : CropGeometry
        How the face is cut out: as in prediction by default.
    """

    #: That the images are cut out, which is recorded with the dataset.
    detects_faces = True

    def __init__(self, detector: Detector, *, geometry: CropGeometry = DEFAULT_CROP) -> None:
        self.detector = detector
        self.geometry = geometry

    def __call__(self, image: np.ndarray) -> np.ndarray | None:
        """Return the face in an image (H, W, C), uint8."""
        faces = self.detector.detect(image)
        if not faces:
            return None
        largest = max(faces, key=lambda face: face.box[2] * face.box[3])
        # A copy, because a view would keep the whole photograph in memory.
        return cut_face(image, largest.box, self.geometry, landmarks=largest.landmarks).copy()


class SnapshotCheck:
    """Return images as they are, and find out from some of them whether they are photographs with small faces.

    Parameters
    ----------
    detector : Detector
    """

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.n_seen = self.n_checked = self.n_small = 0
        self._next = 1

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Take note of an image (H, W, C), uint8, and return it."""
        self.n_seen += 1
        # At growing distances, so that a few images represent a dataset of any size.
        if self.n_seen >= self._next and self.n_checked < _N_CHECKED and min(image.shape[:2]) >= _MIN_SIDE:
            self._next = self.n_seen + max(1, self.n_seen // 2)
            self._check(image)
        return image

    def warning(self) -> str | None:
        """Return a sentence if most of the images seem to be photographs, else None."""
        if self.n_checked and self.n_small > self.n_checked / 2:
            return (
                f"In {self.n_small} of {self.n_checked} images that were checked the face is small: these seem to be "
                "whole photographs, which --detect cuts the faces out of."
            )
        return None

    def _check(self, image: np.ndarray) -> None:
        height, width = image.shape[:2]
        scale = min(1.0, _CHECKED_SIDE / max(height, width))
        small = resize(image, (max(1, round(height * scale)), max(1, round(width * scale))))
        faces = self.detector.detect(small)
        self.n_checked += 1
        if faces:
            largest = max(max(face.box[2:]) for face in faces)
            self.n_small += largest < _SMALL_FACE * min(small.shape[:2])
