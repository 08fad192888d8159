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
    """A detector of faces that a test moves about; it counts how often it was asked to search."""

    def __init__(self, *boxes, confidence=0.99):
        self.boxes = list(boxes)
        self.confidence = confidence
        self.searches = 0

    def detect(self, image):
        self.searches += 1
        return [Face(box, self.confidence) for box in self.boxes]


class FollowingScene(Scene):
    """One that can look again where a face was, as MTCNN does."""

    def follow(self, image, faces):
        return [next((Face(b, 0.9) for b in self.boxes if abs(b[0] - face.box[0]) < 20), None) for face in faces]


def people(tracked):
    return {one.person: one.face.box for one in tracked}


def test_people_keep_their_numbers_while_they_move():
    scene = Scene((10, 10, 40, 40), (200, 10, 40, 40))
    tracker = FaceTracker(scene)
    assert people(tracker.update(FRAME, 0)) == {1: (10, 10, 40, 40), 2: (200, 10, 40, 40)}
    for step in range(1, 10):
        # They come near each other, and the detector lists them in the other order.
        scene.boxes = [(200 - 8 * step, 10, 40, 40), (10 + 8 * step, 10, 40, 40)]
        found = people(tracker.update(FRAME, step / 25))
        assert found == {1: scene.boxes[1], 2: scene.boxes[0]}


def test_who_comes_later_gets_the_next_number_and_who_was_away_keeps_it():
    scene = Scene((10, 10, 40, 40))
    tracker = FaceTracker(scene, forget_after=1.0)
    assert list(people(tracker.update(FRAME, 0))) == [1]
    scene.boxes = []
    assert tracker.update(FRAME, 0.5) == []
    scene.boxes = [(25, 10, 44, 40), (200, 10, 40, 40)]
    assert people(tracker.update(FRAME, 0.9)) == {1: (25, 10, 44, 40), 2: (200, 10, 40, 40)}
    scene.boxes = []
    for time in (1.0, 1.5, 2.5):
        tracker.update(FRAME, time)
    scene.boxes = [(25, 10, 44, 40)]
    assert list(people(tracker.update(FRAME, 2.6))) == [3]


def test_what_the_detector_doubts_has_to_stay_to_become_somebody():
    scene = Scene((10, 10, 40, 40), confidence=0.92)
    tracker = FaceTracker(scene)
    assert [len(tracker.update(FRAME, frame / 25)) for frame in range(4)] == [0, 0, 1, 1]
    scene = Scene((10, 10, 40, 40), confidence=0.92)
    tracker = FaceTracker(scene)
    for frame in range(10):  # a mistake that is there in every other frame, elsewhere each time
        scene.boxes = [(30 * frame, 10, 20, 20)] if frame % 2 else []
        assert tracker.update(FRAME, frame / 25) == []


def test_whole_frames_are_searched_only_as_often_as_needed():
    scene = FollowingScene((10, 10, 40, 40))
    tracker = FaceTracker(scene, search_every=0.5)
    for frame in range(101):
        scene.boxes = [(10 + frame, 10, 40, 40)]
        assert people(tracker.update(FRAME, frame / 50)) == {1: scene.boxes[0]}
    assert scene.searches == 5
    # Who jumps out of sight is looked for at once, and found under the same number.
    scene.boxes = [(80, 10, 40, 40)]
    assert people(tracker.update(FRAME, 2.12)) == {1: (80, 10, 40, 40)}
    assert scene.searches == 6


def test_newcomers_are_found_by_the_next_search():
    scene = FollowingScene((10, 10, 40, 40))
    tracker = FaceTracker(scene, search_every=0.5)
    tracker.update(FRAME, 0)
    scene.boxes.append((200, 10, 40, 40))
    assert list(people(tracker.update(FRAME, 0.1))) == [1]
    assert list(people(tracker.update(FRAME, 0.6))) == [1, 2]


def test_two_trails_on_one_face_become_one():
    scene = FollowingScene((10, 10, 40, 40), (60, 10, 40, 40))
    tracker = FaceTracker(scene)
    tracker.update(FRAME, 0)
    scene.follow = lambda image, faces: [Face((35, 10, 40, 40), 0.9)] * len(faces)
    scene.boxes = [(35, 10, 40, 40)]
    assert list(people(tracker.update(FRAME, 0.04))) == [1]


def test_a_stream_that_begins_anew_knows_nobody():
    tracker = FaceTracker(Scene((10, 10, 40, 40)))
    tracker.update(FRAME, 5.0)
    assert list(people(tracker.update(FRAME, 0.0))) == [2]


def test_mtcnn_follows_a_face_without_searching():
    photo = read_image(HOPPER)
    detector = make_detector("mtcnn", min_face_size=40)
    (face,) = detector.detect(photo)
    moved = np.roll(photo, (6, 9), axis=(0, 1))
    (followed,) = detector.follow(moved, [face])
    assert np.subtract(followed.box, face.box)[:2] == pytest.approx((9, 6), abs=4)
    assert followed.landmarks["nose"] == pytest.approx(np.add(face.landmarks["nose"], (9, 6)), abs=4)
    assert detector.follow(np.full_like(photo, 127), [face]) == [None]
    assert detector.follow(photo, []) == []
    corner = Face((0, 0, 30, 30), 1.0)
    assert detector.follow(photo, [corner, face])[1].box == detector.follow(photo, [face])[0].box
