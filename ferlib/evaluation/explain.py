"""Explanations of predictions: Grad-CAM for networks, occlusion maps for any model."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ferlib.core.backend import import_keras
from ferlib.core.console import progress_bar

if TYPE_CHECKING:
    import keras

_BATCH_SIZE = 64

#: Distance between neighboring squares that cover an image, in pixels; half of their side.
_STEP = 6


def grad_cam(model: "keras.Model", images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return which image regions support a class: Grad-CAM at the last layer with more than one position.

    Parameters
    ----------
    model : keras.Model
        From 0 to 255 to probabilities, as `ferlib.runs.classifier.load_keras_model` returns it; it is not changed.
    images : ndarray of shape (n, H, W, C), dtype uint8
        Of the model's size and color.
    classes : ndarray of shape (n,), dtype int
        The class to explain, for each image.

    Returns
    -------
    ndarray of shape (n, H, W), dtype float32
        0 to 1, with a maximum of 1 per image; all 0 where nothing supports the class.

    References
    ----------
    R. Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017.
    """
    maps = np.zeros(images.shape[:3], np.float32)
    keras = import_keras()
    features, head = _split(model)
    one_hot = np.eye(head.output_shape[-1], dtype=np.float32)[classes]
    for start in range(0, len(images), _BATCH_SIZE):
        part = slice(start, start + _BATCH_SIZE)
        outputs = features(images[part].astype(np.float32), training=False)
        activations = np.asarray(keras.ops.convert_to_numpy(outputs), np.float32)
        weights = _gradients(head, activations, one_hot[part]).mean(axis=(1, 2), keepdims=True)
        cams = np.maximum((weights * activations).sum(axis=-1), 0)
        for target, cam in zip(maps[part], cams, strict=True):
            large = cv2.resize(cam, images.shape[2:0:-1], interpolation=cv2.INTER_LINEAR)
            target[:] = large / max(large.max(), 1e-12)
    return maps


def stage_features(model: "keras.Model", image: np.ndarray) -> dict[str, np.ndarray]:
    """Return the feature maps of one image after each stage of a network: before the maps get smaller.

    Parameters
    ----------
    model : keras.Model
    image : ndarray of shape (H, W, C), dtype uint8
        Of the model's size and color.

    Returns
    -------
    dict
        Names such as ``"24 x 24"`` to arrays of shape (h, w, channels), dtype float32, from the largest maps on.
    """
    keras = import_keras()
    last = {}
    for layer in model.layers[1:]:
        shape = layer.output.shape
        is_rescaling = isinstance(layer, keras.layers.Rescaling)
        if len(shape) == 4 and shape[1] != 1 and not is_rescaling:
            last[f"{shape[1]} x {shape[2]}"] = layer.output
    outputs = keras.Model(model.input, last)(image[np.newaxis].astype(np.float32), training=False)
    return {name: np.asarray(keras.ops.convert_to_numpy(outputs[name]), np.float32)[0] for name in last}


def _split(model: "keras.Model") -> tuple["keras.Model", "keras.Model"]:
    """Return the network up to its last feature maps, and from there to the logits."""
    keras = import_keras()
    shapes = [layer.output.shape for layer in model.layers]
    maps = [
        layer for layer, shape in zip(model.layers, shapes, strict=True) if len(shape) == 4 and shape[1:3] != (1, 1)
    ]
    # The softmax would mix the gradients of all classes.
    last = model.layers[-1]
    logits = keras.layers.Dense(last.units, name="logits", dtype="float32")
    outputs = logits(last.input)
    logits.set_weights(last.get_weights())
    return keras.Model(model.input, maps[-1].output), keras.Model(maps[-1].output, outputs)


def _gradients(head: "keras.Model", activations: np.ndarray, one_hot: np.ndarray) -> np.ndarray:
    """Return the gradients (n, h, w, c) of the chosen logits with respect to activations.

    Keras has no gradient function of its own, so each backend's is used.
    """
    keras = import_keras()

    def total(inputs: Any) -> Any:
        return keras.ops.sum(keras.ops.multiply(one_hot, head(inputs, training=False)))

    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(total)(activations))
    inputs = keras.ops.convert_to_tensor(activations)
    if keras.backend.backend() == "torch":
        import torch

        (gradients,) = torch.autograd.grad(total(inputs.requires_grad_()), inputs)
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(inputs)
            chosen = total(inputs)
        gradients = tape.gradient(chosen, inputs)
    return np.asarray(keras.ops.convert_to_numpy(gradients))


def occlusion_maps(
    predict_proba: Callable[[np.ndarray], np.ndarray], images: np.ndarray, classes: np.ndarray
) -> np.ndarray:
    """Return how much of a class's probability is lost when a region is covered; works for any model.

    The covering squares have a side of 12 pixels and the image's mean gray or color; they move by 6 pixels.

    Parameters
    ----------
    predict_proba : callable
        Images to probabilities (n, n_classes).
    images : ndarray of shape (n, H, W, C), dtype uint8
    classes : ndarray of shape (n,), dtype int

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
    corners = [(y, x) for y in range(-_STEP, height, _STEP) for x in range(-_STEP, width, _STEP)]
    for y, x in progress_bar(corners, desc="occlude", unit="position"):
        ys, xs = slice(max(0, y), y + 2 * _STEP), slice(max(0, x), x + 2 * _STEP)
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
