"""The smallest face that is looked for in a video, chosen by what the first frames show."""

from collections.abc import Callable, Sequence

import numpy as np

from ferlib.faces.base import Face, RedetectingDetector

# Calls with the small size: with a detection every half second, about the first two seconds.
_N_FIRST = 5
# Faces that are surely some, and how much smaller they may become.
_SURE, _SHRINKING = 0.98, 0.7


class AdaptiveDetector:
    """A detector for one video that looks for small faces first, and then for faces as small as those it has found.

    Parameters
    ----------
    make : callable
        Takes the size of the smallest face in pixels and returns a detector.
    smallest, usual : int
        The size in the first five frames that are searched, and later: unless the first frames show smaller faces.
    """

    def __init__(self, make: Callable[[int], RedetectingDetector], *, smallest: int, usual: int) -> None:
        self._make, self._smallest, self._size = make, smallest, usual
        self._first = make(smallest)
        self._later: RedetectingDetector | None = None
        self._n_calls = 0

    def detect(self, image: np.ndarray) -> list[Face]:
        """Find the faces in one frame; see `Detector.detect`."""
        self._n_calls += 1
        if self._n_calls > _N_FIRST:
            if self._later is None:
                self._later = self._make(self._size)
            return self._later.detect(image)
        faces = self._first.detect(image)
        for face in faces:
            if face.confidence >= _SURE:
                self._size = max(self._smallest, min(self._size, round(max(face.box[2:]) * _SHRINKING)))
        return faces

    def redetect(self, image: np.ndarray, faces: Sequence[Face]) -> list[Face | None]:
        """Update known faces, which may be of any size; see `RedetectingDetector.redetect`."""
        return self._first.redetect(image, faces)
