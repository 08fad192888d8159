"""Faces and emotions of single images."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

import ferlib
from ferlib.core.crops import DEFAULT_CROP, CropGeometry, cut_face
from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import ImageError, OptionError
from ferlib.core.images import fit_to_model, read_image
from ferlib.faces import Face, make_detector
from ferlib.inference import UNCERTAIN, EmotionRecognizer

HOPPER = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
SCENE = np.random.default_rng(3).integers(0, 256, (90, 120, 3), dtype=np.uint8)
FACES = [Face((5, 10, 30, 40), 0.99), Face((60, 20, 50, 60), 0.95), Face((110, 80, 10, 10), 0.9)]


class BrightnessClassifier:
    """A classifier that depends on each pixel: the brighter the image, the higher the code of its emotion."""

    name = "brightness"
    class_names = EMOTIONS
    image_size = (48, 48)
    training_shares = (1 / 7,) * 7

    def __init__(self, channels=1):
        self.channels = channels

    def predict_proba(self, images):
        assert images.shape[1:] == (48, 48, self.channels)
        level = images.reshape(len(images), -1).astype(np.float32) @ np.linspace(0.5, 1.5, images[0].size) / 48**2
        values = np.exp(-((np.arange(7) * 36.0 - level[:, None] / self.channels) ** 2) / 2000)
        return (values / values.sum(1, keepdims=True)).astype(np.float32)


@dataclass
class KnownFaces:
    """A detector that finds the same faces in each image."""

    faces: list[Face]

    def detect(self, image):
        return self.faces


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("margin", [0.0, 0.25])
def test_faces_are_preprocessed_as_training_images_are(channels, margin):
    classifier = BrightnessClassifier(channels)
    recognizer = EmotionRecognizer(KnownFaces(FACES), classifier, prior="training", crop_margin=margin)
    results = recognizer.recognize(SCENE)
    assert [result.face for result in results] == FACES
    for face, result in zip(FACES, results, strict=True):
        part = cut_face(SCENE, face.box, CropGeometry(margin=margin))[np.newaxis]
        (expected,) = classifier.predict_proba(fit_to_model(part, image_size=(48, 48), channels=channels))
        assert list(result.probabilities) == list(EMOTIONS)
        np.testing.assert_allclose(list(result.probabilities.values()), expected, rtol=1e-6)
        assert result.emotion == EMOTIONS[expected.argmax()]
        assert result.probability == result.probabilities[result.emotion] == max(result.probabilities.values())


def test_prepared_faces_are_what_the_classifier_gets():
    recognizer = EmotionRecognizer("none", BrightnessClassifier())
    prepared = recognizer.prepare_faces(SCENE, FACES)
    assert (prepared.shape, prepared.dtype) == ((3, 48, 48, 1), np.uint8)
    np.testing.assert_array_equal(recognizer.classifier.predict_proba(prepared), recognizer.predict_faces(SCENE, FACES))
    assert recognizer.prepare_faces(SCENE, []).shape == (0, 48, 48, 1)


def test_one_face_and_a_batch_give_the_same_answer():
    together = EmotionRecognizer(KnownFaces(FACES), BrightnessClassifier()).recognize(SCENE)
    for face, expected in zip(FACES, together, strict=True):
        (alone,) = EmotionRecognizer(KnownFaces([face]), BrightnessClassifier()).recognize(SCENE)
        assert alone == expected


def test_no_face_gives_an_empty_result():
    recognizer = EmotionRecognizer(KnownFaces([]), BrightnessClassifier())
    assert recognizer.recognize(SCENE) == ()
    assert recognizer.predict_faces(SCENE, []).shape == (0, 7)


@pytest.mark.parametrize(("level", "emotion"), [(0, "angry"), (100, "happy"), (255, "neutral")])
def test_the_whole_image_can_be_the_face(level, emotion):
    image = np.full((48, 48, 1), level, np.uint8)
    (result,) = EmotionRecognizer(make_detector("none"), BrightnessClassifier()).recognize(image)
    assert result.face.box == (0, 0, 48, 48)
    assert result.emotion == emotion


@pytest.mark.parametrize("form", ["path", "str", "bytes", "bytearray", "file", "stream", "pillow", "gray array"])
def test_images_are_accepted_in_any_form(form, tmp_path):
    path = tmp_path / "scene.png"
    scene = SCENE if form != "gray array" else SCENE[..., 0]
    Image.fromarray(scene).save(path)
    recognizer = EmotionRecognizer(KnownFaces(FACES), BrightnessClassifier())
    expected = recognizer.recognize(scene)
    assert len(expected) == 3
    if form == "file":
        with path.open("rb") as file:
            assert recognizer.recognize(file) == expected
        return
    image = {
        "path": lambda: path,
        "str": lambda: str(path),
        "bytes": path.read_bytes,
        "bytearray": lambda: bytearray(path.read_bytes()),
        "stream": lambda: io.BytesIO(path.read_bytes()),
        "pillow": lambda: Image.open(path),
        "gray array": lambda: scene[..., np.newaxis],
    }[form]()
    assert recognizer.recognize(image) == expected


@pytest.mark.parametrize("image", [SCENE * 1j, SCENE[np.newaxis], np.empty((0, 5, 3), np.uint8)])
def test_arrays_of_another_shape_or_dtype_are_refused(image):
    with pytest.raises(ValueError, match="expected an image of shape"):
        EmotionRecognizer("none", BrightnessClassifier()).recognize(image)


@pytest.mark.parametrize("image", [b"", b"not an image", io.BytesIO(b"not an image"), "missing.png"])
def test_unreadable_images_are_image_errors(image):
    with pytest.raises(ImageError):
        EmotionRecognizer("none", BrightnessClassifier()).recognize(image)


def test_below_the_minimum_probability_an_emotion_is_uncertain():
    (certain,) = EmotionRecognizer("none", BrightnessClassifier()).recognize(SCENE)
    limit = certain.probability + 0.001
    (uncertain,) = EmotionRecognizer("none", BrightnessClassifier(), min_probability=limit).recognize(SCENE)
    assert uncertain.emotion == UNCERTAIN
    assert uncertain.probabilities == certain.probabilities


@pytest.mark.parametrize("detector", ["mtcnn", "haar"])
def test_several_threads_share_one_recognizer(detector):
    """Every thread gets the single-threaded answer, in every form of input."""
    photo = read_image(HOPPER)
    images = [photo, photo[:, ::-1], photo[40:, 60:], photo[::2, ::2]]
    stream = io.BytesIO()
    Image.fromarray(photo).save(stream, "TIFF")
    forms = [*map(np.ascontiguousarray, images), HOPPER, HOPPER.read_bytes(), stream.getvalue()]
    recognizer = EmotionRecognizer(detector, n_threads=1)
    with ThreadPoolExecutor(4) as pool:
        # The networks are loaded by several threads at once, too.
        found = list(pool.map(recognizer.recognize, forms * 2))
    expected = [recognizer.recognize(form) for form in forms] * 2
    for faces, others in zip(found, expected, strict=True):
        assert [face.face.box for face in faces] == [face.face.box for face in others]
        assert [face.emotion for face in faces] == [face.emotion for face in others]


def test_the_recognizer_is_in_the_top_level_package():
    assert ferlib.EmotionRecognizer is EmotionRecognizer
    with pytest.raises(AttributeError, match="no attribute 'Recognizer'"):
        _ = ferlib.Recognizer


def test_the_prior_of_photographs_is_the_default():
    recognizer = EmotionRecognizer(KnownFaces(FACES), BrightnessClassifier())
    plain = EmotionRecognizer(KnownFaces(FACES), BrightnessClassifier(), prior="training")
    assert (recognizer.prior.name, plain.prior.name) == ("photographs", "training")
    np.testing.assert_array_equal(recognizer.predict_faces(SCENE, FACES), plain.predict_faces(SCENE, FACES))
    for weighted, unweighted in zip(recognizer.recognize(SCENE), plain.recognize(SCENE), strict=True):
        expected = recognizer.prior.apply(np.array(list(unweighted.probabilities.values())))
        np.testing.assert_allclose(list(weighted.probabilities.values()), expected, atol=1e-6)
        assert weighted.probability == max(weighted.probabilities.values())
        assert weighted.probabilities["neutral"] > unweighted.probabilities["neutral"]


def test_a_prior_may_be_a_share_per_class():
    shares = (0, 0, 0, 1, 0, 0, 0)
    faces = EmotionRecognizer(KnownFaces(FACES), BrightnessClassifier(), prior=shares).recognize(SCENE)
    assert {found.emotion for found in faces} == {"happy"}
    with pytest.raises(OptionError, match="expected 7 shares"):
        EmotionRecognizer(KnownFaces(FACES), BrightnessClassifier(), prior=(1, 1))


def test_views_are_those_of_the_run_unless_named():
    one, two = (EmotionRecognizer("none", test_time_augmentation=views, prior="training") for views in ("none", "flip"))
    photo = read_image(HOPPER)[110:330, 178:351]
    faces = [recognizer.predict_faces(photo, [Face((0, 0, 173, 220), 1.0)]) for recognizer in (one, two)]
    mirrored = one.predict_faces(photo[:, ::-1], [Face((0, 0, 173, 220), 1.0)])
    assert np.abs(faces[0] - faces[1]).max() > 1e-3
    lower, upper = np.minimum(faces[0], mirrored), np.maximum(faces[0], mirrored)
    # The mean is taken before the calibration, which is not linear.
    assert ((faces[1] > lower - 0.05) & (faces[1] < upper + 0.05)).all()
    with pytest.raises(ValueError, match="belongs to load_classifier"):
        EmotionRecognizer("none", BrightnessClassifier(), test_time_augmentation="flip")


def test_faces_are_cut_out_in_the_geometry_of_the_run():
    classifier = BrightnessClassifier()
    assert EmotionRecognizer(KnownFaces(FACES), classifier).crop == DEFAULT_CROP
    classifier.crop = CropGeometry(method="landmarks", margin=0.2)
    assert EmotionRecognizer(KnownFaces(FACES), classifier).crop == classifier.crop
    narrow = EmotionRecognizer(KnownFaces(FACES), classifier, crop_margin=0)
    assert narrow.crop == CropGeometry(method="landmarks", margin=0)
