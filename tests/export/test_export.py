"""Networks in other formats give the same probabilities."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from ferlib.core.errors import ArtifactError, FerlibError, OptionError
from ferlib.export.__main__ import main
from ferlib.export.agreement import require_agreement
from ferlib.export.quantize import int8_scale
from ferlib.runs.classifier import load_keras_model
from ferlib.runs.folder import pretrained_run_dir
from ferlib.synthetic.generate import draw_faces, write_synthetic


@pytest.fixture(scope="module")
def faces():
    return draw_faces(np.arange(210) % 7, seed=5)


def probabilities(path, images):
    session = onnxruntime.InferenceSession(str(path))
    return session.run(None, {session.get_inputs()[0].name: images.astype(np.float32)})[0]


@pytest.fixture(scope="module")
def large_run(tmp_path_factory, faces):
    """A run with 32-bit weights; those of the pretrained model are rounded already."""
    from ferlib.export.onnx import save_network
    from ferlib.models import get_model

    folder = tmp_path_factory.mktemp("run")
    save_network(get_model("compact_cnn").build(7, widths=(16, 32, 64)), folder, faces)
    return folder


@pytest.mark.parametrize(("name", "share"), [("float16", 0.6), ("int8-weights", 0.35)])
def test_smaller_weights_give_the_same_probabilities(name, share, large_run, tmp_path, faces, capsys):
    assert main(["--format", name, "--run", str(large_run), str(tmp_path / "small.onnx")]) == 0
    assert capsys.readouterr().out.startswith(f"wrote {tmp_path / 'small.onnx'} (")
    original = large_run / "model.onnx"
    assert (tmp_path / "small.onnx").stat().st_size < share * original.stat().st_size
    found, expected = probabilities(tmp_path / "small.onnx", faces), probabilities(original, faces)
    np.testing.assert_allclose(found, expected, atol=5e-3)
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.98


@pytest.mark.parametrize("largest", [112, 120, 127])
def test_rounded_weights_keep_their_step(largest):
    rng = np.random.default_rng(0)
    steps = rng.integers(-largest, largest + 1, (3, 3, 8, 5))
    steps[0, 0, 0] = largest
    # A batch normalization folded into a convolution scales each channel.
    weights = (steps * rng.uniform(1e-4, 3, 5)).astype(np.float32)
    np.testing.assert_array_equal(np.round(weights / int8_scale(weights, -1)), steps)


def test_other_weights_have_127_steps():
    weights = np.random.default_rng(1).normal(size=(4, 50)).astype(np.float32)
    weights[2] = 0
    steps = weights / int8_scale(weights, 0)
    np.testing.assert_allclose(np.abs(steps).max(axis=1), [127, 127, 0, 127], rtol=1e-6)


def test_pretrained_keras_and_onnx_models_agree(faces):
    found = probabilities(pretrained_run_dir() / "model.onnx", faces)
    expected = load_keras_model(pretrained_run_dir()).predict_on_batch(faces.astype(np.float32))
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.slow
def test_int8_gives_similar_probabilities(tmp_path, faces, capfd):
    write_synthetic(tmp_path / "faces.zip", train_size=280, test_size=70)
    assert main(["--format", "int8", "--data", str(tmp_path / "faces.zip"), str(tmp_path / "quick.onnx")]) == 0
    found = probabilities(tmp_path / "quick.onnx", faces)
    expected = probabilities(pretrained_run_dir() / "model.onnx", faces)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-4)
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.8
    # More than 7 bits overflow on processors without VNNI instructions.
    tensors = [numpy_helper.to_array(tensor) for tensor in onnx.load(tmp_path / "quick.onnx").graph.initializer]
    weights = [tensor for tensor in tensors if tensor.dtype == np.int8 and tensor.ndim > 1]
    assert weights
    assert max(np.abs(tensor.astype(int)).max() for tensor in weights) <= 64
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces.zip", "quick.onnx"]
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_tflite_gives_the_same_probabilities(tmp_path, faces, capfd):
    from ferlib.export.tflite import run_tflite

    assert main(["--format", "tflite", str(tmp_path / "model.tflite")]) == 0
    out, err = capfd.readouterr()
    assert (out.count("\n"), err) == (1, "")
    data = (tmp_path / "model.tflite").read_bytes()
    with pytest.warns(UserWarning):
        found = run_tflite(data, faces[:10])
    expected = probabilities(pretrained_run_dir() / "model.onnx", faces[:10])
    np.testing.assert_allclose(found, expected, atol=5e-3)


def test_a_keras_network_is_exported_to_onnx(network_run, tmp_path, faces):
    assert main(["--format", "onnx", "--run", str(network_run), str(tmp_path / "model.onnx")]) == 0
    expected = probabilities(network_run / "model.onnx", faces)
    np.testing.assert_allclose(probabilities(tmp_path / "model.onnx", faces), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        (["--format", "tflite", "model.onnx"], OptionError, "ends in .tflite for tflite"),
        (["--format", "gguf", "model.onnx"], OptionError, "--format: expected one of onnx, float16"),
        (["model.onnx"], OptionError, "--format is required"),
        (["--format", "onnx"], OptionError, "FILE: expected one file to write, got 0"),
        (["--format", "float16", "--run", ".", "model.onnx"], ArtifactError, "no ONNX network"),
    ],
)
def test_wrong_options_are_refused(arguments, error, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=sentence):
        main(arguments)
    assert list(tmp_path.iterdir()) == []


def test_disagreement_is_an_error():
    same = np.full((2, 7), 1 / 7)
    require_agreement(same + 5e-5, same, "ONNX")
    for wrong in (same + 2e-4, same * np.nan):
        with pytest.raises(FerlibError, match="The ONNX network's probabilities differ"):
            require_agreement(wrong, same, "ONNX")
