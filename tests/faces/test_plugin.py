"""Detectors that the user brings."""

import numpy as np
import pytest

from ferlib.core.errors import FerlibError, OptionError
from ferlib.faces import Face, make_detector
from ferlib.predict import main

MODULE = """
from ferlib.faces import Face


class Corner:
    def __init__(self, *, min_face_size=None, min_confidence=0.5):
        self.size = min_face_size or 10

    def detect(self, image):
        return [Face((0, 0, self.size, self.size), 1.0)]


class Nothing:
    pass
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a detector in one file."""
    (tmp_path / "corner_detector.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_class_in_the_current_folder_is_a_detector(folder, capsys):
    detector = make_detector("corner_detector:Corner", min_face_size=12, n_threads=3)
    assert detector.detect(np.zeros((30, 30, 1), np.uint8)) == [Face((0, 0, 12, 12), 1.0)]
    image = folder / "image.pgm"
    image.write_bytes(b"P5 40 40 255 " + bytes(1600))
    assert main([str(image), "--detector", "corner_detector:Corner"]) == 0
    assert "box [0, 0, 10, 10]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("missing_module:Corner", "there is no module 'missing_module'"),
        ("corner_detector:Missing", "the module corner_detector has no class 'Missing'"),
        ("corner_detector:Nothing", "the class has no method 'detect'"),
        ("json:loads", "the class cannot be used .*argument"),
        ("builtins:dict", "the class cannot be used .*signature"),
    ],
)
def test_a_class_that_is_no_detector_is_one_sentence(folder, spec, sentence):
    with pytest.raises(FerlibError, match=sentence):
        make_detector(spec)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--detector", "retina"], "'retina' is not a detector"),
        (["--detector", "yunet"], "yunet needs a model file"),
        (["--detector-model", "a.onnx"], "mtcnn takes no model file"),
    ],
)
def test_wrong_names_are_refused_before_anything_is_loaded(arguments, sentence):
    with pytest.raises(OptionError, match=sentence):
        main(["a.png", *arguments])
