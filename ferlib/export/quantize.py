"""Make ONNX networks with 16-bit or 8-bit weights, or with 8-bit arithmetic."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ferlib.core.backend import import_onnxruntime, suppress_native_stderr

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

#: How the weights of an ONNX network are stored.
Weights = Literal["float32", "float16", "int8"]

#: The largest difference of a probability that each way of storing weights may cause.
TOLERANCES: dict[Weights, float] = {"float32": 1e-4, "float16": 0.01, "int8": 0.05}

# Images per batch when ranges are measured.
_BATCH_SIZE = 64


def encode_weights(model: "ModelProto", weights: Weights) -> None:
    """Store the large weights of an ONNX network in fewer bits, and add nodes that convert them to float32.

    ONNX Runtime converts them once, when it loads the network, so that the arithmetic and its speed stay the same. With
    int8, each output channel has its own scale; see `int8_scale`. Biases are few and keep full precision.
    """
    from onnx import TensorProto, helper, numpy_helper

    if weights == "float32":
        return
    graph, decoding = model.graph, []
    kernels = {node.input[1] for node in graph.node if node.op_type == "Conv"}
    for weight in list(graph.initializer):
        name, values = weight.name, numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.ndim < 2 or values.size <= 1000:
            continue
        graph.initializer.remove(weight)
        if weights == "float16":
            graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), f"{name}_float16"))
            decoding.append(helper.make_node("Cast", [f"{name}_float16"], [name], to=TensorProto.FLOAT))
            continue
        scale = int8_scale(values, 0 if name in kernels else -1)
        steps = np.round(values / scale).astype(np.int8)
        graph.initializer.extend(
            [numpy_helper.from_array(steps, f"{name}_int8"), numpy_helper.from_array(scale, f"{name}_scale")]
        )
        # ONNX Runtime evaluates Cast and Mul once, but DequantizeLinear in every call: 480 instead of 810 faces/s.
        decoding.append(helper.make_node("Cast", [f"{name}_int8"], [f"{name}_steps"], to=TensorProto.FLOAT))
        decoding.append(helper.make_node("Mul", [f"{name}_steps", f"{name}_scale"], [name]))
    for node in reversed(decoding):
        graph.node.insert(0, node)


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


def quantize_onnx(source: Path, output: Path, images: np.ndarray) -> None:
    """Write an ONNX network with weights and activations of 8 bits (static quantization).

    The loss of accuracy is not checked; measure it. The rescaling of the image and the classifier stay float32. Weights
    use 7 of their 8 bits, because processors without VNNI instructions add products in 16 bits, which overflow
    otherwise.

    The ranges of the activations are measured on `images`, a few hundred training images of the network's size and
    color, uint8 (n, H, W, C).
    """
    import onnx

    import_onnxruntime()
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    input_name = onnx.load(source).graph.input[0].name
    batches = (images[start : start + _BATCH_SIZE] for start in range(0, len(images), _BATCH_SIZE))

    class Reader(CalibrationDataReader):
        """Feeds the images in batches."""

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(batches, None)
            return None if batch is None else {input_name: batch.astype(np.float32)}

    prepared = output.with_suffix(".prepared")
    try:
        with suppress_native_stderr():
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
            quantize_static(
                prepared,
                output,
                Reader(),
                per_channel=True,
                # Without it `compact_cnn` loses 7 points of accuracy on processors that have only AVX2.
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=_float_nodes(onnx.load(prepared).graph),
                calibrate_method=CalibrationMethod.MinMax,
            )
    finally:
        prepared.unlink(missing_ok=True)


def _float_nodes(graph: "GraphProto") -> list[str]:
    """Return the names of the nodes that keep float32: those before the first convolution, and the classifier.

    In 8 bits, rescaling the image takes a quarter of the time of `fast_cnn`. The classifier (global average pooling,
    the last dense layer and what follows) takes next to none; in 8 bits it costs `compact_cnn` 0.1 points of accuracy.
    """
    types = [node.op_type for node in graph.node]
    first = types.index("Conv") if "Conv" in types else 0
    # tf2onnx makes MatMul of a dense layer, the optimizer Gemm.
    last = max((place for place, name in enumerate(types) if name in ("MatMul", "Gemm")), default=len(types))
    kept = ("GlobalAveragePool", "Squeeze")
    return [
        node.name for place, node in enumerate(graph.node) if place < first or place >= last or node.op_type in kept
    ]
