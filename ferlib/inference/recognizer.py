"""Combine a face detector and an emotion classifier: an image in, faces with emotions out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from ferlib.core.crops import DEFAULT_CROP, CropGeometry, cut_face
from ferlib.core.images import ImageLike, as_image, fit_to_model
from ferlib.faces import MIN_CONFIDENCE, Detector, Face, make_detector
from ferlib.faces.base import turn_back
from ferlib.inference.results import UNCERTAIN, FaceEmotion
from ferlib.runs.classifier import Classifier, load_classifier
from ferlib.runs.folder import PretrainedName
from ferlib.runs.prior import ClassPrior, apply_prior
from ferlib.runs.records import TestTimeAugmentation

#: The class prior of prediction; see `ferlib.runs.prior`.
DEFAULT_PRIOR = "photographs"

#: Whether images without a face are also searched turned.
Rotation = Literal["none", "auto"]


class EmotionRecognizer:
    """Detect the faces of an image and classify their expressions.

    One recognizer may be used by several threads.

    Parameters
    ----------
    detector : str or Detector
        A name for `ferlib.faces.make_detector`, or a detector.
    classifier : path, Classifier or None
        A run folder, or a loaded run; a pretrained model if None.
    model : {"default", "fast"}
        The pretrained model: the most accurate, or the one that classifies the most faces per second.
    test_time_augmentation : {"none", "flip", "ten_crop"}, optional
        The views of a face whose probabilities are averaged, instead of the run's own; for a classifier that is loaded
        here.
    crop_margin : float, optional
        Fraction of the square around a face's box that is added on each side, instead of the classifier's own margin;
        see `ferlib.core.crops.CropGeometry`.
    prior : str, sequence of float or ClassPrior
        How frequent each emotion is among the faces: ``"photographs"`` (the shares of ExpW), ``"training"`` (those of
        the training data), or one share per class in the classifier's order; see `ferlib.runs.prior.make_prior`.
    min_probability : float
        A face whose most probable emotion has a lower probability is `UNCERTAIN`.
    rotate : {"none", "auto"}
        With "auto", an image without a face is also searched turned by 90, 180 and 270 degrees. Boxes and landmarks are
        those in the image as it is.
    detector_model, min_face_size, min_confidence, n_threads
        Of a detector given by its name; see `ferlib.faces.make_detector`. `n_threads` also applies to the classifier.

    Raises
    ------
    ValueError
        The detector is unknown, or `test_time_augmentation` is given with a loaded classifier.
    ArtifactError
        The run folder has no model that can be loaded, or ferlib does not ship the pretrained model.
    OptionError
        The prior is not one for this classifier, or the name of the pretrained model is unknown.

    Examples
    --------
    >>> from matplotlib import cbook
    >>> recognizer = EmotionRecognizer()
    >>> [face] = recognizer.recognize(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    >>> face.face.box, len(face.probabilities)
    ((178, 110, 173, 220), 7)
    """

    def __init__(
        self,
        detector: str | Detector = "mtcnn",
        classifier: str | Path | Classifier | None = None,
        *,
        model: PretrainedName = "default",
        prior: str | Sequence[float] | ClassPrior = DEFAULT_PRIOR,
        test_time_augmentation: TestTimeAugmentation | None = None,
        crop_margin: float | None = None,
        min_probability: float = 0.0,
        rotate: Rotation = "none",
        detector_model: str | Path | None = None,
        min_face_size: int | None = None,
        min_confidence: float = MIN_CONFIDENCE,
        n_threads: int = 0,
    ) -> None:
        if isinstance(detector, str):
            detector = make_detector(
                detector,
                model=detector_model,
                min_face_size=min_face_size,
                min_confidence=min_confidence,
                n_threads=n_threads,
            )
        if classifier is None or isinstance(classifier, str | Path):
            classifier = load_classifier(
                classifier, model=model, test_time_augmentation=test_time_augmentation, n_threads=n_threads
            )
        elif test_time_augmentation is not None:
            raise ValueError("test_time_augmentation belongs to load_classifier if the classifier is loaded")
        self.detector: Detector = detector
        self.classifier, self.prior = apply_prior(classifier, prior)
        # A classifier of one's own need not know its geometry.
        geometry: CropGeometry = getattr(classifier, "crop", DEFAULT_CROP)
        self.crop = geometry if crop_margin is None else replace(geometry, margin=crop_margin)
        self.min_probability = min_probability
        self.rotate = rotate

    def recognize(self, image: ImageLike) -> tuple[FaceEmotion, ...]:
        """Return the faces of an image with their emotions, from left to right; empty if no face is found.

        Parameters
        ----------
        image : path, bytes, binary file, Pillow image, or ndarray of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)
            Arrays are gray, RGB or RGBA, upright, uint8 from 0 to 255 or floats from 0 to 1. OpenCV's are BGR: pass
            ``array[..., ::-1]``. Bytes and files hold an encoded image such as a JPEG; see
            `ferlib.core.images.as_image`.

        Raises
        ------
        ImageError
            A file or bytes cannot be read as an image.
        ValueError
            What is given is not an image.
        """
        return self.recognize_all([image])[0]

    def recognize_all(self, images: Sequence[ImageLike]) -> list[tuple[FaceEmotion, ...]]:
        """Return the faces of several images, which is faster than one call per image if they are small.

        All images are in memory at the same time. See `recognize`.
        """
        if isinstance(images, str | bytes | Path):
            raise ValueError(f"recognize_all takes several images, got {type(images).__name__}; recognize takes one")
        arrays = [as_image(image) for image in images]
        found = [self._detect(image) for image in arrays]
        crops = [
            self._crop(np.rot90(image, turns), face)
            for image, (turns, faces) in zip(arrays, found, strict=True)
            for face in faces
        ]
        rows = iter(self._predict(crops))
        results = []
        for image, (turns, faces) in zip(arrays, found, strict=True):
            size = (image.shape[0], image.shape[1])
            described = [self.describe(turn_back(face, turns, size), next(rows)) for face in faces]
            results.append(tuple(sorted(described, key=lambda item: item.face.box)))
        return results

    def _detect(self, image: np.ndarray) -> tuple[int, list[Face]]:
        """Return by how many quarter turns (`numpy.rot90`) an image becomes upright, and its faces after them."""
        faces = self.detector.detect(image)
        if faces or self.rotate == "none":
            return 0, faces
        turned = [(turns, self.detector.detect(np.ascontiguousarray(np.rot90(image, turns)))) for turns in (1, 2, 3)]
        return max(turned, key=lambda item: sum(face.confidence for face in item[1]))

    def prepare_faces(self, image: np.ndarray, faces: Sequence[Face]) -> np.ndarray:
        """Return what the classifier gets for known faces of an image (H, W, C): uint8 (n_faces, h, w, channels)."""
        empty = np.empty((0, *self.classifier.image_size, self.classifier.channels), np.uint8)
        return np.concatenate([empty, *(self._crop(image, face) for face in faces)])

    def predict_faces(self, image: np.ndarray, faces: Sequence[Face]) -> np.ndarray:
        """Return the probabilities (n_faces, n_classes), float32, of known faces of an image (H, W, C), uint8.

        They are the classifier's, under its training prior; `describe` applies the recognizer's.
        """
        return self._predict([self._crop(image, face) for face in faces])

    def describe(self, face: Face, probabilities: np.ndarray) -> FaceEmotion:
        """Return a face with its most probable emotion, given its probabilities (n_classes,) of `predict_faces`.

        The prior is applied here, so after any averaging of the probabilities of several frames.
        """
        by_name = dict(zip(self.classifier.class_names, self.prior.apply(probabilities).tolist(), strict=True))
        emotion = max(by_name, key=by_name.__getitem__)
        probability = by_name[emotion]
        return FaceEmotion(face, emotion if probability >= self.min_probability else UNCERTAIN, probability, by_name)

    def _predict(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Return probabilities (n, n_classes) of crops, each (1, h, w, C)."""
        if not crops:
            return np.empty((0, len(self.classifier.class_names)), np.float32)
        return self.classifier.predict_proba(np.concatenate(crops))

    def _crop(self, image: np.ndarray, face: Face) -> np.ndarray:
        """Return a face as the classifier's input, (1, h, w, C) uint8, preprocessed as training images are."""
        part = cut_face(image, face.box, self.crop, landmarks=face.landmarks)
        return fit_to_model(part[np.newaxis], image_size=self.classifier.image_size, channels=self.classifier.channels)
