"""Run an ONNX network with ONNX Runtime."""

import os
from pathlib import Path

import numpy as np

from ferlib.core.backend import import_onnxruntime
from ferlib.core.threads import available_cores
from ferlib.runs.safety import check_onnx

# ONNX Runtime is as fast with small batches and keeps the memory of the largest one.
_BATCH_SIZE = 16


class OnnxSession:
    """An ONNX network; safe in threads.

    Parameters
    ----------
    path : path
        The file.
    n_threads : int
        0 for one per core.

    Raises
    ------
    ArtifactError
        The file is not complete in itself.

    Attributes
    ----------
    input_shape : tuple of int or str
        (height, width, channels); a name for a size that the file leaves open.
    """

    def __init__(self, path: str | os.PathLike[str], n_threads: int = 0) -> None:
        check_onnx(Path(path))
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = n_threads or available_cores()
        # Threads that spin while they wait take the cores from those that decode and detect.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Errors are raised; ONNX Runtime would also log them, print them and try again.
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(
            os.fspath(path), options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
        source = self._session.get_inputs()[0]
        self._input, self.input_shape = source.name, tuple(source.shape[1:])
        self._output: str = self._session.get_outputs()[0].name
        # Networks of other programs may take a fixed number of images.
        self._n_images: int | None = source.shape[0] if isinstance(source.shape[0], int) else None

    def predict(self, images: np.ndarray, output: str | None = None) -> np.ndarray:
        """Return probabilities (n, n_classes), float32, for uint8 images (n, H, W, C).

        `output` is the name of one of several outputs; the first one if None.
        """
        images = images.astype(np.float32)
        if self._n_images == len(images):
            return self._run(images, output)
        if self._n_images is None:
            starts = range(0, max(1, len(images)), _BATCH_SIZE)
            return np.concatenate([self._run(images[start : start + _BATCH_SIZE], output) for start in starts])
        n = self._n_images
        # The last part is filled up; for no images, one part of zeros gives the number of classes.
        missing = -len(images) % n if len(images) else n
        padded = np.concatenate([images, np.zeros((missing, *images.shape[1:]), np.float32)])
        results = [self._run(padded[start : start + n], output) for start in range(0, len(padded), n)]
        return np.concatenate(results)[: len(images)]

    def _run(self, images: np.ndarray, output: str | None) -> np.ndarray:
        return np.asarray(self._session.run([output or self._output], {self._input: images})[0])
