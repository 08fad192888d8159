from pathlib import Path

import numpy as np
import pytest

from ferlib.core.emotions import EMOTIONS
from ferlib.faces import Face
from ferlib.inference import EmotionRecognizer, FaceEmotion, ImageResult, People, recognize_stream
from ferlib.inference.stream import Smoother
from ferlib.video.reader import Frame


class OneFace:
    def detect(self, image):
        return [Face((4, 4, 20, 20), 0.99)]


class Level:
    """Dark images are angry, bright ones neutral."""

    name, class_names, image_size, channels = "level", EMOTIONS, (8, 8), 1

    def predict_proba(self, images):
        share = images.reshape(len(images), -1).mean(axis=1, dtype=np.float32) / 255
        y_proba = np.zeros((len(images), 7), np.float32)
        y_proba[:, 0], y_proba[:, 6] = 1 - share, share
        return y_proba


def frames(levels, rate=10):
    return [Frame(n, n / rate, np.full((30, 40, 3), level, np.uint8)) for n, level in enumerate(levels)]


def bright(results):
    return [result.faces[0].probabilities["neutral"] for _, result in results]


def test_frames_become_people_with_times():
    recognizer = EmotionRecognizer(OneFace(), Level())
    results = list(recognize_stream(frames([0, 0, 255]), recognizer, path="v.mp4", smoothing=0))
    places = [(frame.index, result.frame, result.time) for frame, result in results]
    assert places == [(0, 0, 0), (1, 1, 0.1), (2, 2, 0.2)]
    assert [result.faces[0].person for _, result in results] == [1, 1, 1]
    assert [result.faces[0].emotion for _, result in results] == ["angry", "angry", "neutral"]
    assert results[0][1].path == Path("v.mp4")


def test_smoothing_follows_slowly_and_the_same_at_any_rate():
    recognizer = EmotionRecognizer(OneFace(), Level())
    raw = bright(recognize_stream(frames([0, 255, 0, 255]), recognizer, path="v", smoothing=0))
    assert raw == [0, 1, 0, 1]
    smooth = bright(recognize_stream(frames([0] + [255] * 10), recognizer, path="v", smoothing=0.5))
    assert smooth == sorted(smooth)
    # After a second of bright frames, two time constants, all but exp(-2) of the way is gone.
    assert smooth[-1] == pytest.approx(1 - np.exp(-2), abs=1e-6)
    quick = bright(recognize_stream(frames([0] + [255] * 40, rate=40), recognizer, path="v", smoothing=0.5))
    assert quick[-1] == pytest.approx(smooth[-1], abs=1e-6)


def test_people_are_smoothed_apart_and_forgotten():
    smoother = Smoother(1.0)
    first, second = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    smoother.update(1, first, 0.0)
    np.testing.assert_array_equal(smoother.update(2, second, 0.1), second)
    assert 0.9 < smoother.update(1, second, 0.1)[0] < 0.91
    np.testing.assert_allclose(smoother.update(1, second, 100.0), second, atol=1e-9)
    assert set(smoother._known) == {1}


def seen(person, time, **probabilities):
    values = {name: probabilities.get(name, 0.0) for name in EMOTIONS}
    best = max(values, key=values.get)
    face = FaceEmotion(Face((0, 0, 9, 9), 1.0), best, values[best], values, person)
    return ImageResult(Path("v.mp4"), (9, 9), (face,), frame=0, time=time)


def test_people_are_summed_up():
    people = People(EMOTIONS)
    for result in (seen(2, 0.0, sad=1.0), seen(1, 0.5, happy=1.0), seen(1, 1.5, happy=0.5, neutral=0.45, fear=0.05)):
        people.add(result)
    assert people.describe() == [
        "person 1, 0.5 to 1.5 s, 2 frames: happy 75%, neutral 22%",
        "person 2, 0.0 to 0.0 s, 1 frames: sad 100%",
    ]
    first, _ = people.records()
    assert (first["person"], first["first"], first["last"], first["frames"]) == (1, 0.5, 1.5, 2)
    assert first["probabilities"]["happy"] == 0.75
    assert sum(first["probabilities"].values()) == pytest.approx(1)


def test_a_timeline_of_a_long_video_stays_short_and_true():
    people = People(EMOTIONS)
    times = np.arange(20_000) / 25
    for time in times:
        people.add(seen(1, time, happy=0.5 + time / 1600, neutral=0.5 - time / 1600))
    (person,) = people
    moments, probabilities = person.timeline
    assert 250 <= len(moments) <= 500
    assert person.n_frames == 20_000
    np.testing.assert_allclose(probabilities[:, 3], 0.5 + moments / 1600, atol=1e-4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-4)
    assert moments[-1] > 799
