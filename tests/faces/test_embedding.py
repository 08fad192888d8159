"""People keep their track ID by their faces."""

import matplotlib.cbook
import numpy as np
import pytest

from ferlib.core.images import read_image, resize
from ferlib.faces import Face, make_detector
from ferlib.faces.embedding import FaceEmbedder, Identities
from ferlib.faces.tracker import FaceTracker

LEFT, RIGHT = (20, 40, 60, 60), (200, 40, 60, 60)
RED, GREEN, BLUE = (200, 20, 20), (20, 200, 20), (20, 20, 200)


class ColoredFaces:
    """Finds squares of known places in which something is drawn."""

    def detect(self, image):
        return [Face(box, 0.99) for box in (LEFT, RIGHT) if image[box[1] + 5, box[0] + 5].any()]


class Colors:
    """The embedding of a face is its color."""

    def embed(self, image, faces):
        return np.array([image[face.box[1] + 5, face.box[0] + 5] / 255 for face in faces], np.float32)


def frame(left=None, right=None):
    image = np.zeros((160, 300, 3), np.uint8)
    for (x, y, width, height), color in ((LEFT, left), (RIGHT, right)):
        if color:
            image[y : y + height, x : x + width] = color
    return image


def ids(tracker, image, time):
    return [item.track_id for item in tracker.update(image, time)]


@pytest.fixture
def tracker():
    return FaceTracker(ColoredFaces(), embedder=Colors())


def test_a_person_who_returns_elsewhere_keeps_the_id(tracker):
    assert ids(tracker, frame(RED, GREEN), 0) == [1, 2]
    for time in range(1, 10):
        assert ids(tracker, frame(None, GREEN), time) == [2]
    assert ids(tracker, frame(), 10) == []
    assert ids(tracker, frame(GREEN, RED), 20) == [2, 1]
    assert ids(tracker, frame(BLUE, None), 30) == [3]
    without = FaceTracker(ColoredFaces())
    assert ids(without, frame(RED, GREEN), 0) == [1, 2]
    assert ids(without, frame(GREEN, RED), 20) == [3, 4]


def test_people_who_swap_places_at_a_cut_keep_their_ids(tracker):
    assert ids(tracker, frame(RED, GREEN), 0) == [1, 2]
    assert ids(tracker, frame(GREEN, RED), 0.1) == [2, 1]
    assert ids(FaceTracker(ColoredFaces()), frame(RED, GREEN), 0) == [1, 2]


def test_another_video_starts_with_other_people(tracker):
    assert ids(tracker, frame(RED, GREEN), 5) == [1, 2]
    assert ids(tracker, frame(GREEN, None), 0) == [3]


def test_a_face_that_looks_different_keeps_its_id_for_a_moment():
    identities = Identities()
    identities.learn(1, np.array([0.0, 0]))
    blurred = np.array([[0.0, 0.9]])
    assert identities.assign(blurred, [1], [0], set()) == [1]
    assert identities.assign(blurred, [1], [1], set()) == [None]
    assert identities.assign(np.array([[0.0, 0.1]]), [None], [0], {1}) == [None]
    assert identities.assign(np.array([[0.0, 0.1]]), [None], [0], set()) == [1]


def test_embeddings_of_one_face_are_near_each_other():
    image = read_image(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    embedder, detector = FaceEmbedder(1), make_detector()
    variants = [image, resize(image, (300, 256)), (image * 0.7).astype(np.uint8), image[50:400, 100:450].copy()]
    embeddings = np.concatenate([embedder.embed(variant, detector.detect(variant)) for variant in variants])
    assert embeddings.shape == (4, 128)
    assert np.linalg.norm(embeddings - embeddings[0], axis=1).max() < 0.4
    noise = np.random.default_rng(0).integers(0, 256, image.shape, dtype=np.uint8)
    other = embedder.embed(noise, [Face((100, 100, 100, 120), 1.0)])
    assert np.linalg.norm(other - embeddings[0]) > 0.6
    assert embedder.embed(image, []).shape == (0, 128)
