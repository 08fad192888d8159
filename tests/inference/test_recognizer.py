from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

import ferlib
from ferlib.core.emotions import EMOTIONS
from ferlib.core.images import crop, fit_to_model
from ferlib.faces import Face, make_detector
from ferlib.inference import UNCERTAIN, EmotionRecognizer

SCENE = np.random.default_rng(3).integers(0, 256, (90, 120, 3), dtype=np.uint8)
FACES = [Face((5, 10, 30, 40), 0.99), Face((60, 20, 50, 60), 0.95), Face((110, 80, 10, 10), 0.9)]


class BrightnessClassifier:
    """A classifier whose answer depends on each pixel of its input: the brighter, the later the emotion."""

    name = "brightness"
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
def test_faces_reach_the_classifier_as_training_images_do(channels, margin):
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
def test_the_whole_image_can_be_the_face(level):
    image = np.full((48, 48, 1), level, np.uint8)
    (result,) = EmotionRecognizer(make_detector("none"), BrightnessClassifier()).recognize(image)
    assert result.face.box == (0, 0, 48, 48)
    assert result.emotion == {0: "angry", 100: "happy", 255: "neutral"}[level]


def test_arrays_files_and_pillow_images_are_the_same_image(tmp_path):
    Image.fromarray(SCENE).save(tmp_path / "scene.png")
    recognizer = EmotionRecognizer(KnownFaces(FACES), BrightnessClassifier())
    ways = [SCENE, tmp_path / "scene.png", str(tmp_path / "scene.png"), Image.fromarray(SCENE)]
    first, *others = recognizer.recognize_all(ways)
    assert len(first) == 3
    assert all(other == first for other in others)
    gray = EmotionRecognizer("none", BrightnessClassifier()).recognize(SCENE[..., 0])
    assert gray[0].face.box == (0, 0, 120, 90)


@pytest.mark.parametrize("image", [SCENE / 255, SCENE[np.newaxis], np.empty((0, 5, 3), np.uint8)])
def test_what_is_no_image_is_refused(image):
    with pytest.raises(ValueError, match="expected a uint8 image"):
        EmotionRecognizer("none", BrightnessClassifier()).recognize(image)


def test_an_improbable_emotion_is_uncertain():
    sure = EmotionRecognizer("none", BrightnessClassifier()).recognize(SCENE)[0]
    limit = sure.probability + 0.001
    (unsure,) = EmotionRecognizer("none", BrightnessClassifier(), min_probability=limit).recognize(SCENE)
    assert unsure.emotion == UNCERTAIN
    assert unsure.probabilities == sure.probabilities


def test_files_become_a_table(tmp_path):
    for name in ("a.png", "b.png"):
        Image.fromarray(SCENE).save(tmp_path / name)
    recognizer = EmotionRecognizer(KnownFaces(FACES[:2]), BrightnessClassifier())
    table = recognizer.tabulate([tmp_path / "a.png", tmp_path / "b.png"])
    assert table["face"].tolist() == [1, 2, 1, 2]
    assert table.loc[2, "file"] == str(tmp_path / "b.png")
    assert table.filter(like="p_").sum(axis=1).tolist() == pytest.approx([1] * 4, abs=1e-4)
    nobody = EmotionRecognizer(KnownFaces([]), BrightnessClassifier()).tabulate([tmp_path / "a.png"])
    assert list(nobody.columns) == list(table.columns)


def test_the_recognizer_is_found_at_the_top():
    assert ferlib.EmotionRecognizer is EmotionRecognizer
    with pytest.raises(AttributeError, match="no attribute 'Recognizer'"):
        _ = ferlib.Recognizer
