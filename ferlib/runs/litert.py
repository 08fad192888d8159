"""Run a TensorFlow Lite network with LiteRT."""

import os
from typing import Any

import numpy as np

from ferlib.core.backend import suppress_native_stderr
from ferlib.core.errors import FerlibError
from ferlib.core.threads import available_cores


class LiteRT:
    """A TensorFlow Lite network with one image as its input; not safe in threads.

    Parameters
    ----------
    path : path
        The file.
    n_threads : int
        0 for one per core.

    Attributes
    ----------
    input_shape : tuple of int
        (height, width, channels).

    Raises
    ------
    FerlibError
        The package ai-edge-litert is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], n_threads: int = 0) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            raise FerlibError("TensorFlow Lite files need LiteRT: pip install ai-edge-litert.") from None
        # LiteRT logs what it uses.
        with suppress_native_stderr():
            self._interpreter = Interpreter(os.fspath(path), num_threads=n_threads or available_cores())
            self._interpreter.allocate_tensors()
        [self._input], [self._output] = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self.input_shape = tuple(map(int, self._input["shape"][1:]))

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Return probabilities (n, n_classes), float32, for uint8 images (n, H, W, C)."""
        results = []
        for image in images:
            self._interpreter.set_tensor(self._input["index"], _quantize(image[np.newaxis], self._input))
            self._interpreter.invoke()
            results.append(_dequantize(self._interpreter.get_tensor(self._output["index"]), self._output))
        return np.concatenate(results) if results else np.empty((0, self._output["shape"][-1]), np.float32)


def _quantize(values: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    """Return values as a network's input takes them."""
    scale, zero = tensor["quantization"]
    if not scale:
        return values.astype(tensor["dtype"])
    limits = np.iinfo(tensor["dtype"])
    return np.clip(np.round(values / scale + zero), limits.min, limits.max).astype(tensor["dtype"])


def _dequantize(values: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    """Return a network's output as float32."""
    scale, zero = tensor["quantization"]
    return ((values.astype(np.float32) - zero) * scale if scale else values).astype(np.float32)
