"""All detectors: which faces they find, and where."""

import csv
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from ferlib.core.boxes import iou
from ferlib.core.images import read_image, resize, to_gray
from ferlib.faces import Face, make_detector, match_box
from ferlib.faces.base import clip_box, merge_detections, turn_back

HOPPER = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
HOPPER_BOX = (178, 110, 173, 220)
TINY = [(1, 1), (2, 300), (10, 10), (12, 12), (19, 30), (20, 20), (24, 21), (1, 5000)]


@pytest.fixture(scope="module")
def mtcnn():
    return make_detector("mtcnn")


@pytest.fixture(scope="module")
def haar():
    return make_detector("haar")


@pytest.fixture(params=["mtcnn", "haar"])
def detector(request):
    """Each detector that searches."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def hopper():
    return read_image(HOPPER)


@pytest.fixture(scope="module")
def photos(photos_dir) -> dict[str, list[tuple[int, ...]]]:
    """The real photos in PHOTOS_DIR: path to face boxes."""
    boxes = defaultdict(list, {photos_dir / "no-faces.jpg": []})
    with (photos_dir / "boxes.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            boxes[photos_dir / row["file"]].append(tuple(int(row[name]) for name in ("x", "y", "width", "height")))
    return boxes


def flat_scene(height=300, width=400):
    """An image with edges, colors and shapes, and no face."""
    rows, columns = np.mgrid[:height, :width]
    stripes = np.where((columns // 40 + rows // 40) % 2, 200, 60)
    return np.stack([stripes, rows * 255 // height, columns * 255 // width], axis=-1).astype(np.uint8)


def count_matches(detector, boxes_by_path):
    """Return how many known faces contain a detection's center, and how many detections are in no known face."""
    n_found = n_wrong = 0
    for path, boxes in boxes_by_path.items():
        centers = [(f.box[0] + f.box[2] / 2, f.box[1] + f.box[3] / 2) for f in detector.detect(read_image(path))]
        inside = [[x <= cx < x + w and y <= cy < y + h for x, y, w, h in boxes] for cx, cy in centers]
        n_found += sum(any(column) for column in zip(*inside, strict=True))
        n_wrong += sum(not any(row) for row in inside)
    return n_found, n_wrong


def test_mtcnn_finds_the_face_of_a_portrait(mtcnn, hopper):
    (face,) = mtcnn.detect(hopper)
    assert iou(face.box, HOPPER_BOX) > 0.95
    assert 0.95 < face.confidence <= 1


def test_landmarks_are_left_and_right_as_the_viewer_sees_them(mtcnn, hopper):
    (face,) = mtcnn.detect(hopper)
    marks = face.landmarks
    assert marks["left_eye"][0] < marks["nose"][0] < marks["right_eye"][0]
    assert marks["mouth_left"][0] < marks["mouth_right"][0]
    assert marks["left_eye"][1] < marks["nose"][1] < marks["mouth_left"][1]


@pytest.mark.parametrize("factor", [0.1, 0.25, 2, 5])
def test_mtcnn_boxes_are_in_pixels_of_the_original_image(mtcnn, hopper, factor):
    image = resize(hopper, (round(600 * factor), round(512 * factor)))
    (face,) = mtcnn.detect(image)
    assert iou(face.box, [value * factor for value in HOPPER_BOX]) > 0.75
    assert abs(face.landmarks["nose"][0] / factor - 267) < 10


@pytest.mark.parametrize("factor", [1, 5])
def test_haar_finds_the_face_of_a_portrait(haar, hopper, factor):
    (face,) = haar.detect(resize(hopper, (600 * factor, 512 * factor)))
    assert iou(face.box, [value * factor for value in HOPPER_BOX]) > 0.5
    assert 0 < face.confidence < 1
    assert face.landmarks is None


def test_gray_images_are_accepted(detector, hopper):
    (face,) = detector.detect(to_gray(hopper))
    assert iou(face.box, HOPPER_BOX) > 0.5


def test_an_image_without_a_face_gives_no_face(detector):
    assert detector.detect(flat_scene()) == []
    assert detector.detect(np.full((200, 200, 3), 128, np.uint8)) == []


@pytest.mark.parametrize("channels", [1, 3])
def test_tiny_and_thin_images_have_no_face(detector, channels):
    for shape in TINY:
        noise = np.random.default_rng(0).integers(0, 256, (*shape, channels), dtype=np.uint8)
        assert detector.detect(noise) == []


def test_boxes_stay_inside_the_image(mtcnn, hopper):
    for cut in (hopper[:, 200:], hopper[:, :320], hopper[140:], hopper[:300]):
        for face in mtcnn.detect(cut):
            x, y, width, height = face.box
            assert 0 <= x < x + width <= cut.shape[1]
            assert 0 <= y < y + height <= cut.shape[0]
    (face,) = mtcnn.detect(hopper[:, 200:])
    assert face.box[0] == 0


@pytest.mark.parametrize("name", ["mtcnn", "haar"])
def test_faces_below_the_minimum_size_are_discarded(name, hopper):
    scene = np.zeros((600, 612, 3), np.uint8)
    scene[:, :512] = hopper
    scene[:117, 512:] = resize(hopper, (117, 100))
    (face,) = make_detector(name, min_face_size=80).detect(scene)
    assert iou(face.box, HOPPER_BOX) > 0.5


