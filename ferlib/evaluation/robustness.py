"""Accuracy on pictures that were moved, scaled or turned: how much a model leans on how a face was cut out."""

from collections.abc import Callable

import cv2
import numpy as np

#: What is done to pictures: shift to the right and down in pixels, factor of size, turn to the left in degrees.
CHANGES: dict[str, tuple[float, float, float, float]] = {
    "shift 4 px left": (-4, 0, 1, 0),
    "shift 4 px right": (4, 0, 1, 0),
    "shift 4 px up": (0, -4, 1, 0),
    "shift 4 px down": (0, 4, 1, 0),
    "scale 0.85": (0, 0, 0.85, 0),
    "scale 1.15": (0, 0, 1.15, 0),
    "rotate 12° left": (0, 0, 1, 12),
    "rotate 12° right": (0, 0, 1, -12),
}


def change_pictures(images: np.ndarray, change: tuple[float, float, float, float]) -> np.ndarray:
    """Return pictures shifted, scaled and turned about their centre.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C), dtype uint8
    change : tuple of float
        As in `CHANGES`.

    Returns
    -------
    ndarray of shape (n, H, W, C), dtype uint8
        The space that is uncovered repeats the picture's edge.
    """
    height, width = images.shape[1:3]
    right, down, scale, angle = change
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, scale)
    matrix[:, 2] += right, down
    changed = [
        cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for image in images
    ]
    return np.stack(changed).reshape(images.shape) if changed else images


def measure_robustness(
    predict_proba: Callable[[np.ndarray], np.ndarray], images: np.ndarray, y_true: np.ndarray
) -> dict[str, float]:
    """Return the accuracy on pictures as they are and after each of `CHANGES`.

    Parameters
    ----------
    predict_proba : callable
        Pictures to probabilities (n, n_classes).
    images : ndarray of shape (n, H, W, C), dtype uint8
    y_true : ndarray of shape (n,), dtype int

    Returns
    -------
    dict
        ``upright`` and the name of each change to a fraction.
    """
    views = {"upright": (0, 0, 1, 0), **CHANGES}
    return {
        name: float((predict_proba(change_pictures(images, change)).argmax(axis=1) == y_true).mean())
        for name, change in views.items()
    }


def describe_robustness(accuracies: dict[str, float]) -> list[tuple[str, str, str]]:
    """Return for each change its name, its accuracy, and how many points that is from upright, as text."""
    upright = accuracies["upright"]
    return [
        (name, f"{value:.2%}", "" if name == "upright" else f"{100 * (value - upright):+.2f} points")
        for name, value in accuracies.items()
    ]
