"""Export a network to TensorFlow Lite, and run it with LiteRT."""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ferlib.core.backend import suppress_native_stderr
from ferlib.core.errors import FerlibError
from ferlib.core.files import atomic_write
from ferlib.export.agreement import require_agreement
from ferlib.export.folding import fold_network
from ferlib.runs.litert import LiteRT


def write_tflite(model: keras.Model, output: Path, images: np.ndarray, expected: np.ndarray) -> None:
    """Write a network as TensorFlow Lite, unless its probabilities for `images` differ from those expected.

    The file takes float32 of shape (1, H, W, C), 0 to 255. `images` are uint8 (n, H, W, C), `expected` (n, n_classes).
    """
    data = _convert(model)
    with atomic_write(output) as path:
        path.write_bytes(data)
        require_agreement(LiteRT(path).predict(images), expected, "TensorFlow Lite")


def write_tflite_int8(model: keras.Model, output: Path, images: np.ndarray) -> None:
    """Write a network as TensorFlow Lite that uses 8-bit integers only, as microcontrollers and accelerators need it.

    The file takes and gives int8 of shape (1, H, W, C) and (1, n_classes), with the scales that it records. The ranges
    of the activations are measured on `images`, a few hundred training images, uint8 (n, H, W, C). The loss of accuracy
    is not checked; measure it.
    """
    import tensorflow as tf

    def configure(converter: Any) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[np.newaxis].astype(np.float32)] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8

    data = _convert(model, configure)
    with atomic_write(output) as path:
        path.write_bytes(data)


def _convert(model: keras.Model, configure: Any = None) -> bytes:
    """Return a network as TensorFlow Lite, one image at a time."""
    try:
        with suppress_native_stderr():
            import tensorflow as tf
    except ImportError:
        raise FerlibError("TensorFlow Lite needs TensorFlow, which is not installed.") from None
    with suppress_native_stderr(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        # TensorFlow prints the network's signature.
        warnings.simplefilter("ignore")
        converter = tf.lite.TFLiteConverter.from_keras_model(fold_network(model))
        if configure is not None:
            configure(converter)
        return bytes(converter.convert())