@pytest.mark.parametrize("cut", [np.s_[:, 230:], np.s_[:, :300], np.s_[170:], np.s_[:265]])
def test_faces_that_the_edge_cuts_are_found(cut, mtcnn, hopper):
    part = np.ascontiguousarray(hopper[cut])
    x, y, width, height = HOPPER_BOX
    top, left = (axis.start or 0 for axis in cut) if isinstance(cut, tuple) else (cut.start or 0, 0)
    known = clip_box((x - left, y - top, width, height), part)
    (face,) = mtcnn.detect(part)
    assert iou(face.box, known) > 0.6
    assert clip_box(face.box, part) == face.box


def test_a_face_that_fills_the_image_is_found(mtcnn, hopper):
    assert [face.box for face in mtcnn.detect(np.ascontiguousarray(hopper[150:300, 195:335]))] == [(0, 0, 140, 150)]


def test_small_faces_in_a_large_image_are_found_if_asked_for(hopper):
    scene = np.random.default_rng(0).integers(110, 130, (1500, 3300, 3), dtype=np.uint8)
    small = resize(hopper[60:380, 110:420], (40, 39))
    places = [(100, 100), (1170, 700), (1180, 1200), (2300, 40), (3261, 1400)]
    for x, y in places:
        scene[y : y + 40, x : x + 39] = small
    detector = make_detector("mtcnn", min_face_size=20)
    assert [(face.box[0] // 10, face.box[1] // 10) for face in detector.detect(scene)] == [
        ((x + 8) // 10, (y + 6) // 10) for x, y in places
    ]
    assert detector.smallest_face((1500, 3300)) == 20
    assert make_detector("mtcnn").smallest_face((1500, 3300)) == 41


def test_tiny_faces_next_to_a_large_one_are_discarded_unless_asked_for(hopper):
    scene = np.zeros((1500, 1700, 3), np.uint8)
    scene[:, :1280] = resize(hopper, (1500, 1280))
    small = resize(hopper[60:380, 110:420], (40, 39))
    scene[700:740, 1500:1539] = small
    (face,) = make_detector("mtcnn").detect(scene)
    assert face.box[3] > 400
    assert len(make_detector("mtcnn", min_face_size=20).detect(scene)) == 2


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_faces_of_a_turned_image_are_turned_back(turns):
    image = np.zeros((30, 50))
    image[5:9, 20:30] = 1
    rows, columns = np.nonzero(np.rot90(image, turns))
    box = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
    face = Face(box, 0.9, {"nose": (float(columns[0]), float(rows[0]))})
    back = turn_back(face, turns, (30, 50))
    assert back.box == (20, 5, 10, 4)
    x, y = back.landmarks["nose"]
    assert image[round(y), round(x)] == 1


def test_faces_are_sorted_from_left_to_right(mtcnn, hopper):
    small = resize(hopper, (300, 256))
    strip = np.concatenate([small, np.roll(small, 40, axis=0), small], axis=1)
    faces = mtcnn.detect(strip)
    assert len(faces) == 3
    assert [face.box[0] for face in faces] == sorted(face.box[0] for face in faces)


def test_overlapping_detections_are_merged():
    confident, nested = Face((10, 10, 40, 50), 0.99), Face((20, 20, 20, 30), 0.95)
    neighbor = Face((45, 10, 40, 50), 0.9)
    assert merge_detections([nested, neighbor, confident]) == [confident, neighbor]
    assert merge_detections([]) == []


def test_the_whole_image_can_be_one_face():
    image = np.zeros((30, 50, 1), np.uint8)
    assert make_detector("none").detect(image) == [Face((0, 0, 50, 30), 1.0, None)]


def test_unknown_names_and_sizes_are_refused():
    with pytest.raises(
        ValueError, match="'dlib' is not a detector; expected one of haar, mtcnn, none, yunet, or package"
    ):
        make_detector("dlib")
    with pytest.raises(ValueError, match="at least 1 pixel, got 0"):
        make_detector("haar", min_face_size=0)


def test_mtcnn_needs_no_framework_and_writes_nothing():
    code = (
        "import numpy, sys; from ferlib.faces import make_detector;"
        "make_detector('mtcnn').detect(numpy.zeros((60, 60, 3), numpy.uint8));"
        "assert not {'tensorflow', 'keras', 'mtcnn', 'onnx'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.real_data
def test_mtcnn_finds_every_face_of_group_photos(mtcnn, photos):
    assert sum(map(len, photos.values())) == 19
    assert count_matches(mtcnn, photos) == (19, 0)


@pytest.mark.real_data
def test_haar_finds_most_faces_of_group_photos(haar, photos):
    n_found, n_wrong = count_matches(haar, photos)
    assert n_found >= 15
    assert n_wrong == 0


@pytest.mark.real_data
def test_exif_orientation_does_not_change_the_face(mtcnn, photos):
    folder = next(iter(photos)).parent
    (upright,) = mtcnn.detect(read_image(folder / "hopper.jpg"))
    for orientation in range(2, 9):
        (face,) = mtcnn.detect(read_image(folder / f"hopper_orientation_{orientation}.jpg"))
        assert iou(face.box, upright.box) > 0.9


def test_match_box_returns_the_face_with_the_highest_iou():
    near, far = Face((10, 12, 40, 44), 0.9), Face((200, 10, 40, 40), 0.99)
    assert match_box([far, near], (12, 10, 40, 40)) is near
    assert match_box([far], (12, 10, 40, 40)) is None
    assert match_box([], (12, 10, 40, 40)) is None
