"""A trained network in other formats: TensorFlow Lite for phones, ONNX with smaller numbers for prediction."""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ferlib.core.backend import suppress_native_stderr
from ferlib.core.errors import ArtifactError, FerlibError
from ferlib.core.files import atomic_write
from ferlib.core.images import fit_to_model
from ferlib.runs.classifier import load_keras_model
from ferlib.runs.folder import ONNX_MODEL, read_config

#: How far the probabilities of a format that keeps all digits may be from the network's own.
TOLERANCE = 1e-4


def write_tflite(run_dir: str | Path, output: str | Path) -> Path:
    """Write a run's network for TensorFlow Lite (LiteRT), and make sure that it says the same.

    Its input is float32 (1, H, W, C) of 0 to 255, its output the probabilities of one view, not calibrated.

    Parameters
    ----------
    run_dir : path
    output : path
        Ends in ``.tflite``.

    Raises
    ------
    ArtifactError
        The run has no Keras network.
    FerlibError
        TensorFlow is missing, or the probabilities differ by 1e-4 or more.
    """
    model = load_keras_model(run_dir)
    try:
        with suppress_native_stderr():
            import tensorflow as tf
    except ImportError:
        raise FerlibError("TensorFlow Lite files are written by TensorFlow, which is not installed.") from None
    size = tuple(read_config(run_dir)["image_size"])
    with suppress_native_stderr(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        # TensorFlow says that LiteRT's own package will take over its interpreter, and prints the network's signature.
        warnings.simplefilter("ignore")
        data = tf.lite.TFLiteConverter.from_keras_model(model).convert()
        images = _noise(8, (*size, model.input_shape[-1]))
        found = np.concatenate([_run_tflite(data, image[np.newaxis]) for image in images])
    expected = np.asarray(model.predict_on_batch(images.astype(np.float32)))
    _require_same(found, expected, "TensorFlow Lite")
    with atomic_write(output) as path:
        path.write_bytes(data)
    return Path(output)


def _run_tflite(data: bytes, images: np.ndarray) -> np.ndarray:
    """Return the probabilities (1, n_classes) that a TensorFlow Lite network gives."""
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(model_content=data)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images.astype(np.float32))
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def write_int8(run_dir: str | Path, output: str | Path, images: np.ndarray) -> Path:
    """Write a run's ONNX network with weights and activations of 8 bits.

    Scales are chosen per channel, from what the layers answer to some training images. Weights take 7 of their 8
    bits: processors without VNNI instructions add products in 16 bits, which overflow with all 8. How much accuracy
    rounding costs has to be measured.

    Parameters
    ----------
    run_dir : path
    output : path
        Ends in ``.onnx``.
    images : ndarray of shape (n, H, W, C), dtype uint8
        A few hundred training images.

    Raises
    ------
    ArtifactError
        The run has no ONNX network.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    source = _onnx_model(run_dir)
    config = read_config(run_dir)
    fitted = fit_to_model(images, image_size=tuple(config["image_size"]), channels=config["channels"])

    class Images(CalibrationDataReader):
        """Batches of images, under the name that the network expects."""

        def __init__(self) -> None:
            self._batches = self._iterate()

        def _iterate(self) -> Iterator[dict[str, np.ndarray]]:
            name = _input_name(source)
            for start in range(0, len(fitted), 64):
                yield {name: fitted[start : start + 64].astype(np.float32)}

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._batches, None)

    with atomic_write(output) as path, suppress_native_stderr():
        prepared = path.with_suffix(".prepared")
        try:
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
            # 256 steps are too few for probabilities.
            softmax = [node.name for node in onnx.load(prepared).graph.node if node.op_type == "Softmax"]
            quantize_static(
                prepared,
                path,
                Images(),
                per_channel=True,
                # Else the delivered model loses 7 points of accuracy on processors that have AVX2 alone.
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=softmax,
                calibrate_method=CalibrationMethod.MinMax,
            )
        finally:
            prepared.unlink(missing_ok=True)
    return Path(output)


def write_float16(run_dir: str | Path, output: str | Path) -> Path:
    """Write a run's ONNX network with its weights stored in 16 bits: half the size, the same arithmetic.

    Weights are brought back to 32 bits when the network is loaded, so only their last digits differ.

    Parameters
    ----------
    run_dir : path
    output : path
        Ends in ``.onnx``.

    Raises
    ------
    ArtifactError
        The run has no ONNX network.
    FerlibError
        A probability differs by 0.01 or more.
    """
    from onnx import TensorProto, helper, numpy_helper

    def pack(name: str, values: np.ndarray, channel: int) -> tuple[list, list]:  # noqa: ARG001
        packed = numpy_helper.from_array(values.astype(np.float16), f"{name}_float16")
        return [packed], [helper.make_node("Cast", [packed.name], [name], to=TensorProto.FLOAT)]

    return _write_packed(run_dir, output, pack, "float16", tolerance=0.01)


def write_int8_weights(run_dir: str | Path, output: str | Path) -> Path:
    """Write a run's ONNX network with its weights stored in 8 bits: a quarter of the size, the same arithmetic.

    Each output channel has a scale of its own, see `int8_scale`. Weights are brought back to 32 bits when the network
    is loaded.

    Parameters
    ----------
    run_dir : path
    output : path
        Ends in ``.onnx``.

    Raises
    ------
    ArtifactError
        The run has no ONNX network.
    FerlibError
        A probability differs by 0.05 or more.
    """
    from onnx import TensorProto, helper, numpy_helper

    def pack(name: str, values: np.ndarray, channel: int) -> tuple[list, list]:
        scale = int8_scale(values, channel)
        steps = numpy_helper.from_array(np.round(values / scale).astype(np.int8), f"{name}_int8")
        width = numpy_helper.from_array(scale, f"{name}_scale")
        # Not DequantizeLinear: ONNX Runtime would repeat that in every call, and does this once.
        cast = helper.make_node("Cast", [steps.name], [f"{name}_steps"], to=TensorProto.FLOAT)
        return [steps, width], [cast, helper.make_node("Mul", [f"{name}_steps", width.name], [name])]

    return _write_packed(run_dir, output, pack, "8-bit", tolerance=0.05)


def int8_scale(values: np.ndarray, channel: int) -> np.ndarray:
    """Return how long a step is where the weights of a channel are told in steps of -127 to 127.

    Weights that are steps already stay what they are, by whatever a normalization folded into them has multiplied the
    channel, if the largest is of 112 steps or more. Otherwise the largest weight of a channel is 127 steps.

    Parameters
    ----------
    values : ndarray of dtype float32
    channel : int
        The axis of the output channels.

    Returns
    -------
    ndarray of dtype float32
        Above 0; broadcasts against `values`.
    """
    others = tuple(axis for axis in range(values.ndim) if axis != channel % values.ndim)
    largest = np.maximum(np.abs(values).max(axis=others, keepdims=True), 1e-30)
    scale = largest / 127
    for steps in range(112, 127):
        told = values * (steps / largest)
        are_steps = np.abs(told - np.round(told)).max(axis=others, keepdims=True) < 1e-3
        scale = np.where(are_steps, largest / steps, scale)
    return scale


def _write_packed(
    run_dir: str | Path, output: str | Path, pack: Callable[..., tuple[list, list]], what: str, *, tolerance: float
) -> Path:
    """Write a run's ONNX network with each large weight as `pack` stores it, and the nodes that bring it back.

    `pack` gets a weight's name, its values and the axis of its output channels. Biases, means and variances are few,
    and need their digits.
    """
    import onnx
    from onnx import numpy_helper

    source = _onnx_model(run_dir)
    model = onnx.load(source)
    kernels = {node.input[1] for node in model.graph.node if node.op_type == "Conv"}
    restoring = []
    for weight in list(model.graph.initializer):
        values = numpy_helper.to_array(weight)
        if values.dtype == np.float32 and values.ndim >= 2 and values.size > 1000:
            tensors, nodes = pack(weight.name, values, 0 if weight.name in kernels else -1)
            model.graph.initializer.remove(weight)
            model.graph.initializer.extend(tensors)
            restoring += nodes
    for node in reversed(restoring):
        model.graph.node.insert(0, node)
    images = _noise(8, _input_shape(source))
    with atomic_write(output) as path:
        onnx.save(model, path)
        _require_same(_run_onnx(path, images), _run_onnx(source, images), what, tolerance=tolerance)
    return Path(output)


def _onnx_model(run_dir: str | Path) -> Path:
    """Return the file of a run's ONNX network."""
    path = Path(run_dir) / ONNX_MODEL
    if not path.exists():
        raise ArtifactError(f"{run_dir} has no ONNX network ({ONNX_MODEL}).")
    return path


def _open(path: Path) -> Any:
    """Return a session of ONNX Runtime."""
    import onnxruntime

    return onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])


def _input_name(path: Path) -> str:
    """Return the name of an ONNX network's input."""
    return _open(path).get_inputs()[0].name


def _input_shape(path: Path) -> tuple[int, ...]:
    """Return the shape (H, W, C) of an ONNX network's images."""
    return tuple(_open(path).get_inputs()[0].shape[1:])


def _run_onnx(path: Path, images: np.ndarray) -> np.ndarray:
    """Return the probabilities that an ONNX network gives."""
    session = _open(path)
    return session.run(None, {session.get_inputs()[0].name: images.astype(np.float32)})[0]


def _noise(n: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return images to compare on, uint8 (n, *shape)."""
    return np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8)


def _require_same(found: np.ndarray, expected: np.ndarray, what: str, *, tolerance: float = TOLERANCE) -> None:
    """Raise unless two sets of probabilities agree."""
    difference = float(np.abs(found - expected).max())
    if not difference < tolerance:
        raise FerlibError(f"The {what} network's probabilities differ by {difference:.1e} from the network's own.")
