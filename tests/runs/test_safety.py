"""A run folder from a stranger cannot run code, read files outside of it, or exhaust memory."""

import dataclasses
import io
import json
import pickle
import resource
import shutil
import zipfile

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ferlib.core.errors import ArtifactError
from ferlib.runs.classifier import load_classifier
from ferlib.runs.folder import Run, pretrained_run_dir
from ferlib.runs.safety import limited_memory


@pytest.fixture
def run(tmp_path):
    """A copy of the pretrained run with the ONNX network only."""
    path = tmp_path / "run"
    shutil.copytree(pretrained_run_dir(), path)
    (path / "model.keras").unlink()
    copied = Run(path)
    # The networks of these tests have one output.
    copied.write_config(dataclasses.replace(copied.config, photographs=None))
    return copied


def change_config(run, **changes):
    path = run.path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def write_onnx(run, nodes, initializers=()):
    """Write a network whose nodes turn the input x into y."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 48, 48, 1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 7])
    graph = helper.make_graph(nodes, "g", [x], [y], list(initializers))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (run.path / "model.onnx").write_bytes(model.SerializeToString())
    return model


def refusal(run):
    with pytest.raises(ArtifactError) as caught:
        load_classifier(run)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_copy_is_loaded(run):
    assert load_classifier(run).predict_proba(np.zeros((2, 48, 48, 1), np.uint8)).shape == (2, 7)


@pytest.mark.parametrize("name", ["config.json", "history.json", "metrics.json", "model.onnx"])
def test_links_to_outside_are_not_read(run, tmp_path, name):
    shutil.move(run.path / name, tmp_path / name)
    (run.path / name).symlink_to(tmp_path / name)
    with pytest.raises(ArtifactError, match="link to outside of its run folder"):
        if name == "history.json":
            _ = run.history
        elif name == "metrics.json":
            _ = run.metrics
        else:
            load_classifier(run)


def test_members_cannot_be_links(run):
    (run.path / "members").mkdir()
    (run.path / "members" / "0-self").symlink_to(run.path)
    assert "link to outside" in refusal(run)


def test_weights_in_other_files_are_not_read(run, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(48 * 48 * 7 * 4))
    model = write_onnx(
        run,
        [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])],
        [numpy_helper.from_array(np.zeros((48 * 48, 7), np.float32), "w")],
    )
    assert load_classifier(run).predict_proba(np.zeros((1, 48, 48, 1), np.uint8)).shape == (1, 7)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "../secret"), ("offset", "0"), ("length", str(48 * 48 * 7 * 4))):
        tensor.external_data.add(key=key, value=value)
    (run.path / "model.onnx").write_bytes(model.SerializeToString())
    assert "keeps weights in other files" in refusal(run)


def test_network_that_would_fill_the_memory_is_refused(run):
    shape = numpy_helper.from_array(np.array([40_000, 200_000], np.int64), "shape")
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["big"]),
        helper.make_node("ReduceMax", ["big"], ["top"], keepdims=0),
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("Slice", ["f", "zero", "seven", "one"], ["part"]),
        helper.make_node("Add", ["part", "top"], ["y"]),
    ]
    constants = [
        numpy_helper.from_array(np.array([v], np.int64), n) for n, v in (("zero", 0), ("seven", 7), ("one", 1))
    ]
    write_onnx(run, nodes, [shape, *constants])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "cannot be loaded" in refusal(run)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + (1 << 20)


def test_limit_of_memory_ends_with_the_block():
    before = resource.getrlimit(resource.RLIMIT_AS)
    with limited_memory(1 << 30), pytest.raises(MemoryError):
        np.zeros(2 << 30, np.uint8)
    assert resource.getrlimit(resource.RLIMIT_AS) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": [1_000_000, 1_000_000]}, "images of up to 4096 pixels"),
        ({"image_size": [0, 48]}, "images of up to"),
        ({"channels": 4}, "1 or 3 channels"),
        ({"class_names": []}, "different names"),
        ({"class_names": ["a"] * 7}, "different names"),
        ({"class_names": [str(n) for n in range(2000)]}, "1 to 1000"),
        ({"class_names": ["a", "b"], "calibration": None}, "model's answers|cannot be loaded"),
        ({"calibration": {"scales": [1.0], "biases": [0.0]}}, "one scale per class"),
        ({"calibration": {"scales": [1e999] * 7, "biases": [0.0] * 7}}, "finite"),
        ({"image_size": [24, 24]}, "cannot be loaded"),
        ({"schema_version": 99}, "schema version"),
    ],
)
def test_impossible_configurations_are_refused(run, changes, message):
    import re

    change_config(run, **changes)
    assert re.search(message, refusal(run))


def test_deeply_nested_and_huge_json_are_refused(run):
    (run.path / "config.json").write_text("[" * 200_000)
    assert "cannot be read" in refusal(run)
    with (run.path / "config.json").open("wb") as file:
        file.truncate(100 << 20)
    assert "bytes" in refusal(run)


def test_history_of_other_things_is_refused(run):
    (run.path / "history.json").write_text('[{"epoch": {"a": 1}}]')
    with pytest.raises(ArtifactError, match="expected numbers by name"):
        _ = run.history


class _Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_pickles_are_not_loaded(run, tmp_path):
    (run.path / "model.onnx").unlink()
    for data in (pickle.dumps(_Evil(tmp_path / "made")), _skops_with_a_function(tmp_path)):
        (run.path / "model.skops").write_bytes(data)
        refusal(run)
        assert not (tmp_path / "made").exists()


def _skops_with_a_function(tmp_path):
    """Return a skops file that would call os.system."""
    schema = {
        "__class__": "system",
        "__module__": "os",
        "__loader__": "FunctionNode",
        "content": "os.system",
        "protocol": 2,
    }
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
    return stream.getvalue()


def test_bombs_in_model_files_are_refused(run):
    (run.path / "model.onnx").unlink()
    with zipfile.ZipFile(run.path / "model.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b" " * (60 << 20))
    assert "like a bomb" in refusal(run)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lambda", "vocabulary", "large"])
def test_layers_that_run_code_or_read_files_are_refused(run, tmp_path, kind):
    keras = pytest.importorskip("keras")
    (run.path / "model.onnx").unlink()
    inputs = keras.Input((48, 48, 1))
    current = keras.layers.Flatten()(inputs)
    if kind == "lambda":
        current = keras.layers.Lambda(lambda x: x)(current)
    model = keras.Model(inputs, keras.layers.Dense(7, activation="softmax")(current))
    model.save(run.path / "model.keras")
    if kind != "lambda":
        edit = {
            "vocabulary": ('"class_name": "Flatten"', '"class_name": "StringLookup"'),
            "large": ('"units": 7', '"units": 700000000'),
        }[kind]
        _edit_config(run.path / "model.keras", *edit)
    assert "which can run code or read files" in (message := refusal(run)) or "over the limit" in message


def _edit_config(path, old, new):
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    text = files["config.json"].decode()
    assert old in text
    files["config.json"] = text.replace(old, new).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


@pytest.mark.slow
def test_weights_cannot_link_to_other_files(run, tmp_path):
    """HDF5 files can contain datasets of other files."""
    keras, h5py = pytest.importorskip("keras"), pytest.importorskip("h5py")
    (run.path / "model.onnx").unlink()
    inputs = keras.Input((48, 48, 1))
    outputs = keras.layers.Dense(7, activation="softmax")(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, outputs)
    model.save(run.path / "model.keras")
    with h5py.File(tmp_path / "secret.h5", "w") as secret:
        secret["w"] = np.ones((2304, 7), np.float32)
    with zipfile.ZipFile(run.path / "model.keras") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    (tmp_path / "weights.h5").write_bytes(files["model.weights.h5"])
    with h5py.File(tmp_path / "weights.h5", "a") as weights:
        name = next(name for name in _datasets(weights) if weights[name].shape == (2304, 7))
        del weights[name]
        weights[name] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/w")
    files["model.weights.h5"] = (tmp_path / "weights.h5").read_bytes()
    with zipfile.ZipFile(run.path / "model.keras", "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    refusal(run)


def _datasets(group):
    names = []
    group.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
    return names


def test_onnx_file_is_checked_before_it_is_loaded(run):
    (run.path / "model.onnx").unlink()
    (run.path / "model.onnx").mkdir()
    assert "is not a file" in refusal(run)


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: data.replace(b"Conv", b"C\x97nv")]
)
def test_damaged_onnx_is_one_sentence(run, damage, capfd):
    (run.path / "model.onnx").write_bytes(damage((run.path / "model.onnx").read_bytes()))
    assert "cannot be loaded" in refusal(run)
    assert capfd.readouterr() == ("", "")


def test_network_of_another_shape_is_one_sentence(run, capfd):
    write_onnx(run, [helper.make_node("Flatten", ["x"], ["y"])])
    assert "cannot be loaded" in refusal(run)
    assert capfd.readouterr() == ("", "")
    assert onnx.load(run.path / "model.onnx").graph.name == "g"
