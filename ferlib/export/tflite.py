"""Export a network to TensorFlow Lite (LiteRT)."""

import contextlib
import io
import warnings
from pathlib import Path

import numpy as np

from ferlib.core.backend import suppress_native_stderr
from ferlib.core.errors import FerlibError
from ferlib.core.files import atomic_write
from ferlib.export.agreement import random_images, require_agreement
from ferlib.runs.classifier import load_keras_model
from ferlib.runs.folder import Run


def write_tflite(run: Run, output: Path) -> None:
    """Write a run's network as TensorFlow Lite, and check that it gives the same probabilities.

    Its input is float32 of shape (1, H, W, C), 0 to 255. Its output is the probabilities of one view, not calibrated.
    """
    model = load_keras_model(run)
    try:
        with suppress_native_stderr():
            import tensorflow as tf
    except ImportError:
        raise FerlibError("The format tflite needs TensorFlow, which is not installed.") from None
    images = random_images(8, (*run.config.image_size, model.input_shape[-1]))
    with suppress_native_stderr(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        # TensorFlow prints the network's signature, and warns that its interpreter moves to the package of LiteRT.
        warnings.simplefilter("ignore")
        data = tf.lite.TFLiteConverter.from_keras_model(model).convert()
        found = run_tflite(data, images)
    require_agreement(found, np.asarray(model.predict_on_batch(images.astype(np.float32))), "TensorFlow Lite")
    with atomic_write(output) as path:
        path.write_bytes(data)


def run_tflite(data: bytes, images: np.ndarray) -> np.ndarray:
    """Return a TensorFlow Lite network's probabilities (n, n_classes) for uint8 images (n, H, W, C)."""
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(model_content=data)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    rows = []
    for image in images.astype(np.float32):
        interpreter.set_tensor(source, image[np.newaxis])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(target))
    return np.concatenate(rows)
