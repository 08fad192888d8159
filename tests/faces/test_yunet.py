"""YuNet, with a model file where there is one."""

import os

import matplotlib.cbook
import numpy as np
import pytest

from ferlib.core.boxes import iou
from ferlib.core.errors import FerlibError
from ferlib.core.images import read_image, resize
from ferlib.faces import make_detector, yunet

MODEL = os.environ.get("YUNET_MODEL")


@pytest.fixture(scope="module")
def hopper():
    return read_image(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))


@pytest.mark.skipif(MODEL is None, reason="YUNET_MODEL is not set: this test needs a model file")
@pytest.mark.parametrize("factor", [0.25, 1, 3])
def test_the_face_of_a_portrait_is_found(factor, hopper):
    image = resize(hopper, (round(600 * factor), round(512 * factor)))
    (face,) = make_detector("yunet", model=MODEL).detect(image)
    assert iou(face.box, [value * factor for value in (178, 110, 173, 220)]) > 0.6
    assert face.landmarks["left_eye"][0] < face.landmarks["nose"][0] < face.landmarks["right_eye"][0]
    assert make_detector("yunet", model=MODEL).detect(np.zeros((100, 100, 1), np.uint8)) == []


class OneFace:
    """Finds a face at a quarter of the image's width and height, in OpenCV's format."""

    def setInputSize(self, size):  # noqa: N802
        self.size = size

    def setScoreThreshold(self, threshold):  # noqa: N802
        self.threshold = threshold

    def detect(self, image):
        assert image.shape[:2] == self.size[::-1]
        w, h = self.size
        points = [w * 0.35, h * 0.4, w * 0.65, h * 0.4, w * 0.5, h * 0.5, w * 0.4, h * 0.6, w * 0.6, h * 0.6]
        return 1, np.array([[w / 4, h / 4, w / 2, h / 2, *points, 0.95]], np.float32)


@pytest.mark.parametrize("size", [(120, 160), (1000, 3000)])
def test_boxes_are_in_pixels_of_the_original_image(size, monkeypatch):
    monkeypatch.setattr(yunet, "_load", lambda path: OneFace())
    height, width = size
    (face,) = make_detector("yunet", model="model.onnx").detect(np.zeros((height, width, 1), np.uint8))
    assert face.box == pytest.approx((width / 4, height / 4, width / 2, height / 2), abs=6)
    assert face.landmarks["left_eye"] == pytest.approx((width * 0.35, height * 0.4), abs=6)
    assert face.confidence == pytest.approx(0.95)


def test_a_file_that_is_no_model_is_one_sentence(tmp_path):
    with pytest.raises(FerlibError, match="there is no such file"):
        make_detector("yunet", model=tmp_path / "missing.onnx")
    (tmp_path / "wrong.onnx").write_bytes(b"nothing")
    with pytest.raises(FerlibError, match="cannot be read as a YuNet network"):
        make_detector("yunet", model=tmp_path / "wrong.onnx")
