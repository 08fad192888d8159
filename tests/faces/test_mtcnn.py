"""The cascade finds what the mtcnn package finds, without TensorFlow."""

import subprocess
import sys

import cv2
import matplotlib.cbook
import numpy as np
import pytest

from ferlib.core.images import IMAGE_SUFFIXES, read_image, to_rgb
from ferlib.faces.mtcnn import Cascade, _cut_patches, _make_square, suppress


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


def iou(a, b):
    """Intersection over union of two boxes."""
    width, height = np.minimum(a[2:4], b[2:4]) - np.maximum(a[:2], b[:2])
    common = max(0, width) * max(0, height)
    return common / (np.prod(a[2:4] - a[:2]) + np.prod(b[2:4] - b[:2]) - common)


def agree(ours, theirs):
    assert len(ours) == len(theirs)
    for row in theirs:
        best = max(ours, key=lambda other: iou(row, other))
        assert iou(row, best) >= 0.99
        assert best[4] == pytest.approx(row[4], abs=1e-3)
        np.testing.assert_allclose(best[5:], row[5:], atol=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(600, 512), (150, 128), (333, 500)])
def test_faces_are_those_of_the_package(size, hopper, package):
    image = cv2.resize(hopper, size[::-1], interpolation=cv2.INTER_AREA)
    agree(Cascade().detect(image), package(image))
    assert len(Cascade().detect(image)) == 1


@pytest.mark.slow
@pytest.mark.real_data
def test_faces_are_those_of_the_package_on_real_photos(package, photos_dir):
    found = 0
    for path in sorted(path for path in photos_dir.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES):
        image = to_rgb(read_image(path))
        ours = Cascade().detect(image)
        agree(ours, package(image))
        found += len(ours)
    assert found >= 19


def test_an_image_too_small_for_the_pyramid_holds_no_face(hopper):
    for shape in ((11, 11), (11, 300), (14, 14)):
        assert Cascade().detect(np.zeros((*shape, 3), np.uint8)).shape == (0, 15)


def test_overlapping_boxes_by_hand():
    boxes = np.array([[0, 0, 10, 10, 0.5], [1, 0, 11, 10, 0.9], [20, 20, 30, 30, 0.7], [0, 0, 5, 5, 0.8]], float)
    # The first two share 90 of 110 pixels. The last lies in the first: a fourth of it, but all of itself.
    assert suppress(boxes, 0.7).tolist() == [1, 3, 2]
    assert suppress(boxes, 0.85).tolist() == [1, 3, 2, 0]
    assert suppress(boxes, 0.7, by_smaller=True).tolist() == [1, 2]
    assert suppress(boxes[:0], 0.5).tolist() == []


def test_squares_keep_the_centre():
    np.testing.assert_allclose(_make_square(np.array([[0.0, 0, 10, 4, 0.5]])), [[0, -3, 10, 7, 0.5]])


def test_patches_are_cut_linearly_and_black_outside():
    ramp = np.tile(np.arange(10, dtype=np.float32)[:, np.newaxis, np.newaxis], (1, 10, 3)).transpose(1, 0, 2)
    patch = _cut_patches(ramp, np.array([[0.0, 0, 10, 10, 1]]), 19)[0]
    np.testing.assert_allclose(patch[0, :, 0], np.linspace(0, 9, 19), atol=1e-5)
    outside = _cut_patches(ramp + 1, np.array([[-10.0, 0, 0, 10, 1]]), 5)[0]
    assert (outside[:, :-1] == 0).all()
    assert _cut_patches(ramp, np.empty((0, 5)), 24).shape == (0, 24, 24, 3)


def test_it_needs_no_framework():
    code = (
        "import sys, numpy; from ferlib.faces.mtcnn import Cascade;"
        "Cascade().detect(numpy.zeros((60, 60, 3), 'uint8'));"
        "assert not {'tensorflow', 'keras', 'mtcnn', 'onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
