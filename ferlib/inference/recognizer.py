"""Join a face detector and an emotion classifier: an image in, faces with their emotions out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

from ferlib.core.images import as_image, crop, fit_to_model, read_image
from ferlib.faces import MIN_CONFIDENCE, MIN_FACE_SIZE, Detector, Face, make_detector
from ferlib.runs.classifier import load_classifier

if TYPE_CHECKING:
    import pandas as pd

#: How much of a face's box is added on each side before the emotion is read. Of -0.05 to 0.3,
#: margins from 0 to 0.1 do best on the faces that MTCNN finds on the sample of ExpW's photographs, alike but for chance
#: (``benchmarks/expw_pipeline.py``: 39.8, 39.3 and 39.3 %); at 0.2 it is 37.4 %.
DEFAULT_MARGIN = 0.05

#: What a face is said to show when no emotion is probable enough.
UNCERTAIN = "uncertain"


class EmotionClassifier(Protocol):
    """What a loaded run folder offers here (`ferlib.runs.folder.load_classifier`)."""

    name: str
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    channels: int

    def predict_proba(self, images: np.ndarray) -> np.ndarray:
        """Return (n, n_classes) probabilities of uint8 images (n, H, W, C)."""
        ...


@dataclass(frozen=True)
class FaceEmotion:
    """A face and the emotion that it seems to show.

    Attributes
    ----------
    face : Face
        Where it is.
    emotion : str
        The most probable emotion, or `UNCERTAIN`.
    probability : float
        The largest probability, 0 to 1.
    probabilities : dict
        Every class's probability by name, in the classifier's order; they sum to 1.
    person : int or None
        Whose face it is, from 1, the same in all frames of a video; None in an image.
    """

    face: Face
    emotion: str
    probability: float
    probabilities: dict[str, float]
    person: int | None = None


@dataclass(frozen=True)
class ImageResult:
    """What one image, or one frame of a video, gave.

    Attributes
    ----------
    path : Path
        The file, as it was named.
    image_size : tuple of int
        (height, width) in pixels, upright.
    faces : tuple of FaceEmotion
        From left to right; empty when no face was found.
    frame : int or None
        The frame's number in its video, from 0.
    time : float or None
        Seconds from the video's first frame.
    """

    path: Path
    image_size: tuple[int, int]
    faces: tuple[FaceEmotion, ...]
    frame: int | None = None
    time: float | None = None


class EmotionRecognizer:
    """Find the faces of an image and read each one's emotion.

    Parameters
    ----------
    detector : str or Detector
        A name of `ferlib.faces.DETECTORS`, or a detector.
    classifier : path, EmotionClassifier or None
        A run's folder, or a loaded one; the delivered model when None.
    margin : float
        How much to add to a face's box on each side, as a fraction of its width and height.
    min_probability : float
        A face without an emotion of at least this probability is `UNCERTAIN`.
    min_face_size, min_confidence, n_threads
        Of a detector given by its name; see `ferlib.faces.make_detector`. The threads are the classifier's too.

    Raises
    ------
    ValueError
        The detector is unknown.
    ArtifactError
        The run's folder holds no model that can be loaded.

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
        classifier: str | Path | EmotionClassifier | None = None,
        *,
        margin: float = DEFAULT_MARGIN,
        min_probability: float = 0.0,
        min_face_size: int = MIN_FACE_SIZE,
        min_confidence: float = MIN_CONFIDENCE,
        n_threads: int = 0,
    ):
        if isinstance(detector, str):
            detector = make_detector(
                detector, min_face_size=min_face_size, min_confidence=min_confidence, n_threads=n_threads
            )
        if classifier is None or isinstance(classifier, str | Path):
            classifier = load_classifier(classifier, n_threads=n_threads)
        self.detector = detector
        self.classifier = classifier
        self.margin = margin
        self.min_probability = min_probability

    def recognize(self, image: np.ndarray | Image.Image | str | Path) -> tuple[FaceEmotion, ...]:
        """Return the faces of one image with their emotions.

        Parameters
        ----------
        image : ndarray of shape (H, W), (H, W, 1) or (H, W, 3), dtype uint8; Pillow image; or path
            Gray or RGB, upright. A file is read as `ferlib.core.images.read_image` does.

        Returns
        -------
        tuple of FaceEmotion
            From left to right; empty when no face was found.

        Raises
        ------
        ImageError
            A file cannot be read as an image.
        ValueError
            An array has another shape or dtype.
        """
        return self.recognize_all([image])[0]

    def recognize_all(self, images: Sequence[np.ndarray | Image.Image | str | Path]) -> list[tuple[FaceEmotion, ...]]:
        """Return for each image what `recognize` does; the faces of all go through the classifier together.

        Quicker than one by one where images are many and small. All of them are in memory at the same time.
        """
        arrays = [as_image(image) for image in images]
        faces = [self.detector.detect(image) for image in arrays]
        crops = [self._crop(image, face) for image, found in zip(arrays, faces, strict=True) for face in found]
        rows = iter(self._predict(crops))
        return [tuple(self.describe(face, next(rows)) for face in found) for found in faces]

    def tabulate(self, images: Iterable[str | Path]) -> "pd.DataFrame":
        """Return one row a face for the images of some files, with the columns of `ferlib.inference.face_rows`."""
        import pandas as pd

        from ferlib.inference.sinks import face_columns, face_rows, image_record

        rows = []
        for path in images:
            image = read_image(path)
            result = ImageResult(Path(path), image.shape[:2], self.recognize(image))
            rows += face_rows(image_record(result))
        return pd.DataFrame(rows, columns=face_columns(self.classifier.class_names))

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
        return self._predict([self._crop(image, face) for face in faces])

    def describe(self, face: Face, probabilities: np.ndarray) -> FaceEmotion:
        """Name the most probable of (n_classes,) probabilities."""
        by_name = dict(zip(self.classifier.class_names, probabilities.tolist(), strict=True))
        emotion = max(by_name, key=by_name.__getitem__)
        probability = by_name[emotion]
        return FaceEmotion(face, emotion if probability >= self.min_probability else UNCERTAIN, probability, by_name)

    def _predict(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Return the probabilities (n, n_classes) of crops, each (1, h, w, C)."""
        if not crops:
            return np.empty((0, len(self.classifier.class_names)), np.float32)
        return self.classifier.predict_proba(np.concatenate(crops))

    def _crop(self, image: np.ndarray, face: Face) -> np.ndarray:
        """Cut a face out as the classifier's input, (1, h, w, C) uint8, on the path that training images take."""
        part = crop(image, face.box, margin=self.margin)
        return fit_to_model(part[np.newaxis], image_size=self.classifier.image_size, channels=self.classifier.channels)
