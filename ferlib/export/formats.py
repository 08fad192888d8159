"""Write a run's network to a file of any format."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from ferlib.core.errors import FerlibError
from ferlib.core.files import atomic_write
from ferlib.export.agreement import random_images
from ferlib.export.quantize import Weights, quantize_onnx
from ferlib.runs.classifier import KerasClassifier
from ferlib.runs.folder import ONNX_MODEL, Run

#: The formats of files; those with int8 in their names compute with 8-bit integers.
Format = Literal["onnx", "onnx-int8", "tflite", "tflite-int8"]

#: Training images that the ranges of 8-bit activations are measured on.
N_CALIBRATION = 512


def export_run(
    source: Run,
    output: Path,
    format_name: Format,
    *,
    weights: Weights = "float32",
    tta: Literal["none", "flip"] = "none",
    calibrated: bool = False,
    images: np.ndarray | None = None,
) -> None:
    """Write a run's network to a file, and check that it gives the same probabilities.

    Parameters
    ----------
    source : Run
    output : path
    format_name : {"onnx", "onnx-int8", "tflite", "tflite-int8"}
        The accuracy of the int8 formats is not checked; measure it.
    weights : {"float32", "float16", "int8"}
        How "onnx" stores the weights.
    tta : {"none", "flip"}
        Test-time augmentation inside the file.
    calibrated : bool
        Put the run's calibration into the file.
    images : ndarray of shape (n, H, W, C), dtype uint8, optional
        Training images, for the int8 formats.

    Raises
    ------
    ArtifactError
        The run has no Keras network.
    FerlibError
        A probability differs too much, or a package is missing.
    """
    config = source.config
    calibration = config.calibration if calibrated else None
    # An independent implementation of the same views and calibration.
    classifier = KerasClassifier(source, replace(config, test_time_augmentation=tta, calibration=calibration))
    # TensorFlow is imported now.
    from ferlib.export.complete import complete_network
    from ferlib.export.folding import fold_network
    from ferlib.export.onnx import write_onnx
    from ferlib.export.tflite import write_tflite, write_tflite_int8

    model = complete_network(fold_network(classifier.model), views=tta, calibration=calibration)
    noise = random_images(8, (*config.image_size, config.channels))
    expected = classifier.predict_proba(noise)
    if format_name == "onnx":
        write_onnx(model, output, noise, expected, weights=weights)
    elif format_name == "tflite":
        write_tflite(model, output, noise, expected)
    elif images is None:
        raise FerlibError(f"{format_name} needs training images to measure the ranges of activations on.")
    elif format_name == "tflite-int8":
        write_tflite_int8(model, output, images)
    else:
        with tempfile.TemporaryDirectory() as folder, atomic_write(output) as path:
            write_onnx(model, Path(folder) / ONNX_MODEL, noise, expected)
            quantize_onnx(Path(folder) / ONNX_MODEL, path, images)
