"""Networks in other formats give the same probabilities."""

import shutil
from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from ferlib.core.backend import import_keras
from ferlib.core.errors import ArtifactError, FerlibError, OptionError
from ferlib.export.__main__ import main
from ferlib.export.agreement import require_agreement
from ferlib.export.quantize import int8_scale
from ferlib.runs.classifier import load_classifier, load_keras_model
from ferlib.runs.folder import Run, pretrained_run_dir
from ferlib.runs.litert import LiteRT
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

    run = Run(tmp_path_factory.mktemp("run"))
    config = Run(pretrained_run_dir()).config
    run.write_config(replace(config, test_time_augmentation="none", photographs=None))
    save_network(get_model("compact_cnn").build(7, widths=(16, 32, 64)), run.path, faces)
    return run.path


@pytest.mark.parametrize(("name", "share"), [("float16", 0.6), ("int8", 0.35)])
def test_smaller_weights_give_the_same_probabilities(name, share, large_run, tmp_path, faces, capsys):
    arguments = ["--format", "onnx", "--weights", name, "--run", str(large_run), str(tmp_path / "small.onnx")]
    assert main(arguments) == 0
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


def test_weights_in_8_bits_replace_those_of_a_run_folder(large_run, tmp_path, faces):
    """Prediction from the run folder uses the smaller file."""
    shutil.copytree(large_run, tmp_path / "run")
    model = tmp_path / "run" / "model.onnx"
    assert main(["--format", "onnx", "--weights", "int8", "--run", str(model.parent), str(model)]) == 0
    assert model.stat().st_size < 0.35 * (large_run / "model.onnx").stat().st_size
    found, expected = (load_classifier(run).predict_proba(faces) for run in (model.parent, large_run))
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_onnx_runtime_computes_no_weights_while_it_predicts(large_run, tmp_path):
    assert main(["--format", "onnx", "--weights", "int8", "--run", str(large_run), str(tmp_path / "small.onnx")]) == 0
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(str(tmp_path / "small.onnx"), options)
    operations = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    # Rescaling of the input and three gates; no Shape, no Gather, no conversion.
    assert (operations["Mul"], operations["Cast"], operations["Shape"], operations["Gather"]) == (4, 0, 0, 0)


@pytest.mark.parametrize("name", ["onnx", pytest.param("tflite", marks=pytest.mark.slow)])
def test_views_and_calibration_can_be_in_the_file(name, tmp_path, faces, capfd):
    # TensorFlow logs what devices it finds, once in a process, unless ferlib imports it first.
    import_keras().ops.zeros(1)
    capfd.readouterr()
    output = tmp_path / f"model.{name}"
    assert main(["--format", name, "--tta", "flip", "--calibrated", str(output)]) == 0
    out, err = capfd.readouterr()
    assert (out.count("\n"), err) == (1, "")
    predict = LiteRT(output).predict if name == "tflite" else partial(probabilities, output)
    expected = load_classifier(test_time_augmentation="flip").predict_proba(faces[:10])
    np.testing.assert_allclose(predict(faces[:10]), expected, atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["onnx", "tflite"])
def test_int8_gives_similar_probabilities(name, tmp_path, faces, capfd):
    write_synthetic(tmp_path / "faces.zip", train_size=280, test_size=70)
    output = tmp_path / f"quick.{name}"
    assert main(["--format", f"{name}-int8", "--data", str(tmp_path / "faces.zip"), str(output)]) == 0
    assert capfd.readouterr().err == ""
    found = LiteRT(output).predict(faces) if name == "tflite" else probabilities(output, faces)
    expected = probabilities(pretrained_run_dir() / "model.onnx", faces)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=0.03 if name == "tflite" else 1e-4)
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces.zip", output.name]
    if name == "onnx":
        # More than 7 bits overflow on processors without VNNI instructions.
        tensors = [numpy_helper.to_array(tensor) for tensor in onnx.load(output).graph.initializer]
        weights = [tensor for tensor in tensors if tensor.dtype == np.int8 and tensor.ndim > 1]
        assert weights
        assert max(np.abs(tensor.astype(int)).max() for tensor in weights) <= 64


def test_a_keras_network_is_exported_to_onnx(network_run, tmp_path, faces):
    assert main(["--format", "onnx", "--run", str(network_run), str(tmp_path / "model.onnx")]) == 0
    expected = probabilities(network_run / "model.onnx", faces)
    np.testing.assert_allclose(probabilities(tmp_path / "model.onnx", faces), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        (["--format", "tflite", "model.onnx"], OptionError, "ends in .tflite for tflite"),
        (["--format", "gguf", "model.onnx"], OptionError, "--format: expected one of onnx, onnx-int8"),
        (["--format", "tflite", "--weights", "int8", "m.tflite"], OptionError, "--weights is for --format onnx, not"),
        (["model.onnx"], OptionError, "--format is required"),
        (["--format", "onnx"], OptionError, "FILE: expected one file to write, got 0"),
        (["--format", "onnx", "--run", ".", "model.onnx"], ArtifactError, "not a run folder"),
    ],
)
def test_wrong_options_are_refused(arguments, error, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=sentence):
        main(arguments)
    assert list(tmp_path.iterdir()) == []


def test_views_and_calibration_are_not_applied_twice(large_run):
    with pytest.raises(OptionError, match="adds test-time augmentation and calibration itself"):
        main(["--format", "onnx", "--calibrated", "--run", str(large_run), str(large_run / "model.onnx")])


def test_disagreement_is_an_error():
    same = np.full((2, 7), 1 / 7)
    require_agreement(same + 5e-5, same, "ONNX")
    for wrong in (same + 2e-4, same * np.nan):
        with pytest.raises(FerlibError, match="The ONNX network's probabilities differ"):
            require_agreement(wrong, same, "ONNX")
