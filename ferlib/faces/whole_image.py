"""No detection: the image is one face."""

import numpy as np

from ferlib.faces.base import Face


class WholeImage:
    """Treat the whole image as one face: for face crops such as those of FER2013."""

    def detect(self, image: np.ndarray) -> list[Face]:
        """Return one face of the image's size; see `Detector.detect`."""
        height, width = image.shape[:2]
        return [Face((0, 0, width, height), 1.0)]
