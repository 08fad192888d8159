"""Write MTCNN's three networks as ONNX, from the weights in the mtcnn package: ``python tools/convert_mtcnn.py``.

It made the files in ferlib/assets/mtcnn.
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
# (None for any) in pixels, and its outputs.
NETWORKS = {
    "pnet": {"pools": [(2, True), None, None], "side": None, "outputs": ["offsets", "scores"]},
    "rnet": {"pools": [(3, True), (3, False), None], "side": 24, "outputs": ["offsets", "scores"]},
    "onet": {
        "pools": [(3, True), (3, False), (2, True), None],
        "side": 48,
        "outputs": ["offsets", "landmarks", "scores"],
    },
}
WIDTHS = {"offsets": 4, "landmarks": 10, "scores": 2}


class Graph:
    """A sequence of nodes and their weights."""

    def __init__(self) -> None:
        self.nodes: list = []
        self.initializers: list = []
        self.last = "images"

    def add(self, operation: str, *weights: np.ndarray, inputs: list[str] | None = None, output: str = "", **options):
        """Append an operation on the last output; return the name of its own output."""
        names = []
        for weight in weights:
            names.append(f"weight_{len(self.initializers)}")
            self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(weight), names[-1]))
        output = output or f"value_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, [*(inputs or [self.last]), *names], [output], **options))
        self.last = output
        return output


def convert(name: str) -> onnx.ModelProto:
    """Return one network; its input is NHWC with values of -1 to 1, as in the mtcnn package."""
    plan = NETWORKS[name]
    weights = list(joblib.load(WEIGHTS / f"{name}.lz4"))
    graph = Graph()
    graph.add("Transpose", perm=[0, 3, 1, 2])
    for pool in plan["pools"]:
        kernel, bias, slope = (np.float32(weights.pop(0)) for _ in range(3))
        graph.add("Conv", kernel.transpose(3, 2, 0, 1), bias, kernel_shape=list(kernel.shape[:2]))
        graph.add("PRelu", slope.reshape(-1, 1, 1))
        if pool:
            size, same = pool
            padding = "SAME_UPPER" if same else "VALID"
            graph.add("MaxPool", kernel_shape=[size, size], strides=[2, 2], auto_pad=padding)
    if plan["side"] is None:
        shared = graph.last
        for output in plan["outputs"]:
            kernel, bias = (np.float32(weights.pop(0)) for _ in range(2))
            graph.add("Conv", kernel.transpose(3, 2, 0, 1), bias, inputs=[shared], kernel_shape=[1, 1])
            if output == "scores":
                graph.add("Softmax", axis=1)
            graph.add("Transpose", output=output, perm=[0, 2, 3, 1])
    else:
        # The mtcnn package permutes (height, width, channels) to (width, height, channels) before it flattens.
        graph.add("Transpose", perm=[0, 3, 2, 1])
        graph.add("Flatten")
        kernel, bias, slope = (np.float32(weights.pop(0)) for _ in range(3))
        graph.add("Gemm", kernel, bias)
        shared = graph.add("PRelu", slope)
        for output in plan["outputs"]:
            kernel, bias = (np.float32(weights.pop(0)) for _ in range(2))
            if output == "scores":
                graph.add("Gemm", kernel, bias, inputs=[shared])
                graph.add("Softmax", output=output, axis=1)
            else:
                graph.add("Gemm", kernel, bias, inputs=[shared], output=output)
    assert not weights, f"{name} has weights that were not used"
    side = plan["side"]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", side or "h", side or "w", 3])
    shape = ["n"] if side else ["n", "rows", "columns"]
    outputs = [
        helper.make_tensor_value_info(output, TensorProto.FLOAT, [*shape, WIDTHS[output]]) for output in plan["outputs"]
    ]
    model = helper.make_model(
        helper.make_graph(graph.nodes, name, [images], outputs, graph.initializers),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
        producer_name="ferlib",
    )
    onnx.checker.check_model(model)
    return model


def main() -> None:
    """Convert the three networks."""
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in NETWORKS:
        onnx.save(convert(name), TARGET / f"{name}.onnx")
        print(f"wrote {TARGET / name}.onnx")


if __name__ == "__main__":
    main()
