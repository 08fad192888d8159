"""Write MTCNN's three networks as ONNX, from the weights in the mtcnn package: ``python tools/convert_mtcnn.py``.

It made the files in ferlib/assets/mtcnn. The networks compute the same function as those of the package, in operations
that ONNX Runtime executes several times as fast:

- Its fast layout of values has blocks of 16 channels and knows no PReLU. A PReLU is therefore composed of a ReLU, a
  convolution of each channel by itself and a sum, and channels are padded to whole blocks.
- RNet and ONet cut their patches out of the image themselves (`RoiAlign`).
- The two logits of a softmax become one: their difference, the log-odds of a face.

ONNX Runtime in browsers has no such layout: there, PNet with PReLU takes 40 % of the time. RNet and ONet are alike.
"""

from importlib.util import find_spec
from pathlib import Path

import joblib
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# The spec is found without importing the package, which would import TensorFlow.
WEIGHTS = Path(find_spec("mtcnn").origin).parent / "assets" / "weights"
TARGET = Path(__file__).parents[1] / "ferlib" / "assets" / "mtcnn"

# For each network: the pooling after each convolution (size, whether padding is "same"), the side of its input
# (None for any) in pixels, and the number of its values per face: offsets, landmarks and log-odds.
NETWORKS = {
    "pnet": {"pools": [(2, True), None, None], "side": None, "width": 5},
    "rnet": {"pools": [(3, True), (3, False), None], "side": 24, "width": 5},
    "onet": {"pools": [(3, True), (3, False), (2, True), None], "side": 48, "width": 15},
}

# Channels in a block of ONNX Runtime's layout on processors with AVX-512; with AVX2 a block has half as many.
BLOCK = 16


class Graph:
    """A sequence of nodes and their weights."""

    def __init__(self) -> None:
        self.nodes: list = []
        self.initializers: list = []
        self.last = ""

    def add(self, operation: str, *weights: np.ndarray, inputs: list[str] | None = None, output: str = "", **options):
        """Append an operation on the last output; return the name of its own output."""
        names = []
        for weight in weights:
            names.append(f"weight_{len(self.initializers)}")
            self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(weight, np.float32), names[-1]))
        output = output or f"value_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, [*(inputs or [self.last]), *names], [output], **options))
        self.last = output
        return output

    def convolve(self, kernel: np.ndarray, bias: np.ndarray, output: str = "") -> str:
        """Append a convolution with a kernel (out, in, height, width)."""
        return self.add("Conv", kernel, bias, kernel_shape=list(kernel.shape[2:]), output=output)

    def scale(self, factors: np.ndarray, value: str) -> str:
        """Append a multiplication of each channel of a value, as a convolution."""
        return self.add("Conv", factors.reshape(-1, 1, 1, 1), inputs=[value], group=len(factors), kernel_shape=[1, 1])

    def pool(self, size: int, same: bool) -> str:
        """Append a maximum over windows at every second position."""
        padding = "SAME_UPPER" if same else "VALID"
        return self.add("MaxPool", kernel_shape=[size, size], strides=[2, 2], auto_pad=padding)


def pad(values: np.ndarray, n: int) -> np.ndarray:
    """Return an array with zeros appended on its first axis."""
    return np.concatenate([values, np.zeros((n - len(values), *values.shape[1:]), values.dtype)])


def add_prelu(graph: Graph, slope: np.ndarray, pool: tuple[int, bool] | None) -> np.ndarray:
    """Append a PReLU and pooling; return the factor of each channel that the values still lack.

    A PReLU is slope * x + (1 - slope) * ReLU(x). Divided by 1 - slope it needs one operation less, and the weights of
    the next layer supply the factor. A maximum allows that only if the factor is positive.
    """
    value, factor = graph.last, 1 - slope
    assert factor.all(), "a slope of 1 is not supported"
    positive = graph.add("Relu")
    if pool and (factor < 0).any():
        graph.add("Add", inputs=[graph.scale(slope, value), graph.scale(factor, positive)])
        factor = np.ones_like(slope)
    else:
        graph.add("Add", inputs=[graph.scale(slope / factor, value), positive])
    if pool:
        graph.pool(*pool)
    return factor


def add_pooled_prelu(graph: Graph, kernel: np.ndarray, bias: np.ndarray, slope: np.ndarray, pool: tuple[int, bool]):
    """Append a convolution, and PReLU and pooling in reverse order; return the factors as `add_prelu` does.

    A PReLU with a positive slope commutes with a maximum. With a negative slope it is max(x, slope * x), whose maximum
    over a window is that of max(x) and -slope * max(-x). Free channels of the block hold -x.
    """
    negative = np.flatnonzero(slope < 0)
    n, width = len(slope), padded(len(slope))
    graph.convolve(
        pad(np.concatenate([kernel, -kernel[negative]]), width), pad(np.concatenate([bias, -bias[negative]]), width)
    )
    value = graph.pool(*pool)
    # weight * value + ReLU(mix * value) is the PReLU divided by its factor.
    mix, weight, factor = np.diag(np.arange(width) < n).astype(float), np.ones(width), pad(np.ones(n), width)
    rising = np.flatnonzero(slope >= 0)
    weight[rising], factor[rising] = slope[rising] / (1 - slope[rising]), 1 - slope[rising]
    mix[negative, negative] = -1
    mix[negative, n + np.arange(len(negative))] = -slope[negative]
    graph.convolve(mix[:, :, np.newaxis, np.newaxis], np.zeros(width))
    positive = graph.add("Relu")
    graph.add("Add", inputs=[graph.scale(weight, value), positive])
    return factor


