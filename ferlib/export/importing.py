"""Make a run folder from a network that another program trained: an ONNX or a Keras file."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ferlib.core.emotions import EMOTIONS, match_emotion, suggest_emotion
from ferlib.core.errors import ArtifactError, FerlibError, OptionError
from ferlib.core.files import atomic_write
from ferlib.export.agreement import random_images, run_onnx
from ferlib.runs.folder import ONNX_MODEL, Run
from ferlib.runs.records import RunConfig
from ferlib.runs.safety import check_keras

if TYPE_CHECKING:
    import keras
    import onnx

logger = logging.getLogger(__name__)

Color = Literal["gray", "rgb", "bgr"]

# What the sum of a row of probabilities may differ from 1.
_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class InputFormat:
    """What a network expects as input.

    Attributes
    ----------
    image_size : tuple of int, optional
        (height, width); None if the file tells it.
    color : {"gray", "rgb", "bgr"}
    low, high : float
        What the pixel values 0 and 255 become.
    mean, std : tuple of float
        Subtracted and divided by after that, one number for all channels or one per channel in the network's order.
    """

    image_size: tuple[int, int] | None = None
    color: Color = "gray"
    low: float = 0.0
    high: float = 255.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @property
    def channels(self) -> int:
        """1 for gray, 3 for RGB and BGR."""
        return 1 if self.color == "gray" else 3

    def scale_and_offset(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers, float32 (C,), by which pixels are multiplied and which are then added."""
        mean, std = (np.broadcast_to(np.asarray(values, np.float64), self.channels) for values in (self.mean, self.std))
        scale = (self.high - self.low) / 255 / std
        return scale.astype(np.float32), ((self.low - mean) / std).astype(np.float32)


def import_model(file: Path, run: Run, class_names: Sequence[str], expected: InputFormat) -> RunConfig:
    """Write a run folder with a network from a file, so that it predicts from RGB or gray images, 0 to 255.

    Colors, scaling, the order of the axes and a missing softmax become part of the network. Emotions get their usual
    names and come first, in their usual order.

    Parameters
    ----------
    file : path
        ``.onnx``, ``.keras``, ``.h5`` or ``.hdf5``.
    run : Run
        The folder to write.
    class_names : sequence of str
        The classes in the order of the network's output; emotions in any spelling.
    expected : InputFormat

    Returns
    -------
    RunConfig
        As written.

    Raises
    ------
    ArtifactError
        The file cannot be read or is not a network for single images.
    OptionError
        The class names, the size or the color do not fit the network.
    """
    names, order = order_classes(class_names)
    if not file.is_file():
        raise ArtifactError(f"{file}: no such file.")
    suffix = file.suffix.lower()
    if suffix == ".onnx":
        size = _import_onnx(file, run, expected, order)
    elif suffix in (".keras", ".h5", ".hdf5"):
        size = _import_keras(file, run, expected, order)
    else:
        raise ArtifactError(f"{file}: expected a file that ends in .onnx, .keras, .h5 or .hdf5.")
    config = RunConfig(
        model=file.stem,
        kind="cnn",
        class_names=names,
        image_size=size,
        channels=expected.channels,
        status="finished",
        imported=f"{file.name} (sha256 {hashlib.sha256(file.read_bytes()).hexdigest()})",
    )
    run.write_config(config)
    return config


def order_classes(class_names: Sequence[str]) -> tuple[tuple[str, ...], list[int]]:
    """Return class names with emotions first, in the order of `EMOTIONS`, and the columns that they come from.

    Raises
    ------
    OptionError
        There are fewer than two names, one is repeated, or one is a misspelled emotion.

    Examples
    --------
    >>> order_classes(["Neutral", "contempt", "Anger"])
    (('angry', 'neutral', 'contempt'), [2, 0, 1])
    """
    names = []
    for given in class_names:
        emotion = match_emotion(given)
        if emotion is None and (near := suggest_emotion(given)):
            raise OptionError(f"--class-names: '{given}' is not an emotion; did you mean {near}?")
        names.append(emotion or given.strip())
    repeated = next((name for position, name in enumerate(names) if name in names[:position]), None)
    if repeated is not None or len(names) < 2 or not all(names):
        wrong = f"'{repeated}' twice" if repeated else f"'{','.join(class_names)}'"
        raise OptionError(f"--class-names: expected at least two different names, got {wrong}.")
    ranks = {name: rank for rank, name in enumerate(EMOTIONS)}
    order = sorted(range(len(names)), key=lambda column: (ranks.get(names[column], len(EMOTIONS)), column))
    return tuple(names[column] for column in order), order


