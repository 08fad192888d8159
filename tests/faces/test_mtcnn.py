"""MTCNN compared with the mtcnn package."""

import cv2
import matplotlib.cbook
import numpy as np
import pytest

from ferlib.core.boxes import iou
from ferlib.core.images import IMAGE_SUFFIXES, read_image, to_rgb
from ferlib.faces import mtcnn_networks
from ferlib.faces.mtcnn import Candidates, MtcnnDetector


@pytest.fixture(scope="module")
def hopper():
    return read_image(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))


@pytest.fixture(scope="module")
def package():
    """The package's own detector: rows of image, box, probability, landmarks."""
    from ferlib.core.backend import suppress_native_stderr

    with suppress_native_stderr():
        from mtcnn import MTCNN

        network = MTCNN()
    return lambda image: network.detect_faces(image, fit_to_image=False, box_format="xyxy", output_type="numpy")[:, 1:]


def detect(image):
    """Faces with the package's threshold of the last network."""
    return MtcnnDetector(min_confidence=0.8).detect_candidates(image)


def assert_equal_faces(ours, theirs):
    assert len(ours) == len(theirs)
    boxes = [(x0, y0, x1 - x0, y1 - y0) for x0, y0, x1, y1 in ours.corners]
    for x0, y0, x1, y1, score, *landmarks in theirs:
        overlaps = [iou(box, (x0, y0, x1 - x0, y1 - y0)) for box in boxes]
        best = int(np.argmax(overlaps))
        assert overlaps[best] >= 0.99
        assert ours.scores[best] == pytest.approx(score, abs=1e-3)
        np.testing.assert_allclose(ours.landmarks[best].T.ravel(), landmarks, atol=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(600, 512), (150, 128), (333, 500)])
def test_faces_equal_those_of_the_package(size, hopper, package):
    image = cv2.resize(hopper, size[::-1], interpolation=cv2.INTER_AREA)
    ours = detect(image)
    assert_equal_faces(ours, package(image))
    assert len(ours) == 1


@pytest.mark.slow
@pytest.mark.real_data
def test_faces_in_real_photos_equal_those_of_the_package(package, photos_dir):
    found = 0
    for path in sorted(path for path in photos_dir.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES):
        image = to_rgb(read_image(path))
        ours = detect(image)
        assert_equal_faces(ours, package(image))
        found += len(ours)
    assert found >= 19


def test_an_image_below_the_first_pyramid_level_has_no_face():
    for shape in ((11, 11), (11, 300), (14, 14)):
        assert len(detect(np.zeros((*shape, 3), np.uint8))) == 0


def test_squares_keep_the_center():
    squared = Candidates(np.array([[0.0, 0, 10, 4]]), np.array([0.5])).squared()
    np.testing.assert_allclose(squared.corners, [[0, -3, 10, 7]])


def test_strips_and_threads_do_not_change_the_faces(hopper, monkeypatch):
    whole = MtcnnDetector(n_threads=1).detect(hopper)
    monkeypatch.setattr(mtcnn_networks, "_STRIP_PIXELS", 3000)
    monkeypatch.setattr(mtcnn_networks, "_BATCH", 3)
    assert MtcnnDetector(n_threads=3).detect(hopper) == whole


def test_a_patch_outside_the_image_is_zero():
    networks = mtcnn_networks.load_networks(1)
    pixels = np.random.default_rng(0).uniform(-1, 1, (1, 3, 60, 80)).astype(np.float32)
    outside = np.array([[-60.0, 10, -20, 50], [10, 70, 40, 100], [85, 0, 125, 40]])
    nothing = networks.refine("rnet", np.zeros_like(pixels), outside[:1])
    np.testing.assert_allclose(networks.refine("rnet", pixels, outside), np.repeat(nothing, 3, axis=0), atol=1e-6)


def test_patches_start_and_end_on_the_corners():
    inputs = mtcnn_networks.patch_inputs((51, 101), np.array([[-20.2, 0, 80.8, 51]]), 11)
    # The region reaches half a sample beyond the first and the last one.
    np.testing.assert_allclose(inputs["regions"], [[-25, -2.5, 85, 52.5]], rtol=1e-5)
    assert inputs["inside_x"].ravel().tolist() == [0, 0] + 9 * [1]
    assert inputs["inside_y"].all()
