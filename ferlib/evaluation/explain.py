"""Where a model looks: gradients for networks (Grad-CAM), and for any model what it loses when a place is covered."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ferlib.core.backend import import_keras
from ferlib.core.console import progress_bar

if TYPE_CHECKING:
    import keras


def grad_cam(
    model: "keras.Model",
    images: np.ndarray,
    classes: np.ndarray,
    *,
    layer_name: str | None = None,
    batch_size: int = 64,
) -> np.ndarray:
    """Return which places of each image speak for a class, by the gradient of the class's logit.

    The channels of the last layer that still has places are weighed by the mean gradient of the logit with respect to
    them, and summed; what is negative is cut off.

    Keras has no gradient that is the same on all of its backends, but its optimizers have: a trainable offset of zero
    is added to the layer's output, one step of plain gradient descent at rate 1 is taken on the logit, and what the
    offset has become is the gradient.

    Parameters
    ----------
    model : keras.Model
        From 0 to 255 to probabilities, as `ferlib.runs.folder.load_keras_model` returns it. It is not changed.
    images : ndarray of shape (n, H, W, C), dtype uint8
        Of the model's size and color.
    classes : ndarray of shape (n,), dtype int
        The class to explain, for each image.
    layer_name : str, optional
        The layer to look at; the last one with more than one place when None.
    batch_size : int

    Returns
    -------
    ndarray of shape (n, H, W), dtype float32
        0 to 1, each image's largest value 1; all 0 where nothing speaks for the class.

    References
    ----------
    R. Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017.
    """
    if not len(images):
        return np.zeros(images.shape[:3], np.float32)
    features, head = _cut(model, layer_name)
    batch_size = min(batch_size, len(images))
    find_gradients = None
    maps = np.zeros((len(images), *images.shape[1:3]), np.float32)
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        # The last batch is filled up: a batch of another size would be another network to trace.
        rows = np.arange(start, start + batch_size) % len(images)
        activations = np.asarray(features.predict_on_batch(images[rows].astype(np.float32)), np.float32)
        find_gradients = find_gradients or _prepare_gradients(head, activations.shape)
        gradients = find_gradients(activations, classes[rows])
        weights = gradients.mean(axis=(1, 2), keepdims=True)
        cams = np.maximum((weights * activations).sum(axis=-1), 0)
        for target, cam in zip(maps[part], cams, strict=False):
            large = cv2.resize(cam, images.shape[2:0:-1], interpolation=cv2.INTER_LINEAR)
            target[:] = large / max(large.max(), 1e-12)
    return maps


def _cut(model: "keras.Model", layer_name: str | None) -> tuple["keras.Model", "keras.Model"]:
    """Return a network up to a layer's output, and one from there to logits, without dropout, as a copy."""
    keras = import_keras()
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    copy.trainable = False
    for layer in copy.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    if layer_name is None:
        places = [layer for layer in copy.layers if len(layer.output.shape) == 4 and _n_places(layer.output) != 1]
        layer = places[-1]
    else:
        layer = copy.get_layer(layer_name)
    last = copy.layers[-1]
    # Softmax lets other classes have a say in the gradient; the logit is the class's own.
    logits = keras.layers.Dense(last.units, name="logits", dtype="float32")
    outputs = logits(last.input)
    logits.set_weights(last.get_weights())
    logits.trainable = False
    return keras.Model(copy.inputs, layer.output), keras.Model(layer.output, outputs)


def _n_places(tensor: Any) -> int | None:
    """Return the number of places of (n, H, W, C); None if it is not known."""
    height, width = tensor.shape[1:3]
    return None if height is None or width is None else height * width


def _prepare_gradients(head: "keras.Model", shape: tuple[int, ...]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return what gives the gradients of classes' logits with respect to activations, both of shape (n, h, w, c)."""
    keras = import_keras()

    class Offset(keras.layers.Layer):
        """Adds a trainable array, which begins as zero."""

        def build(self, input_shape: tuple) -> None:  # noqa: ARG002
            self.offset = self.add_weight(shape=shape, initializer="zeros", name="offset")

        def call(self, x: Any) -> Any:
            return x + self.offset

    inputs = keras.Input(batch_shape=shape)
    layer = Offset(dtype="float32")
    model = keras.Model(inputs, head(layer(inputs)))
    model.compile(
        keras.optimizers.SGD(1.0),
        # Descent of what is negative climbs; the mean over the batch is undone.
        loss=lambda chosen, logits: -shape[0] * keras.ops.sum(chosen * logits, axis=-1),
    )

    def find_gradients(activations: np.ndarray, classes: np.ndarray) -> np.ndarray:
        layer.offset.assign(np.zeros(shape, np.float32))
        model.train_on_batch(activations, np.eye(model.output_shape[-1], dtype=np.float32)[classes])
        return np.array(keras.ops.convert_to_numpy(layer.offset))

    return find_gradients


def occlusion_maps(
    predict_proba: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    classes: np.ndarray,
    *,
    patch: int = 12,
    step: int = 6,
    progress: bool = True,
) -> np.ndarray:
    """Return how much of a class's probability is lost when a place is covered; without gradients, so for any model.

    Parameters
    ----------
    predict_proba : callable
        Images to probabilities (n, n_classes).
    images : ndarray of shape (n, H, W, C), dtype uint8
    classes : ndarray of shape (n,), dtype int
    patch : int
        Side of the square that covers, in pixels; it has each image's mean gray or color.
    step : int
        How far the square moves.
    progress : bool

    Returns
    -------
    ndarray of shape (n, H, W), dtype float32
        The mean loss over the squares that covered a pixel; negative where covering helped.

    References
    ----------
    M. Zeiler, R. Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014.
    """
    n, height, width, _ = images.shape
    rows = np.arange(n)
    whole = predict_proba(images)[rows, classes]
    means = images.mean(axis=(1, 2), keepdims=True).astype(np.uint8)
    lost, covered = np.zeros((n, height, width), np.float32), np.zeros((height, width), np.float32)
    # Squares that stick out at each side, so that every pixel is covered about equally often.
    corners = [(y, x) for y in range(step - patch, height, step) for x in range(step - patch, width, step)]
    for y, x in progress_bar(corners, desc="cover", unit="place", disable=not progress):
        window = (slice(max(0, y), y + patch), slice(max(0, x), x + patch))
        changed = images.copy()
        changed[:, window[0], window[1]] = means
        loss = whole - predict_proba(changed)[rows, classes]
        lost[:, window[0], window[1]] += loss[:, np.newaxis, np.newaxis]
        covered[window] += 1
    return lost / np.maximum(covered, 1)


def average_maps(maps: np.ndarray, labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the mean map of each class, (n_classes, H, W); zero for a class without a map."""
    means = np.zeros((n_classes, *maps.shape[1:]), np.float32)
    for code in np.unique(labels):
        means[code] = maps[labels == code].mean(axis=0)
    return means
