"""Join a face detector and an emotion classifier: a picture in, faces with their emotions out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from ferlib import images
from ferlib.faces import Detector, Face

#: How much of a face's box is added on each side before the emotion is read.
DEFAULT_MARGIN = 0.0


class EmotionClassifier(Protocol):
    """What a loaded run folder offers here (`ferlib.artifacts.load_classifier`)."""

    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    channels: int

    def predict_proba(self, images: np.ndarray) -> np.ndarray:
        """Return (n, n_classes) probabilities of uint8 pictures (n, H, W, C)."""
        ...


@dataclass(frozen=True)
class FaceEmotion:
    """A face and the emotion that it seems to show.

    Attributes
    ----------
    face : Face
        Where it is.
    emotion : str
        The most probable emotion.
    probability : float
        That emotion's probability, 0 to 1.
    probabilities : dict
        Every class's probability by name, in the classifier's order; they sum to 1.
    """

    face: Face
    emotion: str
    probability: float
    probabilities: dict[str, float]


@dataclass(frozen=True)
class PictureResult:
    """What one picture gave.

    Attributes
    ----------
    path : Path
        The picture's file, as it was named.
    image_size : tuple of int
        (height, width) in pixels, upright.
    faces : tuple of FaceEmotion
        From left to right; empty when no face was found.
    """

    path: Path
    image_size: tuple[int, int]
    faces: tuple[FaceEmotion, ...]


class EmotionRecognizer:
    """Find the faces of a picture and read each one's emotion.

    Parameters
    ----------
    detector : Detector
        See `ferlib.faces.make_detector`.
    classifier : EmotionClassifier
        See `ferlib.artifacts.load_classifier`.
    margin : float
        How much to add to a face's box on each side, as a fraction of its width and height.
    """

    def __init__(self, detector: Detector, classifier: EmotionClassifier, *, margin: float = DEFAULT_MARGIN):
        self.detector = detector
        self.classifier = classifier
        self.margin = margin

    def recognize(self, image: np.ndarray) -> tuple[FaceEmotion, ...]:
        """Return the faces of one picture with their emotions.

        Parameters
        ----------
        image : ndarray of shape (H, W, 1) or (H, W, 3), dtype uint8
            Grey or RGB, upright.

        Returns
        -------
        tuple of FaceEmotion
            From left to right; empty when no face was found.
        """
        faces = self.detector.detect(image)
        probabilities = self.predict_faces(image, faces)
        return tuple(self._describe(face, row) for face, row in zip(faces, probabilities, strict=True))

    def predict_faces(self, image: np.ndarray, faces: Sequence[Face]) -> np.ndarray:
        """Return the emotions' probabilities of faces that are known already.

        Parameters
        ----------
        image : ndarray of shape (H, W, 1) or (H, W, 3), dtype uint8
        faces : sequence of Face

        Returns
        -------
        ndarray of shape (n_faces, n_classes), dtype float32
        """
        if not faces:
            return np.empty((0, len(self.classifier.class_names)), np.float32)
        return self.classifier.predict_proba(np.concatenate([self._crop(image, face) for face in faces]))

    def _crop(self, image: np.ndarray, face: Face) -> np.ndarray:
        """Cut a face out as the classifier's input, (1, h, w, C) uint8, on the path that training pictures take."""
        part = images.crop(image, face.box, margin=self.margin)
        return images.fit_to_model(
            part[np.newaxis], image_size=self.classifier.image_size, channels=self.classifier.channels
        )

    def _describe(self, face: Face, probabilities: np.ndarray) -> FaceEmotion:
        """Name the most probable of (n_classes,) probabilities."""
        by_name = dict(zip(self.classifier.class_names, probabilities.tolist(), strict=True))
        emotion = max(by_name, key=by_name.__getitem__)
        return FaceEmotion(face, emotion, by_name[emotion], by_name)
