"""Write dlib's face-recognition network as ONNX: ``python tools/convert_dlib_embedding.py package/model``.

It made the file in ferlib/assets/face_embedding. The source is dlib's public-domain network as face-api ships it; see
``tools/convert_dlib.py``. Its weights stay in one byte each, and ONNX Runtime restores them when it starts.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TARGET = Path(__file__).parents[1] / "ferlib" / "assets" / "face_embedding" / "dlib.onnx"

SIDE = 150
MEAN_COLOR = (122.782, 117.001, 104.298)
# Layers of a block with the given width, in order: those that halve the resolution end in "down".
BLOCKS = (
    *("conv32_1", "conv32_2", "conv32_3", "conv64_down", "conv64_1", "conv64_2", "conv64_3", "conv128_down"),
    *("conv128_1", "conv128_2", "conv256_down", "conv256_1", "conv256_2", "conv256_down_out"),
)


class Graph:
    """Nodes and weights."""

    def __init__(self, folder: Path) -> None:
        self.nodes: list = []
        self.initializers: list = []
        [manifest] = json.loads((folder / "face_recognition_model-weights_manifest.json").read_text(encoding="utf-8"))
        data, start = (folder / "face_recognition_model.bin").read_bytes(), 0
        self.tensors = {}
        for entry in manifest["weights"]:
            quantization, size = entry.get("quantization"), int(np.prod(entry["shape"]))
            values = np.frombuffer(data, np.uint8 if quantization else "<f4", size, start)
            start += values.nbytes
            self.tensors[entry["name"]] = values.reshape(entry["shape"]), quantization

    def values(self, name: str) -> np.ndarray:
        """Return a tensor as float32."""
        values, quantization = self.tensors[name]
        return values * np.float32(quantization["scale"]) + np.float32(quantization["min"]) if quantization else values

    def weight(self, array: np.ndarray) -> str:
        """Add an initializer; return its name."""
        name = f"weight_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(self, operation: str, *inputs: str, **options) -> str:
        """Append an operation; return its output."""
        output = f"value_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, list(inputs), [output], **options))
        return output

    def convolve(self, value: str, layer: str, *, stride: int, same: bool) -> str:
        """Append a convolution and the scaling of its channels."""
        packed, quantization = self.tensors[f"{layer}/conv/filters"]
        scale = self.values(f"{layer}/scale/weights")
        bias = self.values(f"{layer}/conv/bias") * scale + self.values(f"{layer}/scale/biases")
        # (height, width, in, out) to (out, in, height, width); each channel's scaling is part of its step.
        size = packed.shape[0]
        kernel = packed.transpose(3, 2, 0, 1)
        if quantization:
            steps = (quantization["scale"] * scale).astype(np.float32)
            assert (steps > 0).all(), f"{layer} has a negative scale"
            zero = round(-quantization["min"] / quantization["scale"])
        else:
            kernel = kernel * scale.reshape(-1, 1, 1, 1)
            steps = np.abs(kernel).max(axis=(1, 2, 3)).astype(np.float32) / 127
            kernel, zero = (np.round(kernel / steps.reshape(-1, 1, 1, 1)) + 128).astype(np.uint8), 128
        filters = self.add(
            "DequantizeLinear",
            self.weight(kernel),
            self.weight(steps),
            self.weight(np.full(len(steps), zero, np.uint8)),
            axis=0,
        )
        pads = [size // 2] * 4 if same else [0] * 4
        return self.add(
            "Conv",
            value,
            filters,
            self.weight(bias.astype(np.float32)),
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=pads,
        )


def convert(folder: Path) -> onnx.ModelProto:
    """Return the network: faces (n, 150, 150, 3), uint8 RGB, to embeddings (n, 128)."""
    graph = Graph(folder)
    value = graph.add("Cast", "faces", to=TensorProto.FLOAT)
    value = graph.add("Sub", value, graph.weight(np.float32(MEAN_COLOR)))
    value = graph.add("Mul", value, graph.weight(np.float32(1 / 255)))
    value = graph.add("Transpose", value, perm=[0, 3, 1, 2])
    value = graph.add("Relu", graph.convolve(value, "conv32_down", stride=2, same=False))
    value = graph.add("MaxPool", value, kernel_shape=[3, 3], strides=[2, 2])
    side, width = (SIDE - 7) // 2 + 1, 32
    side = (side - 3) // 2 + 1
    for block in BLOCKS:
        down = "down" in block
        shortcut = value
        inner = graph.add("Relu", graph.convolve(value, f"{block}/conv1", stride=2 if down else 1, same=not down))
        inner = graph.convolve(inner, f"{block}/conv2", stride=1, same=True)
        if down:
            new_width = graph.tensors[f"{block}/conv2/conv/filters"][0].shape[-1]
            shortcut = graph.add("AveragePool", shortcut, kernel_shape=[2, 2], strides=[2, 2])
            if new_width > width:
                shortcut = pad(graph, shortcut, channels=new_width - width)
            inner_side, side = (side - 3) // 2 + 1, side // 2
            if inner_side < side:
                inner = pad(graph, inner, pixels=side - inner_side)
            width = new_width
        value = graph.add("Relu", graph.add("Add", shortcut, inner))
    value = graph.add("Flatten", graph.add("GlobalAveragePool", value))
    packed, quantization = graph.tensors["fc"]
    kernel = graph.add(
        "DequantizeLinear",
        graph.weight(packed),
        graph.weight(np.float32(quantization["scale"])),
        graph.weight(np.uint8(round(-quantization["min"] / quantization["scale"]))),
    )
    graph.nodes.append(helper.make_node("MatMul", [value, kernel], ["embeddings"]))
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "face_embedding",
            [helper.make_tensor_value_info("faces", TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
            [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["n", 128])],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
        producer_name="ferlib",
    )
    onnx.checker.check_model(model)
    return model


def pad(graph: Graph, value: str, *, channels: int = 0, pixels: int = 0) -> str:
    """Append zeros after the last channels, or below and to the right."""
    pads = np.array([0, 0, 0, 0, 0, channels, pixels, pixels], np.int64)
    return graph.add("Pad", value, graph.weight(pads))


def main() -> None:
    """Convert the network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder model/ of the npm package")
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(convert(parser.parse_args().source), TARGET)
    print(f"wrote {TARGET} ({TARGET.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
