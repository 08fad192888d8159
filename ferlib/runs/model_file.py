"""Load a file that ``ferlib export`` wrote."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np

from ferlib.core.errors import ArtifactError, FerlibError, OptionError
from ferlib.runs.classifier import SingleModel
from ferlib.runs.folder import Run
from ferlib.runs.litert import LiteRT
from ferlib.runs.onnx_session import OnnxSession
from ferlib.runs.records import TestTimeAugmentation
from ferlib.runs.safety import limited_memory

#: Endings of the files that can be loaded.
MODEL_FILE_SUFFIXES = (".onnx", ".tflite")


class ModelFile(SingleModel):
    """An exported network; what it computes is all in the file.

    Attributes
    ----------
    path : Path
        The file.
    """

    def __init__(
        self, path: Path, run: Run, *, test_time_augmentation: TestTimeAugmentation = "none", n_threads: int = 0
    ) -> None:
        config = replace(run.config, calibration=None, test_time_augmentation=test_time_augmentation)
        super().__init__(run, config)
        self.path = path
        if path.suffix not in MODEL_FILE_SUFFIXES:
            raise OptionError(f"Expected a model file that ends in {' or '.join(MODEL_FILE_SUFFIXES)}, got '{path}'.")
        if not path.is_file():
            raise ArtifactError(f"There is no model file {path}.")
        # LiteRT's interpreter is not safe in threads.
        self._lock = threading.Lock()
        self._network: OnnxSession | LiteRT
        try:
            with limited_memory():
                self._network = (LiteRT if path.suffix == ".tflite" else OnnxSession)(path, n_threads)
                self._require_shapes(run)
        except FerlibError:
            raise
        # Each library has its own errors for a damaged file.
        except Exception as error:
            raise ArtifactError(f"{path} cannot be loaded ({error}).") from error

    def _require_shapes(self, run: Run) -> None:
        """Raise ArtifactError unless the file takes and gives what the run's own model does."""
        expected = (*self.image_size, self.channels)
        if self._network.input_shape != expected:
            raise ArtifactError(
                f"{self.path} takes images of shape {self._network.input_shape}, the run {run.path} of {expected}."
            )
        n_classes = self._predict(np.full((1, *expected), 128, np.uint8)).shape[-1]
        if n_classes != len(self.class_names):
            raise ArtifactError(f"{self.path} has {n_classes} classes, the run {run.path} {len(self.class_names)}.")

    def _predict(self, images: np.ndarray) -> np.ndarray:
        with self._lock:
            return self._network.predict(images)
