from pathlib import Path

import matplotlib
import numpy as np
import pytest

from ferlib.core.images import read_image
from ferlib.faces import Face, make_detector
from ferlib.faces.tracker import FaceTracker

HOPPER = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
FRAME = np.zeros((200, 300, 3), np.uint8)


class Scene:
    """A detector whose faces a test moves; it counts its detections."""

    def __init__(self, *boxes, confidence=0.99):
        self.boxes = list(boxes)
        self.confidence = confidence
        self.n_detections = 0

    def detect(self, image):
        self.n_detections += 1
        return [Face(box, self.confidence) for box in self.boxes]


class RedetectingScene(Scene):
    """A detector that can update known faces, as MTCNN does."""

    def redetect(self, image, faces):
        return [next((Face(b, 0.9) for b in self.boxes if abs(b[0] - face.box[0]) < 20), None) for face in faces]


def boxes(tracked):
    return {item.track_id: item.face.box for item in tracked}


def test_moving_faces_keep_their_ids():
    scene = Scene((10, 10, 40, 40), (200, 10, 40, 40))
    tracker = FaceTracker(scene)
    assert boxes(tracker.update(FRAME, 0)) == {1: (10, 10, 40, 40), 2: (200, 10, 40, 40)}
    for step in range(1, 10):
        # They approach each other, and the detector lists them in the other order.
        scene.boxes = [(200 - 8 * step, 10, 40, 40), (10 + 8 * step, 10, 40, 40)]
        found = boxes(tracker.update(FRAME, step / 25))
        assert found == {1: scene.boxes[1], 2: scene.boxes[0]}


def test_a_lost_face_keeps_its_id_for_two_seconds():
    scene = Scene((10, 10, 40, 40))
    tracker = FaceTracker(scene)
    assert list(boxes(tracker.update(FRAME, 0))) == [1]
    scene.boxes = []
    assert tracker.update(FRAME, 0.5) == []
    scene.boxes = [(25, 10, 44, 40), (200, 10, 40, 40)]
    assert boxes(tracker.update(FRAME, 0.9)) == {1: (25, 10, 44, 40), 2: (200, 10, 40, 40)}
    scene.boxes = []
    for time in (1.0, 2.0, 3.0):
        tracker.update(FRAME, time)
    scene.boxes = [(25, 10, 44, 40)]
    assert list(boxes(tracker.update(FRAME, 3.1))) == [3]


def test_faces_of_low_confidence_must_be_seen_three_times():
    scene = Scene((10, 10, 40, 40), confidence=0.92)
    tracker = FaceTracker(scene)
    assert [len(tracker.update(FRAME, frame / 25)) for frame in range(4)] == [0, 0, 1, 1]
    scene = Scene((10, 10, 40, 40), confidence=0.92)
    tracker = FaceTracker(scene)
    for frame in range(10):  # a false positive in every other frame, each time elsewhere
        scene.boxes = [(30 * frame, 10, 20, 20)] if frame % 2 else []
        assert tracker.update(FRAME, frame / 25) == []


def test_entire_frames_are_searched_at_the_detect_interval():
    scene = RedetectingScene((10, 10, 40, 40))
    tracker = FaceTracker(scene)
    for frame in range(101):
        scene.boxes = [(10 + frame, 10, 40, 40)]
        assert boxes(tracker.update(FRAME, frame / 50)) == {1: scene.boxes[0]}
    assert scene.n_detections == 5
    # A face that moves too far is searched for at once and keeps its ID.
    scene.boxes = [(80, 10, 40, 40)]
    assert boxes(tracker.update(FRAME, 2.12)) == {1: (80, 10, 40, 40)}
    assert scene.n_detections == 6


def test_new_faces_are_found_by_the_next_detection():
    scene = RedetectingScene((10, 10, 40, 40))
    tracker = FaceTracker(scene)
    tracker.update(FRAME, 0)
    scene.boxes.append((200, 10, 40, 40))
    assert list(boxes(tracker.update(FRAME, 0.1))) == [1]
    assert list(boxes(tracker.update(FRAME, 0.6))) == [1, 2]


def test_two_tracks_of_one_face_are_merged():
    scene = RedetectingScene((10, 10, 40, 40), (60, 10, 40, 40))
    tracker = FaceTracker(scene)
    tracker.update(FRAME, 0)
    scene.redetect = lambda image, faces: [Face((35, 10, 40, 40), 0.9)] * len(faces)
    scene.boxes = [(35, 10, 40, 40)]
    assert list(boxes(tracker.update(FRAME, 0.04))) == [1]


def test_an_earlier_time_starts_new_tracks():
    tracker = FaceTracker(Scene((10, 10, 40, 40)))
    tracker.update(FRAME, 5.0)
    assert list(boxes(tracker.update(FRAME, 0.0))) == [2]


def test_mtcnn_redetects_a_moved_face():
    photo = read_image(HOPPER)
    detector = make_detector("mtcnn", min_face_size=40)
    (face,) = detector.detect(photo)
    moved = np.roll(photo, (6, 9), axis=(0, 1))
    (updated,) = detector.redetect(moved, [face])
    assert np.subtract(updated.box, face.box)[:2] == pytest.approx((9, 6), abs=4)
    assert updated.landmarks["nose"] == pytest.approx(np.add(face.landmarks["nose"], (9, 6)), abs=4)
    assert detector.redetect(np.full_like(photo, 127), [face]) == [None]
    assert detector.redetect(photo, []) == []
    corner = Face((0, 0, 30, 30), 1.0)
    assert detector.redetect(photo, [corner, face])[1].box == detector.redetect(photo, [face])[0].box
