"""Run an ONNX network with ONNX Runtime."""

import os

import numpy as np

from ferlib.core.backend import import_onnxruntime
from ferlib.core.threads import available_cores


class OnnxSession:
    """An ONNX network; safe in threads.

    Parameters
    ----------
    path : path
        The file.
    n_threads : int
        0 for one per core.

    Attributes
    ----------
    input_shape : tuple of int or str
        (height, width, channels); a name for a size that the file leaves open.
    """

    def __init__(self, path: str | os.PathLike[str], n_threads: int = 0) -> None:
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = n_threads or available_cores()
        self._session = onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
        source = self._session.get_inputs()[0]
        self._input, self.input_shape = source.name, tuple(source.shape[1:])

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Return probabilities (n, n_classes), float32, for uint8 images (n, H, W, C)."""
        return np.asarray(self._session.run(None, {self._input: images.astype(np.float32)})[0])
