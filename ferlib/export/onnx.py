"""Save a Keras network and export it to ONNX."""

import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ferlib.core.backend import suppress_native_stderr
from ferlib.core.errors import FerlibError
from ferlib.core.files import atomic_write
from ferlib.export.agreement import require_agreement, run_onnx
from ferlib.export.folding import fold_network
from ferlib.export.quantize import TOLERANCES, Weights, encode_weights
from ferlib.runs.folder import KERAS_MODEL, ONNX_MODEL

if TYPE_CHECKING:
    from onnx import ModelProto

logger = logging.getLogger(__name__)

# Keras exports to ONNX through TensorFlow; a saved network is the same on every backend.
_EXPORT = """
import pathlib, sys
import numpy as np
from ferlib.runs.classifier import load_keras_model
from ferlib.core.backend import import_keras
import_keras()
from ferlib.export.onnx import write_onnx
run_dir = pathlib.Path(sys.argv[1])
arrays = dict(np.load(run_dir / "export.npz"))
model, output = load_keras_model(run_dir, all_outputs=True), run_dir / sys.argv[2]
images = arrays.pop("images")
expected = arrays if isinstance(model.output, dict) else arrays["probabilities"]
write_onnx(model, output, images, expected, weights=sys.argv[3])
"""


def save_network(
    model: keras.Model, run_dir: Path, images: np.ndarray, *, onnx: bool = True, weights: Weights = "float32"
) -> None:
    """Write a network as ``model.keras`` and ``model.onnx``, and check that both give the same probabilities.

    The probabilities are compared on `images`, uint8 (n, H, W, C). Without `onnx`, only ``model.keras`` is written.
    `weights` and the errors are those of `write_onnx`.
    """
    expected = model.predict_on_batch(images.astype(np.float32))
    with atomic_write(run_dir / KERAS_MODEL) as path:
        model.save(path)
    if not onnx:
        return
    if keras.backend.backend() == "tensorflow":
        write_onnx(model, run_dir / ONNX_MODEL, images, expected, weights=weights)
        return
    arrays = expected if isinstance(expected, dict) else {"probabilities": expected}
    np.savez(run_dir / "export.npz", images=images, **arrays)
    try:
        subprocess.run(  # noqa: S603
            [sys.executable, "-c", _EXPORT, str(run_dir), ONNX_MODEL, weights],
            env={**os.environ, "KERAS_BACKEND": "tensorflow"},
            check=True,
            capture_output=True,
            text=True,
        )
    except subprocess.CalledProcessError as error:
        if "No module named 'tensorflow'" not in error.stderr:
            raise FerlibError(f"The network could not be exported to ONNX:\n{error.stderr[-2000:]}") from None
        logger.warning(
            "TensorFlow is not installed, so %s is not written; where it is installed, "
            "`ferlib export --format onnx --run %s %s` writes it",
            *(ONNX_MODEL, run_dir, run_dir / ONNX_MODEL),
        )
    finally:
        (run_dir / "export.npz").unlink()


def write_onnx(
    model: keras.Model,
    output: Path,
    images: np.ndarray,
    expected: np.ndarray | Mapping[str, np.ndarray],
    *,
    weights: Weights = "float32",
    fold: bool = True,
) -> None:
    """Write a network as ONNX, unless its probabilities for `images` differ from those expected.

    Parameters
    ----------
    model : keras.Model
        On Keras's TensorFlow backend.
    output : path
    images : ndarray of shape (n, H, W, C), dtype uint8
    expected : ndarray of shape (n, n_classes), dtype float32, or mapping
        For a network with several outputs, from their names to the probabilities.
    weights : {"float32", "float16", "int8"}
        How weights are stored; see `ferlib.export.quantize.encode_weights`.
    fold : bool
        Write the faster network of `ferlib.export.folding.fold_network`.

    Raises
    ------
    FerlibError
        A probability differs by more than `ferlib.export.quantize.TOLERANCES` allows.
    """
    import onnx

    model = fold_network(model) if fold else model
    # Keras exports only a model that was called once.
    model.predict_on_batch(images.astype(np.float32))
    _store_constants(model)
    with atomic_write(output) as path:
        with suppress_native_stderr(), warnings.catch_warnings():
            # Keras 3.15's exporter looks for a name that NumPy 2 warns about.
            warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
            model.export(path, format="onnx", verbose=False)
        graph = onnx.load(path)
        for value in (*graph.graph.input, *graph.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = "n"
        several = dict(sorted(expected.items())) if isinstance(expected, Mapping) else None
        if several is not None:
            _name_outputs(graph, list(several))
        encode_weights(graph, weights)
        onnx.save(graph, path)
        name = "ONNX" if weights == "float32" else f"ONNX {weights}"
        pairs: list[tuple[str | None, Any]] = list(several.items()) if several else [(None, expected)]
        for output_name, probabilities in pairs:
            found = run_onnx(path, images, output_name)
            require_agreement(found, np.asarray(probabilities), name, tolerance=TOLERANCES[weights])


def _name_outputs(graph: "ModelProto", names: Sequence[str]) -> None:
    """Name the outputs of an ONNX network; Keras exports those of a mapping in the order of their names."""
    for value, name in zip(graph.graph.output, names, strict=True):
        for node in graph.graph.node:
            node.output[:] = [name if output == value.name else output for output in node.output]
            node.input[:] = [name if source == value.name else source for source in node.input]
        value.name = name


def _store_constants(model: keras.Model) -> None:
    """Turn the statistics of normalization layers into arrays; as tensors they would be inputs of the ONNX graph."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            _store_constants(layer)
        elif isinstance(layer, keras.layers.Normalization):
            layer.mean, layer.variance = (keras.ops.convert_to_numpy(value) for value in (layer.mean, layer.variance))
