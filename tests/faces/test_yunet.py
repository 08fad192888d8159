"""YuNet, with a model file where there is one."""

import os
from concurrent.futures import ThreadPoolExecutor

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


@pytest.fixture(scope="module", params=[640, "any"])
def bright_squares(request, tmp_path_factory):
    """A network with YuNet's inputs and outputs that takes bright cells of 32 pixels for faces of 64 pixels."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    eyes_nose_and_mouth = [0.2, 0.3, 0.8, 0.3, 0.5, 0.5, 0.3, 0.8, 0.7, 0.8]
    nodes, constants, outputs = [], [], []
    for stride in (8, 16, 32):
        brightness = 1 / (255 * 3 * stride**2) if stride == 32 else 0.0
        parts = {
            "cls": (brightness, [0.0]),
            "obj": (brightness, [0.0]),
            "bbox": (0.0, [0.5, 0.5, np.log(2), np.log(2)]),
            "kps": (0.0, eyes_nose_and_mouth),
        }
        for part, (weight, bias) in parts.items():
            name = f"{part}_{stride}"
            values = {
                "w": np.full((len(bias), 3, stride, stride), weight, np.float32),
                "b": np.array(bias, np.float32),
                "s": np.array([1, -1, len(bias)]),
            }
            constants += [onnx.numpy_helper.from_array(value, f"{name}_{key}") for key, value in values.items()]
            nodes += [
                helper.make_node("Conv", ["input", f"{name}_w", f"{name}_b"], [f"{name}_c"], strides=[stride, stride]),
                helper.make_node("Transpose", [f"{name}_c"], [f"{name}_t"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"{name}_t", f"{name}_s"], [name]),
            ]
            outputs.append(helper.make_tensor_value_info(name, kind, [1, None, len(bias)]))
    sides = [request.param] * 2 if request.param == 640 else ["height", "width"]
    image = helper.make_tensor_value_info("input", kind, [1, 3, *sides])
    graph = helper.make_graph(nodes, "squares", [image], outputs, constants)
    path = tmp_path_factory.mktemp("yunet") / "squares.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6), path)
    return path


def test_opencv_runs_a_network_of_this_kind(bright_squares):
    detector = make_detector("yunet", model=bright_squares)
    image = np.zeros((256, 288, 3), np.uint8)
    image[96:128, 160:192] = image[192:224, 32:64] = 255
    faces = detector.detect(image)
    assert [face.box for face in faces] == [pytest.approx((16, 176, 64, 64)), pytest.approx((144, 80, 64, 64))]
    assert faces[0].confidence == pytest.approx(1, abs=1e-3)
    assert faces[1].landmarks["left_eye"] == pytest.approx((160 + 0.2 * 32, 96 + 0.3 * 32))
    assert faces[1].landmarks["mouth_right"] == pytest.approx((160 + 0.7 * 32, 96 + 0.8 * 32))
    with ThreadPoolExecutor(4) as pool:
        shapes = [(64 * (1 + n % 4), 96, 1) for n in range(16)]
        assert list(pool.map(lambda shape: detector.detect(np.zeros(shape, np.uint8)), shapes)) == [[]] * 16


def test_a_file_that_is_no_model_is_one_sentence(tmp_path):
    with pytest.raises(FerlibError, match="there is no such file"):
        make_detector("yunet", model=tmp_path / "missing.onnx")
    (tmp_path / "wrong.onnx").write_bytes(b"nothing")
    with pytest.raises(FerlibError, match="cannot be read as a YuNet network"):
        make_detector("yunet", model=tmp_path / "wrong.onnx")