def _check_output(values: np.ndarray, n_classes: int, source: Path) -> bool:
    """Return whether outputs (n, n_classes) for some images are probabilities rather than logits."""
    if values.ndim != 2 or values.shape[1] != n_classes:
        raise OptionError(
            f"--class-names: the output of {source} has shape {values.shape}, expected {n_classes} classes per image."
        )
    if not np.isfinite(values).all():
        raise ArtifactError(f"{source}: the network's output is not finite for noise; check --range.")
    return bool((values >= 0).all() and (np.abs(values.sum(axis=1) - 1) < _TOLERANCE).all())


def _check_size(found: tuple[int | None, int | None], expected: InputFormat, source: Path) -> tuple[int, int]:
    """Return the (height, width) that a file tells, or else that the user told."""
    height, width = found
    given = expected.image_size
    if height and width:
        if given and given != (height, width):
            raise OptionError(f"--image-size: {source} takes {height},{width}, got {given[0]},{given[1]}.")
        return height, width
    if given is None:
        raise OptionError(f"--image-size is required, because {source} takes images of any size.")
    return given


def _import_onnx(file: Path, run: Run, expected: InputFormat, order: list[int]) -> tuple[int, int]:
    """Write ``model.onnx`` from an ONNX file; return the image size."""
    import onnx

    try:
        model = onnx.load(file, load_external_data=False)
        onnx.checker.check_model(model)
    # The parser and the checker have errors of their own.
    except Exception as error:
        raise ArtifactError(f"{file} is not a valid ONNX file ({str(error).strip().splitlines()[0][:150]}).") from None
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ArtifactError(f"{file} keeps its weights in other files; save it as one file.")
    initializers = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initializers]
    if len(inputs) != 1 or not model.graph.output:
        raise ArtifactError(f"{file} has {len(inputs)} inputs; a network with one image as input is needed.")
    shape = [dim.dim_value or None for dim in inputs[0].type.tensor_type.shape.dim]
    if len(shape) != 4:
        raise ArtifactError(f"{file}: the input has {len(shape)} dimensions; a batch of images has four.")
    last = next((node for node in model.graph.node if model.graph.output[0].name in node.output), None)
    if last is not None and last.op_type == "Sigmoid":
        raise ArtifactError(f"{file} ends in a sigmoid per class; a network with one class per image is needed.")
    channels = expected.channels
    if channels not in (shape[1], shape[3]) and (shape[1] or shape[3]):
        taken = shape[3] if shape[3] in (1, 3) else shape[1]
        raise OptionError(f"--color: {file} takes {taken} channels, but {expected.color} has {channels}.")
    channels_first = shape[1] == channels or shape[1] is None
    found = (shape[2], shape[3]) if channels_first else (shape[1], shape[2])
    size = _check_size(found, expected, file)
    _add_preprocessing(model, inputs[0], expected, size, channels_first=channels_first)
    with atomic_write(run.path / ONNX_MODEL) as path:
        onnx.save(model, path)
        values = _run(path, file, size, expected.channels)
        is_probability = _check_output(values, len(order), file)
        _add_postprocessing(model, order, softmax=not is_probability)
        onnx.save(model, path)
        _run(path, file, size, expected.channels)
    return size


def _run(path: Path, source: Path, size: tuple[int, int], channels: int) -> np.ndarray:
    """Return a network's outputs for noise images, one at a time, as some networks take only one."""
    try:
        return np.concatenate([run_onnx(path, image[np.newaxis]) for image in random_images(3, (*size, channels))])
    # ONNX Runtime has errors of its own.
    except Exception as error:
        raise ArtifactError(f"{source} cannot be run ({str(error).strip().splitlines()[0][:150]}).") from None


