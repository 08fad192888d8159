"""Explanations of predictions: Grad-CAM for networks, occlusion maps for any model."""

from collections.abc import Callable
from typing import TYPE_CHECKING

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
    """Return which image regions support a class: Grad-CAM.

    Parameters
    ----------
    model : keras.Model
        From 0 to 255 to probabilities, as `ferlib.runs.classifier.load_keras_model` returns it; it is not changed.
    images : ndarray of shape (n, H, W, C), dtype uint8
        Of the model's size and color.
    classes : ndarray of shape (n,), dtype int
        The class to explain, for each image.
    layer_name : str, optional
        The layer whose feature maps are weighted; the last layer with more than one position when None.
    batch_size : int

    Returns
    -------
    ndarray of shape (n, H, W), dtype float32
        0 to 1, with a maximum of 1 per image; all 0 where nothing supports the class.

    References
    ----------
    R. Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017.
    """
    maps = np.zeros(images.shape[:3], np.float32)
    if not len(images):
        return maps
    keras = import_keras()
    features, head = _split(model, layer_name)
    gradients_of = _GRADIENTS[keras.backend.backend()]
    one_hot = np.eye(head.output_shape[-1], dtype=np.float32)[classes]
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        outputs = features(images[part].astype(np.float32), training=False)
        activations = np.asarray(keras.ops.convert_to_numpy(outputs), np.float32)
        weights = gradients_of(head, activations, one_hot[part]).mean(axis=(1, 2), keepdims=True)
        cams = np.maximum((weights * activations).sum(axis=-1), 0)
        for target, cam in zip(maps[part], cams, strict=True):
            large = cv2.resize(cam, images.shape[2:0:-1], interpolation=cv2.INTER_LINEAR)
            target[:] = large / max(large.max(), 1e-12)
    return maps


def _split(model: "keras.Model", layer_name: str | None) -> tuple["keras.Model", "keras.Model"]:
    """Return the network up to a layer's output, and from there to the logits."""
    keras = import_keras()
    if layer_name is None:
        layer = [layer for layer in model.layers if len(layer.output.shape) == 4 and layer.output.shape[1:3] != (1, 1)][
            -1
        ]
    else:
        layer = model.get_layer(layer_name)
    # The softmax would mix the gradients of all classes.
    last = model.layers[-1]
    logits = keras.layers.Dense(last.units, name="logits", dtype="float32")
    outputs = logits(last.input)
    logits.set_weights(last.get_weights())
    return keras.Model(model.input, layer.output), keras.Model(layer.output, outputs)


def _tensorflow_gradients(head: "keras.Model", activations: np.ndarray, one_hot: np.ndarray) -> np.ndarray:
    """Return the gradients (n, h, w, c) of the chosen logits with respect to activations, by TensorFlow."""
    import tensorflow as tf

    inputs = tf.constant(activations)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        total = tf.reduce_sum(one_hot * head(inputs, training=False))
    return tape.gradient(total, inputs).numpy()


def _jax_gradients(head: "keras.Model", activations: np.ndarray, one_hot: np.ndarray) -> np.ndarray:
    """Return the gradients (n, h, w, c) of the chosen logits with respect to activations, by JAX."""
    import jax

    return np.asarray(jax.grad(lambda inputs: (one_hot * head(inputs, training=False)).sum())(activations))


def _torch_gradients(head: "keras.Model", activations: np.ndarray, one_hot: np.ndarray) -> np.ndarray:
    """Return the gradients (n, h, w, c) of the chosen logits with respect to activations, by PyTorch."""
    import torch

    keras = import_keras()
    inputs = keras.ops.convert_to_tensor(activations).requires_grad_()
    total = (keras.ops.convert_to_tensor(one_hot) * head(inputs, training=False)).sum()
    (gradients,) = torch.autograd.grad(total, inputs)
    return gradients.cpu().numpy()


# Keras has no gradient function of its own.
_GRADIENTS: dict[str, Callable[["keras.Model", np.ndarray, np.ndarray], np.ndarray]] = {
    "tensorflow": _tensorflow_gradients,
    "jax": _jax_gradients,
    "torch": _torch_gradients,
}


def occlusion_maps(
    predict_proba: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    classes: np.ndarray,
    *,
    patch: int = 12,
    step: int = 6,
    progress: bool = True,
) -> np.ndarray:
    """Return how much of a class's probability is lost when a region is covered; works for any model.

    Parameters
    ----------
    predict_proba : callable
        Images to probabilities (n, n_classes).
    images : ndarray of shape (n, H, W, C), dtype uint8
    classes : ndarray of shape (n,), dtype int
    patch : int
        Side of the covering square in pixels; it has the image's mean gray or color.
    step : int
        Distance between neighboring squares in pixels.
    progress : bool
        Show a progress bar.

    Returns
    -------
    ndarray of shape (n, H, W), dtype float32
        The mean loss over the squares that covered a pixel; negative where covering raised the probability.

    References
    ----------
    M. Zeiler, R. Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014.
    """
    n, height, width, _ = images.shape
    rows = np.arange(n)
    original = predict_proba(images)[rows, classes]
    means = images.mean(axis=(1, 2), keepdims=True).astype(np.uint8)
    lost, covered = np.zeros((n, height, width), np.float32), np.zeros((height, width), np.float32)
    # Squares extend beyond the border, so that every pixel is covered about equally often.
    corners = [(y, x) for y in range(step - patch, height, step) for x in range(step - patch, width, step)]
    for y, x in progress_bar(corners, desc="occlude", unit="position", disable=not progress):
        ys, xs = slice(max(0, y), y + patch), slice(max(0, x), x + patch)
        changed = images.copy()
        changed[:, ys, xs] = means
        loss = original - predict_proba(changed)[rows, classes]
        lost[:, ys, xs] += loss[:, np.newaxis, np.newaxis]
        covered[ys, xs] += 1
    return lost / np.maximum(covered, 1)


def average_maps(maps: np.ndarray, labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the mean map of each class, (n_classes, H, W); zeros for a class without maps."""
    means = np.zeros((n_classes, *maps.shape[1:]), np.float32)
    for code in np.unique(labels):
        means[code] = maps[labels == code].mean(axis=0)
    return means
