from dataclasses import dataclass

import numpy as np
import pytest

from ferlib.emotions import EMOTIONS
from ferlib.faces import Face, make_detector
from ferlib.images import crop, fit_to_model
from ferlib.inference import EmotionRecognizer

SCENE = np.random.default_rng(3).integers(0, 256, (90, 120, 3), dtype=np.uint8)
FACES = [Face((5, 10, 30, 40), 0.99), Face((60, 20, 50, 60), 0.95), Face((110, 80, 10, 10), 0.9)]


class BrightnessClassifier:
    """A classifier whose answer depends on each pixel of its input: the brighter, the later the emotion."""

    class_names = EMOTIONS
    image_size = (48, 48)

    def __init__(self, channels=1):
        self.channels = channels

    def predict_proba(self, images):
        assert images.shape[1:] == (48, 48, self.channels)
        level = images.reshape(len(images), -1).astype(np.float32) @ np.linspace(0.5, 1.5, images[0].size) / 48**2
        values = np.exp(-((np.arange(7) * 36.0 - level[:, None] / self.channels) ** 2) / 2000)
        return (values / values.sum(1, keepdims=True)).astype(np.float32)


@dataclass
class KnownFaces:
    faces: list[Face]

    def detect(self, image):
        return self.faces


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("margin", [0.0, 0.25])
def test_faces_reach_the_classifier_as_training_pictures_do(channels, margin):
    classifier = BrightnessClassifier(channels)
    results = EmotionRecognizer(KnownFaces(FACES), classifier, margin=margin).recognize(SCENE)
    assert [result.face for result in results] == FACES
    for face, result in zip(FACES, results, strict=True):
        part = crop(SCENE, face.box, margin=margin)[np.newaxis]
        (expected,) = classifier.predict_proba(fit_to_model(part, image_size=(48, 48), channels=channels))
        assert list(result.probabilities) == list(EMOTIONS)
        np.testing.assert_allclose(list(result.probabilities.values()), expected, rtol=1e-6)
        assert result.emotion == EMOTIONS[expected.argmax()]
        assert result.probability == result.probabilities[result.emotion] == max(result.probabilities.values())


def test_a_face_alone_gets_the_answer_that_it_gets_among_others():
    together = EmotionRecognizer(KnownFaces(FACES), BrightnessClassifier()).recognize(SCENE)
    for face, expected in zip(FACES, together, strict=True):
        (alone,) = EmotionRecognizer(KnownFaces([face]), BrightnessClassifier()).recognize(SCENE)
        assert alone == expected


def test_no_face_gives_no_emotion():
    recognizer = EmotionRecognizer(KnownFaces([]), BrightnessClassifier())
    assert recognizer.recognize(SCENE) == ()
    assert recognizer.predict_faces(SCENE, []).shape == (0, 7)


@pytest.mark.parametrize("level", [0, 100, 255])
def test_the_whole_picture_can_be_the_face(level):
    image = np.full((48, 48, 1), level, np.uint8)
    (result,) = EmotionRecognizer(make_detector("none"), BrightnessClassifier()).recognize(image)
    assert result.face.box == (0, 0, 48, 48)
    assert result.emotion == {0: "angry", 100: "happy", 255: "neutral"}[level]
