"""Summaries of a video's tracks."""

from pathlib import Path

import numpy as np
import pytest

from ferlib.core.emotions import EMOTIONS
from ferlib.faces import Face
from ferlib.inference import FaceEmotion, ImageResult, TrackSummary


def seen(track_id, time, **probabilities):
    values = {name: probabilities.get(name, 0.0) for name in EMOTIONS}
    best = max(values, key=values.get)
    face = FaceEmotion(Face((0, 0, 9, 9), 1.0), best, values[best], values, track_id)
    return ImageResult(Path("v.mp4"), (9, 9), (face,), frame=0, time=time)


def test_tracks_are_summarized():
    tracks = TrackSummary(EMOTIONS)
    for result in (seen(2, 0.0, sad=1.0), seen(1, 0.5, happy=1.0), seen(1, 1.5, happy=0.5, neutral=0.45, fear=0.05)):
        tracks.add(result)
    assert tracks.describe() == [
        "track 1, 0.5 to 1.5 s, 2 frames: happy 75%, neutral 22%",
        "track 2, 0.0 to 0.0 s, 1 frames: sad 100%",
    ]
    first, _ = tracks.records()
    assert (first["track_id"], first["first"], first["last"], first["frames"]) == (1, 0.5, 1.5, 2)
    assert first["probabilities"]["happy"] == 0.75
    assert sum(first["probabilities"].values()) == pytest.approx(1)


def test_the_timeline_of_a_long_video_stays_short_and_accurate():
    tracks = TrackSummary(EMOTIONS)
    for time in np.arange(20_000) / 25:
        tracks.add(seen(1, time, happy=0.5 + time / 1600, neutral=0.5 - time / 1600))
    (track,) = tracks
    times, probabilities = track.timeline
    assert 250 <= len(times) <= 500
    assert track.n_frames == 20_000
    np.testing.assert_allclose(probabilities[:, 3], 0.5 + times / 1600, atol=1e-4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-4)
    assert times[-1] > 799


def test_images_without_tracks_are_refused():
    with pytest.raises(ValueError, match="a time and track IDs"):
        TrackSummary(EMOTIONS).add(seen(None, 0.0))
