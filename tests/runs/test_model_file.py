"""Files that `ferlib export` wrote are used like a run's own model."""

import shutil

import numpy as np
import pytest

from ferlib.core.errors import ArtifactError, OptionError
from ferlib.runs.classifier import load_classifier
from ferlib.runs.folder import Run, pretrained_run_dir
from ferlib.runs.model_file import ModelFile
from ferlib.synthetic.generate import draw_faces


@pytest.fixture
def pretrained():
    return Run(pretrained_run_dir())


def test_a_file_gives_what_the_run_gives_without_calibration(pretrained):
    faces = draw_faces(np.arange(14) % 7, seed=5)
    model = ModelFile(pretrained.path / "model.onnx", pretrained)
    expected = load_classifier(calibrated=False, test_time_augmentation="none").predict_proba(faces)
    np.testing.assert_allclose(model.predict_proba(faces), expected, atol=1e-6)


def test_wrong_files_are_refused(pretrained, tmp_path):
    shutil.copy(pretrained.path / "config.json", tmp_path / "model.keras")
    (tmp_path / "damaged.onnx").write_bytes(b"no network")
    (tmp_path / "damaged.tflite").write_bytes(b"no network")
    cases = {
        tmp_path / "model.keras": (OptionError, "ends in .onnx or .tflite"),
        tmp_path / "missing.onnx": (ArtifactError, "There is no model file"),
        tmp_path / "damaged.onnx": (ArtifactError, "cannot be loaded"),
        tmp_path / "damaged.tflite": (ArtifactError, "cannot be loaded"),
    }
    for path, (error, sentence) in cases.items():
        with pytest.raises(error, match=sentence):
            ModelFile(path, pretrained)


def test_a_file_for_other_images_is_refused(pretrained):
    with pytest.raises(ArtifactError, match=r"takes images of shape \(3, 'h', 'w'\), the run .* of \(48, 48, 1\)"):
        ModelFile(pretrained_run_dir().parent / "mtcnn" / "rnet.onnx", pretrained)