def _add_preprocessing(
    model: "onnx.ModelProto",
    old: "onnx.ValueInfoProto",
    expected: InputFormat,
    size: tuple[int, int],
    *,
    channels_first: bool,
) -> None:
    """Put nodes before an input that turn images, float32 (n, H, W, C), 0 to 255, into what the network expects."""
    from onnx import TensorProto, helper, numpy_helper

    graph, current = model.graph, "ferlib_images"
    batch = old.type.tensor_type.shape.dim[0].dim_value or "n"
    images = helper.make_tensor_value_info(current, TensorProto.FLOAT, [batch, *size, expected.channels])
    nodes: list[Any] = []

    def add(operator: str, *constants: tuple[str, np.ndarray], **attributes: Any) -> None:
        nonlocal current
        names = []
        for name, value in constants:
            names.append(f"ferlib_{name}")
            graph.initializer.append(numpy_helper.from_array(value, names[-1]))
        output = f"ferlib_{operator.lower()}"
        nodes.append(helper.make_node(operator, [current, *names], [output], **attributes))
        current = output

    if expected.color == "bgr":
        add("Gather", ("reversed", np.array([2, 1, 0], np.int64)), axis=3)
    scale, offset = expected.scale_and_offset()
    add("Mul", ("scale", scale))
    add("Add", ("offset", offset))
    if channels_first:
        add("Transpose", perm=[0, 3, 1, 2])
    kind = old.type.tensor_type.elem_type
    add("Cast", to=kind)
    nodes[-1].output[0] = old.name
    original = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *original])
    kept = [images, *(value for value in graph.input if value.name != old.name)]
    del graph.input[:]
    graph.input.extend(kept)
    # The shapes that are written in the file may contradict the free batch.
    del graph.value_info[:]


def _add_postprocessing(model: "onnx.ModelProto", order: list[int], *, softmax: bool) -> None:
    """Put nodes after the output that turn logits into probabilities and sort the classes."""
    from onnx import TensorProto, helper, numpy_helper

    graph, current = model.graph, model.graph.output[0].name
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_value or "n"
    graph.node.append(helper.make_node("Cast", [current], ["ferlib_float"], to=TensorProto.FLOAT))
    current = "ferlib_float"
    if softmax:
        graph.node.append(helper.make_node("Softmax", [current], ["ferlib_softmax"], axis=1))
        current = "ferlib_softmax"
    graph.initializer.append(numpy_helper.from_array(np.array(order, np.int64), "ferlib_order"))
    graph.node.append(helper.make_node("Gather", [current, "ferlib_order"], ["ferlib_probabilities"], axis=1))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("ferlib_probabilities", TensorProto.FLOAT, [batch, len(order)]))


def _import_keras(file: Path, run: Run, expected: InputFormat, order: list[int]) -> tuple[int, int]:
    """Write ``model.keras`` and ``model.onnx`` from a Keras file; return the image size."""
    from ferlib.core.backend import import_keras

    keras = import_keras()
    from ferlib.export.onnx import save_network

    if file.suffix.lower() == ".keras":
        check_keras(file)
    try:
        inner = keras.saving.load_model(file, compile=False, safe_mode=True)
    # Keras raises many kinds of errors for files of other versions and for layers that could run code.
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ArtifactError(f"{file} cannot be loaded by Keras {keras.__version__} ({reason[0][:200]}).") from None
    if len(inner.inputs) != 1 or len(inner.outputs) != 1 or len(inner.input_shape) != 4:
        raise ArtifactError(f"{file}: a network with one image as input and one output is needed.")
    _, height, width, channels = inner.input_shape
    if channels != expected.channels:
        raise OptionError(f"--color: {file} takes {channels} channels, but {expected.color} has {expected.channels}.")
    size = _check_size((height, width), expected, file)
    model = _wrap(keras, inner, expected, size)
    images = random_images(8, (*size, expected.channels))
    values = np.asarray(model.predict_on_batch(images.astype(np.float32)))
    outputs = model.output if _check_output(values, len(order), file) else keras.ops.softmax(model.output)
    outputs = keras.ops.take(outputs, order, axis=1)
    try:
        save_network(keras.Model(model.input, outputs, name="imported"), run.path, images)
    except FerlibError:
        raise
    except Exception as error:
        raise ArtifactError(f"{file} cannot be exported to ONNX ({type(error).__name__}).") from error
    return size


def _wrap(keras: Any, inner: "keras.Model", expected: InputFormat, size: tuple[int, int]) -> "keras.Model":
    """Return a network that takes images, 0 to 255, RGB or gray, and passes on what the inner one expects."""
    inputs = keras.Input((*size, expected.channels), name="images")
    current = inputs[..., ::-1] if expected.color == "bgr" else inputs
    scale, offset = expected.scale_and_offset()
    # Numbers, not arrays, which would be inputs of the ONNX graph.
    current = keras.layers.Rescaling(_number(scale), _number(offset))(current)
    outputs = inner(current)
    # Files of Keras 2 give a list with one output.
    return keras.Model(inputs, outputs[0] if isinstance(outputs, list | tuple) else outputs, name="images_to_output")


def _number(values: np.ndarray) -> float | list[float]:
    """Return values (C,) as one number if they are equal, else as a list."""
    return float(values[0]) if (values == values[0]).all() else values.tolist()
