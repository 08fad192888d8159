"""Write a trained network in the formats that others read, and make sure that they all say the same."""

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import numpy as np

from ferlib.core.backend import suppress_native_stderr
from ferlib.core.errors import FerlibError
from ferlib.core.files import atomic_write
from ferlib.runs.folder import KERAS_MODEL, ONNX_MODEL

logger = logging.getLogger(__name__)


def save_network(model: keras.Model, run_dir: Path, images: np.ndarray) -> None:
    """Write a network as ``model.keras`` and ``model.onnx`` and make sure that both say the same.

    Parameters
    ----------
    model : keras.Model
    run_dir : Path
    images : ndarray of shape (n, H, W, C), dtype uint8
        Some images to compare the probabilities on.

    Raises
    ------
    FerlibError
        The exported network's probabilities differ by 1e-4 or more.
    """
    expected = model.predict_on_batch(images.astype(np.float32))
    with atomic_write(run_dir / KERAS_MODEL) as path:
        model.save(path)
    if keras.backend.backend() == "tensorflow":
        export_onnx(model, run_dir, images, expected)
        return
    # Keras exports to ONNX through TensorFlow or PyTorch; the model is the same on each.
    np.savez(run_dir / "export.npz", images=images, expected=expected)
    try:
        subprocess.run(  # noqa: S603
            [sys.executable, "-c", _EXPORT, str(run_dir)],
            env={**os.environ, "KERAS_BACKEND": "tensorflow"},
            check=True,
            capture_output=True,
            text=True,
        )
    except subprocess.CalledProcessError as error:
        if "No module named 'tensorflow'" not in error.stderr:
            raise FerlibError(f"The network could not be exported to ONNX:\n{error.stderr[-2000:]}") from None
        logger.warning(
            "no TensorFlow here, so no %s; `python -m ferlib.train --resume` writes it where there is one", ONNX_MODEL
        )
    finally:
        (run_dir / "export.npz").unlink()


_EXPORT = """
import pathlib, sys
import numpy as np
from ferlib.runs.classifier import load_keras_model
from ferlib.core.backend import import_keras
import_keras()
from ferlib.export.onnx import export_onnx
run_dir = pathlib.Path(sys.argv[1])
arrays = np.load(run_dir / "export.npz")
export_onnx(load_keras_model(run_dir), run_dir, arrays["images"], arrays["expected"])
"""


def export_onnx(model: keras.Model, run_dir: Path, images: np.ndarray, expected: np.ndarray) -> None:
    """Write ``model.onnx``, unless its probabilities for images differ from those expected.

    Parameters
    ----------
    model : keras.Model
        On Keras's TensorFlow backend.
    run_dir : Path
    images : ndarray of shape (n, H, W, C), dtype uint8
    expected : ndarray of shape (n, n_classes), dtype float32

    Raises
    ------
    FerlibError
        The exported network's probabilities differ by 1e-4 or more.
    """
    import onnxruntime

    model.predict_on_batch(images.astype(np.float32))  # only what was called once can be exported
    _hold_constants(model)
    with atomic_write(run_dir / ONNX_MODEL) as path:
        with suppress_native_stderr(), warnings.catch_warnings():
            # Keras 3.15's exporter looks for a name that NumPy 2 warns about.
            warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
            model.export(path, format="onnx", verbose=False)
        session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
        exported = session.run(None, {session.get_inputs()[0].name: images.astype(np.float32)})[0]
        difference = float(np.abs(exported - expected).max())
        if not difference < 1e-4:
            raise FerlibError(f"The exported ONNX network differs from the Keras one by {difference:.1e}.")


def _hold_constants(model: keras.Model) -> None:
    """Give normalization layers their means and variances as arrays; tensors would become inputs of the ONNX graph."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            _hold_constants(layer)
        elif isinstance(layer, keras.layers.Normalization):
            layer.mean, layer.variance = (keras.ops.convert_to_numpy(value) for value in (layer.mean, layer.variance))
