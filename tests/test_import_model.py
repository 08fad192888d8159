"""Networks of other programs become run folders that predict and can be evaluated."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ferlib.core.errors import ArtifactError, OptionError
from ferlib.core.images import to_gray
from ferlib.evaluate import main as evaluate
from ferlib.export.importing import InputFormat, order_classes
from ferlib.import_model import main
from ferlib.predict import main as predict
from ferlib.runs.classifier import load_classifier
from ferlib.runs.folder import Run
from ferlib.synthetic.generate import write_synthetic

NAMES = "neutral,happiness,surprise,sadness,anger,disgust,fear,contempt"


def write_network(path, *, channels=1, size=(6, 4), n_classes=8, first=True, batch="n", output="logits", kind="float"):
    """Write a linear network, as an ONNX file, and return its weights (n_classes, C, H, W)."""
    rng = np.random.default_rng(1)
    weights = rng.normal(0, 0.02, (n_classes, channels, *(size if size[0] else (3, 3)))).astype(np.float32)
    rows = weights if first else weights.transpose(0, 2, 3, 1)
    shape = [batch, channels, *size] if first else [batch, *size, channels]
    flat = numpy_helper.from_array(rows.reshape(n_classes, -1).T.copy(), "w")
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["f"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "w"], ["logits"]),
    ]
    if output == "probabilities":
        nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1))
    elem_type = TensorProto.FLOAT if kind == "float" else TensorProto.UINT8
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("x", elem_type, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, n_classes])],
        [flat],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=8), path)
    return weights


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def images_of(channels, n=5, size=(6, 4)):
    return np.random.default_rng(0).integers(0, 256, (n, *size, channels), dtype=np.uint8)


@pytest.mark.parametrize("output", ["logits", "probabilities"])
@pytest.mark.parametrize("batch", ["n", 1, 2])
@pytest.mark.parametrize("first", [True, False])
def test_gray_network(tmp_path, output, batch, first):
    weights = write_network(tmp_path / "theirs.onnx", output=output, batch=batch, first=first)
    arguments = ["--run-dir", str(tmp_path / "run"), "--class-names", NAMES, "--color", "gray", "--range", "-1,1"]
    if batch == 2:
        # One noise image is tried, which such a network does not take.
        with pytest.raises(ArtifactError, match="cannot be run"):
            main([str(tmp_path / "theirs.onnx"), *arguments[:-2], "--range=-1,1"])
        return
    assert main([str(tmp_path / "theirs.onnx"), *arguments[:-2], "--range=-1,1"]) == 0
    classifier = load_classifier(tmp_path / "run")
    emotions = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral", "contempt")
    assert classifier.class_names == emotions
    assert (classifier.image_size, classifier.channels) == ((6, 4), 1)
    images = images_of(1)
    theirs = softmax(np.einsum("nhwc,kchw->nk", images / 127.5 - 1, weights))
    order = [4, 5, 6, 1, 3, 2, 0, 7]
    np.testing.assert_allclose(classifier.predict_proba(images), theirs[:, order], atol=1e-5)


@pytest.mark.parametrize(
    ("color", "first", "kind"), [("rgb", True, "float"), ("bgr", False, "float"), ("rgb", False, "uint8")]
)
def test_color_network_with_mean_and_deviation(tmp_path, color, first, kind):
    weights = write_network(tmp_path / "theirs.onnx", channels=3, n_classes=2, first=first, kind=kind)
    arguments = ["--class-names", "positive,negative", "--color", color]
    if kind == "uint8":
        arguments += ["--range", "0,255"]
        mean, std, scale = 0, 1, 1
    else:
        arguments += ["--range", "0,1", "--mean", "0.5,0.4,0.3", "--std", "0.2,0.3,0.4"]
        mean, std, scale = np.array([0.5, 0.4, 0.3]), np.array([0.2, 0.3, 0.4]), 255
    assert main([str(tmp_path / "theirs.onnx"), "--run-dir", str(tmp_path / "run"), *arguments]) == 0
    images = images_of(3)
    seen = images[..., ::-1] if color == "bgr" else images
    expected = softmax(np.einsum("nhwc,kchw->nk", (seen / scale - mean) / std, weights))
    classifier = load_classifier(tmp_path / "run")
    assert classifier.class_names == ("positive", "negative")
    np.testing.assert_allclose(classifier.predict_proba(images), expected, atol=1e-4)


def test_imported_network_predicts_and_is_evaluated(tmp_path, capsys):
    """The seven emotions of the dataset are measured; contempt, which it lacks, is not."""
    from PIL import Image

    faces = write_synthetic(tmp_path / "faces.zip", train_size=70, test_size=70)
    write_network(tmp_path / "theirs.onnx", size=(48, 48))
    arguments = ["--run-dir", str(tmp_path / "run"), "--class-names", NAMES, "--color", "gray", "--range", "0,255"]
    assert main([str(tmp_path / "theirs.onnx"), *arguments]) == 0
    card = (tmp_path / "run" / "model_card.md").read_text()
    assert "Imported from theirs.onnx (sha256 " in card
    assert evaluate(["--data", str(faces), "--run", str(tmp_path / "run")]) == 0
    output = capsys.readouterr()
    assert "the dataset has no contempt: these classes are not measured" in output.err
    assert "accuracy" in output.out
    Image.fromarray(images_of(3, 1, (60, 60))[0]).save(tmp_path / "face.png")
    annotated = tmp_path / "annotated.png"
    command = ["--run", str(tmp_path / "run"), "--detector", "none", "--output-image", str(annotated)]
    assert predict([str(tmp_path / "face.png"), *command]) == 0
    assert annotated.exists()


def test_classes_that_are_no_emotions_cannot_be_evaluated(tmp_path):
    faces = write_synthetic(tmp_path / "faces.zip", train_size=14, test_size=14)
    write_network(tmp_path / "theirs.onnx", n_classes=2)
    arguments = ["--class-names", "positive,negative", "--color", "gray", "--range", "0,1"]
    assert main([str(tmp_path / "theirs.onnx"), "--run-dir", str(tmp_path / "run"), *arguments]) == 0
    with pytest.raises(Exception, match="The classes of theirs are positive, negative: datasets have emotions"):
        evaluate(["--data", str(faces), "--run", str(tmp_path / "run")])


@pytest.mark.slow
def test_keras_network(tmp_path):
    keras = pytest.importorskip("keras")
    inputs = keras.Input((24, 20, 1))
    current = keras.layers.Conv2D(4, 3, activation="relu")(inputs)
    current = keras.layers.Flatten()(keras.layers.MaxPooling2D()(current))
    model = keras.Model(inputs, keras.layers.Dense(3)(current))
    images = images_of(3, size=(24, 20))
    expected = softmax(np.asarray(model.predict_on_batch(to_gray(images) / np.float32(255))))
    for name in ("theirs.keras", "theirs.h5"):
        model.save(tmp_path / name)
        arguments = ["--class-names", "sad,HAPPY,other", "--color", "gray", "--range", "0,1", "--overwrite"]
        assert main([str(tmp_path / name), "--run-dir", str(tmp_path / "run"), *arguments]) == 0
        classifier = load_classifier(tmp_path / "run")
        assert classifier.class_names == ("happy", "sad", "other")
        np.testing.assert_allclose(classifier.predict_proba(images), expected[:, [1, 0, 2]], atol=1e-4)


@pytest.mark.slow
def test_keras_network_with_code_is_refused(tmp_path):
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Lambda(lambda x: x * 2), keras.layers.Flatten()])
    model.add(keras.layers.Dense(2))
    for name, reason in (("theirs.keras", "has a layer Lambda"), ("theirs.h5", "cannot be loaded by Keras")):
        model.save(tmp_path / name)
        with pytest.raises(ArtifactError, match=f"{name} {reason}"):
            main(
                [
                    str(tmp_path / name),
                    "--run-dir",
                    str(tmp_path / "run"),
                    *["--class-names", "a,b", "--color", "gray", "--range", "0,1"],
                ]
            )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--class-names", "happy,sad"], "has shape .3, 8., expected 2 classes"),
        (["--class-names", NAMES.replace("fear", "faer")], "'faer'"),
        (["--class-names", NAMES.replace("fear", "anger")], "'angry' twice"),
        (["--color", "rgb"], "--color: .* takes 1 channels, but rgb has 3"),
        (["--color", "blue"], "--color: expected one of gray, rgb, bgr"),
        (["--image-size", "48,48"], "--image-size: .* takes 6,4, got 48,48"),
        (["--image-size", "48"], "--image-size: expected two numbers"),
        (["--range", "1,1"], "--range: expected two different numbers"),
        (["--range", "1"], "--range: expected two numbers"),
        (["--mean", "1,2"], "--mean: expected one number or 1, got 2"),
        (["--std", "0"], "--std"),
    ],
)
def test_wrong_descriptions_are_refused(tmp_path, change, message):
    write_network(tmp_path / "theirs.onnx")
    arguments = {"--class-names": NAMES, "--color": "gray", "--range": "0,255", "--run-dir": str(tmp_path / "run")}
    arguments |= dict([change])
    if message == "'faer'":
        # Too far from an emotion's name, it is a class of its own; the network decides.
        assert order_classes(NAMES.replace("fear", "faer").split(","))[0][-1] == "contempt"
        return
    with pytest.raises(OptionError, match=message):
        main([str(tmp_path / "theirs.onnx"), *(word for pair in arguments.items() for word in pair)])
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.onnx", b"<html>", "is not a valid ONNX file"),
        ("a.h5", b"x", "cannot be loaded by Keras"),
        ("a.pt", b"x", "expected a file that ends in"),
        ("gone.onnx", None, "no such file"),
    ],
)
def test_other_files_are_refused(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    arguments = ["--class-names", NAMES, "--color", "gray", "--range", "0,1", "--run-dir", str(tmp_path / "run")]
    with pytest.raises(ArtifactError, match=message):
        main([str(tmp_path / name), *arguments])


def test_network_of_any_size_needs_a_size(tmp_path):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, "h", "w"])
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    weights = numpy_helper.from_array(np.array([[1.0, -1.0]], np.float32), "w")
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])
    graph = helper.make_graph(nodes, "pool", [x], [y], [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=8), tmp_path / "a.onnx")
    arguments = [str(tmp_path / "a.onnx"), "--run-dir", str(tmp_path / "run"), "--class-names", "joy,anger"]
    arguments += ["--color", "gray", "--range", "0,1"]
    with pytest.raises(OptionError, match="--image-size is required"):
        main(arguments)
    assert main([*arguments, "--image-size", "10,12"]) == 0
    assert Run(tmp_path / "run").config.image_size == (10, 12)
    assert load_classifier(tmp_path / "run").predict_proba(images_of(1)).shape == (5, 2)
    with pytest.raises(ArtifactError, match="already contains a run"):
        main([*arguments, "--image-size", "10,12"])


def test_a_model_file_is_not_a_run_folder(tmp_path):
    write_network(tmp_path / "theirs.onnx")
    with pytest.raises(ArtifactError, match=r"is a file, not a run folder.*`ferlib import theirs\.onnx --run-dir DIR`"):
        load_classifier(tmp_path / "theirs.onnx")


def test_scale_and_offset():
    scale, offset = InputFormat(color="rgb", low=-1, high=1, mean=(0.5, 0, 0), std=(2, 1, 1)).scale_and_offset()
    np.testing.assert_allclose(scale * 255 + offset, [0.25, 1, 1])
    np.testing.assert_allclose(offset, [-0.75, -1, -1])
