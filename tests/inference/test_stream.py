"""Videos as frames with smoothed emotions."""

from pathlib import Path

import numpy as np
import pytest

from ferlib.core.emotions import EMOTIONS
from ferlib.faces import Face
from ferlib.inference import EmotionRecognizer, predict_video
from ferlib.inference.stream import Smoother
from ferlib.video import Frame


class OneFace:
    def detect(self, image):
        return [Face((4, 4, 20, 20), 0.99)]


class Level:
    """Dark images are angry, bright ones neutral."""

    name, class_names, image_size, channels, training_shares = "level", EMOTIONS, (8, 8), 1, (1 / 7,) * 7

    def predict_proba(self, images):
        share = images.reshape(len(images), -1).mean(axis=1, dtype=np.float32) / 255
        y_proba = np.zeros((len(images), 7), np.float32)
        y_proba[:, 0], y_proba[:, 6] = 1 - share, share
        return y_proba


def frames(levels, rate=10):
    return [Frame(n, n / rate, np.full((30, 40, 3), level, np.uint8)) for n, level in enumerate(levels)]


def bright(results):
    return [result.faces[0].probabilities["neutral"] for _, result in results]


def test_frames_have_times_and_track_ids():
    recognizer = EmotionRecognizer(OneFace(), Level())
    results = list(predict_video(frames([0, 0, 255]), recognizer, path="v.mp4", smoothing=0))
    places = [(frame.index, result.frame, result.time) for frame, result in results]
    assert places == [(0, 0, 0), (1, 1, 0.1), (2, 2, 0.2)]
    assert [result.faces[0].track_id for _, result in results] == [1, 1, 1]
    assert [result.faces[0].emotion for _, result in results] == ["angry", "angry", "neutral"]
    assert results[0][1].path == Path("v.mp4")


def test_the_prior_is_applied_to_smoothed_probabilities():
    plain, photographs = (EmotionRecognizer(OneFace(), Level(), prior=prior) for prior in ("training", "photographs"))
    video = frames([0, 255, 0, 130])
    smoothed = [result for _, result in predict_video(video, plain, path="v", smoothing=0.5)]
    weighted = [result for _, result in predict_video(video, photographs, path="v", smoothing=0.5)]
    for before, after in zip(smoothed, weighted, strict=True):
        expected = photographs.prior.apply(np.array(list(before.faces[0].probabilities.values())))
        np.testing.assert_allclose(list(after.faces[0].probabilities.values()), expected, atol=1e-6)
    # Weighted first, a frame that is certainly angry would stay so, and half of the mean with it.
    assert weighted[1].faces[0].emotion == "neutral"
    assert {result.prior for result in weighted} == {"photographs"}


def test_smoothing_does_not_depend_on_the_frame_rate():
    recognizer = EmotionRecognizer(OneFace(), Level(), prior="training")
    raw = bright(predict_video(frames([0, 255, 0, 255]), recognizer, path="v", smoothing=0))
    assert raw == [0, 1, 0, 1]
    smooth = bright(predict_video(frames([0] + [255] * 10), recognizer, path="v", smoothing=0.5))
    assert smooth == sorted(smooth)
    # After a second of bright frames, which is two time constants, exp(-2) of the step remains.
    assert smooth[-1] == pytest.approx(1 - np.exp(-2), abs=1e-6)
    quick = bright(predict_video(frames([0] + [255] * 40, rate=40), recognizer, path="v", smoothing=0.5))
    assert quick[-1] == pytest.approx(smooth[-1], abs=1e-6)


def test_tracks_are_smoothed_separately_and_forgotten():
    smoother = Smoother(1.0)
    first, second = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    smoother.update(1, first, 0.0)
    np.testing.assert_array_equal(smoother.update(2, second, 0.1), second)
    assert 0.9 < smoother.update(1, second, 0.1)[0] < 0.91
    np.testing.assert_allclose(smoother.update(1, second, 100.0), second, atol=1e-9)
    assert set(smoother._means) == {1}