def padded(n: int) -> int:
    """Return a number of channels rounded up to whole blocks."""
    return -(-n // BLOCK) * BLOCK


def add_patches(graph: Graph, side: int) -> list[onnx.ValueInfoProto]:
    """Append the sampling of patches, 0 outside the image; return the inputs."""
    graph.last = "image"
    graph.add(
        "RoiAlign",
        inputs=["image", "regions", "indices"],
        output_height=side,
        output_width=side,
        sampling_ratio=1,
        mode="avg",
        coordinate_transformation_mode="output_half_pixel",
    )
    graph.add("Mul", inputs=[graph.last, "inside_y"])
    graph.add("Mul", inputs=[graph.last, "inside_x"])
    return [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, "h", "w"]),
        helper.make_tensor_value_info("regions", TensorProto.FLOAT, ["n", 4]),
        helper.make_tensor_value_info("indices", TensorProto.INT64, ["n"]),
        helper.make_tensor_value_info("inside_y", TensorProto.FLOAT, ["n", 1, side, 1]),
        helper.make_tensor_value_info("inside_x", TensorProto.FLOAT, ["n", 1, 1, side]),
    ]


def convert(name: str, *, plain: bool = False) -> onnx.ModelProto:
    """Return one network, or a plain version of it with PReLU and without padded channels.

    PNet's input is an image (1, h, w, 3) with values of -1 to 1. Those of RNet and ONet are an image (1, 3, h, w), and
    for each patch its region (x0, y0, x1, y1), 0, and 1 where its rows and columns are inside the image. The outputs
    are offsets (4), landmarks (10, ONet only) and the log-odds of a face: of PNet (1, 5, rows, columns), else (n, 5) or
    (n, 15).
    """
    plan = NETWORKS[name]
    weights = [np.float64(weight) for weight in joblib.load(WEIGHTS / f"{name}.lz4")]
    graph, side = Graph(), plan["side"]
    if side is None:
        inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, "h", "w", 3])]
        graph.add("Transpose", inputs=["image"], perm=[0, 3, 1, 2])
    else:
        inputs = add_patches(graph, side)
    factor = np.ones(3)
    for pool in plan["pools"]:
        kernel, bias, slope = (weights.pop(0) for _ in range(3))
        slope = slope.ravel()
        # (height, width, in, out) to (out, in, height, width), with the padded channels of the previous layer.
        kernel = (
            pad(kernel.transpose(2, 0, 1, 3), len(factor)).transpose(3, 0, 1, 2) * factor[:, np.newaxis, np.newaxis]
        )
        n, width = len(slope), padded(len(slope))
        if plain:
            graph.convolve(kernel, bias)
            graph.add("PRelu", slope.reshape(-1, 1, 1))
            factor = np.ones(n)
            if pool:
                graph.pool(*pool)
        elif pool and padded(n + (slope < 0).sum()) == width:
            factor = add_pooled_prelu(graph, kernel, bias, slope, pool)
        else:
            graph.convolve(pad(kernel, width), pad(bias, width))
            factor = add_prelu(graph, pad(slope, width), pool)
    if side is None:
        kernel, bias = join_outputs(weights)
        kernel = pad(kernel[0, 0], len(factor)) * factor[:, np.newaxis]
        graph.convolve(kernel.T[:, :, np.newaxis, np.newaxis], bias, output="faces")
        shape = [1, plan["width"], "rows", "columns"]
    else:
        kernel, bias, slope = (weights.pop(0) for _ in range(3))
        # The mtcnn package flattens (width, height, channels), ONNX (channels, height, width).
        last = round((len(kernel) / len(factor)) ** 0.5)
        kernel = kernel.reshape(last, last, len(factor), -1).transpose(2, 1, 0, 3) * factor.reshape(-1, 1, 1, 1)
        graph.add("Flatten")
        graph.add("Gemm", kernel.reshape(-1, kernel.shape[-1]), bias)
        graph.add("PRelu", slope)
        graph.add("Gemm", *join_outputs(weights), output="faces")
        shape = ["n", plan["width"]]
    outputs = [helper.make_tensor_value_info("faces", TensorProto.FLOAT, shape)]
    model = helper.make_model(
        helper.make_graph(graph.nodes, name, inputs, outputs, graph.initializers),
        opset_imports=[helper.make_opsetid("", 16)],
        ir_version=8,
        producer_name="ferlib",
    )
    onnx.checker.check_model(model)
    return model


def join_outputs(weights: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the last layers side by side as (kernel, bias); the two logits as their difference."""
    kernels, biases = weights[::2], weights[1::2]
    kernels[-1] = kernels[-1][..., 1:] - kernels[-1][..., :1]
    biases[-1] = biases[-1][1:] - biases[-1][:1]
    return np.concatenate(kernels, axis=-1), np.concatenate(biases)


def main() -> None:
    """Convert the three networks, and PNet for browsers."""
    TARGET.mkdir(parents=True, exist_ok=True)
    models = {name: convert(name) for name in NETWORKS} | {"pnet_plain": convert("pnet", plain=True)}
    for name, model in models.items():
        onnx.save(model, TARGET / f"{name}.onnx")
        print(f"wrote {TARGET / name}.onnx")


if __name__ == "__main__":
    main()
