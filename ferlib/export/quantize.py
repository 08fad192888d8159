"""Write ONNX networks with 16-bit or 8-bit weights, or with 8-bit arithmetic."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ferlib.core.backend import suppress_native_stderr
from ferlib.core.errors import ArtifactError
from ferlib.core.files import atomic_write
from ferlib.core.images import fit_to_model
from ferlib.export.agreement import random_images, require_agreement, run_onnx
from ferlib.runs.folder import ONNX_MODEL, Run

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

    Encoding = tuple[list[TensorProto], list[NodeProto]]


def write_float16(run: Run, output: Path) -> None:
    """Write a run's ONNX network with weights stored as float16, at half the size.

    Weights are converted to float32 when the network is loaded, so the arithmetic stays the same. A probability that
    differs by 0.01 or more is an error.
    """
    from onnx import TensorProto, helper, numpy_helper

    def encode_weight(name: str, values: np.ndarray, channel_axis: int) -> "Encoding":  # noqa: ARG001
        stored = numpy_helper.from_array(values.astype(np.float16), f"{name}_float16")
        return [stored], [helper.make_node("Cast", [stored.name], [name], to=TensorProto.FLOAT)]

    _write_encoded(run, output, encode_weight, "float16", tolerance=0.01)


def write_int8_weights(run: Run, output: Path) -> None:
    """Write a run's ONNX network with weights stored as int8, at a quarter of the size.

    Each output channel has its own scale; see `int8_scale`. Weights are converted to float32 when the network is
    loaded, so the arithmetic stays the same. A probability that differs by 0.05 or more is an error.
    """
    from onnx import TensorProto, helper, numpy_helper

    def encode_weight(name: str, values: np.ndarray, channel_axis: int) -> "Encoding":
        scale = int8_scale(values, channel_axis)
        steps = numpy_helper.from_array(np.round(values / scale).astype(np.int8), f"{name}_int8")
        stored_scale = numpy_helper.from_array(scale, f"{name}_scale")
        # ONNX Runtime evaluates Cast and Mul once, but DequantizeLinear in every call.
        cast = helper.make_node("Cast", [steps.name], [f"{name}_steps"], to=TensorProto.FLOAT)
        return [steps, stored_scale], [cast, helper.make_node("Mul", [f"{name}_steps", stored_scale.name], [name])]

    _write_encoded(run, output, encode_weight, "int8-weights", tolerance=0.05)


def int8_scale(values: np.ndarray, channel_axis: int) -> np.ndarray:
    """Return the step size of each output channel when its weights are rounded to integers of -127 to 127.

    The largest weight of a channel is 127 steps. Weights that are already multiples of a step keep it, if the largest
    is at least 112 steps: a batch normalization that was folded into the channel may have changed the step size.

    The result is above 0 and broadcasts against `values`.
    """
    others = tuple(axis for axis in range(values.ndim) if axis != channel_axis % values.ndim)
    largest = np.maximum(np.abs(values).max(axis=others, keepdims=True), 1e-30)
    scale = largest / 127
    for n_steps in range(112, 127):
        steps = values * (n_steps / largest)
        is_exact = np.abs(steps - np.round(steps)).max(axis=others, keepdims=True) < 1e-3
        scale = np.where(is_exact, largest / n_steps, scale)
    return np.asarray(scale)


def write_int8(run: Run, output: Path, images: np.ndarray) -> None:
    """Write a run's ONNX network with weights and activations of 8 bits (static quantization).

    The loss of accuracy is not checked; measure it. Weights use 7 of their 8 bits, because processors without VNNI
    instructions add products in 16 bits, which overflow otherwise.

    The ranges of the activations are measured on `images`, a few hundred training images, uint8 (n, H, W, C).
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    source, config = _onnx_model(run), run.config
    input_name = onnx.load(source).graph.input[0].name
    fitted = fit_to_model(images, image_size=config.image_size, channels=config.channels).astype(np.float32)
    batches = (fitted[start : start + 64] for start in range(0, len(fitted), 64))

    class Reader(CalibrationDataReader):
        """Feeds the images in batches."""

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(batches, None)
            return None if batch is None else {input_name: batch}

    with atomic_write(output) as path, suppress_native_stderr():
        prepared = path.with_suffix(".prepared")
        try:
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
            # 256 levels are too few for probabilities.
            softmax = [node.name for node in onnx.load(prepared).graph.node if node.op_type == "Softmax"]
            quantize_static(
                prepared,
                path,
                Reader(),
                per_channel=True,
                # Without it the pretrained model loses 7 points of accuracy on processors that have only AVX2.
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=softmax,
                calibrate_method=CalibrationMethod.MinMax,
            )
        finally:
            prepared.unlink(missing_ok=True)


def _write_encoded(
    run: Run, output: Path, encode_weight: Callable[..., "Encoding"], format_name: str, *, tolerance: float
) -> None:
    """Write a run's ONNX network with its large weights encoded, and nodes that decode them.

    `encode_weight` gets a weight's name, values and axis of the output channels. Biases and statistics of normalization
    are few and need full precision.
    """
    import onnx
    from onnx import numpy_helper

    source = _onnx_model(run)
    model = onnx.load(source)
    kernels = {node.input[1] for node in model.graph.node if node.op_type == "Conv"}
    decoding = []
    for weight in list(model.graph.initializer):
        values = numpy_helper.to_array(weight)
        if values.dtype == np.float32 and values.ndim >= 2 and values.size > 1000:
            tensors, nodes = encode_weight(weight.name, values, 0 if weight.name in kernels else -1)
            model.graph.initializer.remove(weight)
            model.graph.initializer.extend(tensors)
            decoding += nodes
    for node in reversed(decoding):
        model.graph.node.insert(0, node)
    shape = tuple(dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim[1:])
    images = random_images(8, shape)
    with atomic_write(output) as path:
        onnx.save(model, path)
        require_agreement(run_onnx(path, images), run_onnx(source, images), format_name, tolerance=tolerance)


def _onnx_model(run: Run) -> Path:
    path = run.path / ONNX_MODEL
    if not path.exists():
        raise ArtifactError(f"{run.path} has no ONNX network ({ONNX_MODEL}).")
    return path
