"""Accuracy on images that were moved, scaled, turned or spoiled: how much a model leans on what it was trained on."""

from collections.abc import Callable

import cv2
import numpy as np
import pandas as pd

from ferlib.core.console import progress_bar
from ferlib.core.images import resize

#: What is done to images: shift to the right and down in pixels, factor of size, turn to the left in degrees.
TRANSFORMS: dict[str, tuple[float, float, float, float]] = {
    "shift 4 px left": (-4, 0, 1, 0),
    "shift 4 px right": (4, 0, 1, 0),
    "shift 4 px up": (0, -4, 1, 0),
    "shift 4 px down": (0, 4, 1, 0),
    "scale 0.85": (0, 0, 0.85, 0),
    "scale 1.15": (0, 0, 1.15, 0),
    "rotate 12° left": (0, 0, 1, 12),
    "rotate 12° right": (0, 0, 1, -12),
}


def transform_images(images: np.ndarray, change: tuple[float, float, float, float]) -> np.ndarray:
    """Return images shifted, scaled and turned about their centre.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C), dtype uint8
    change : tuple of float
        As in `TRANSFORMS`.

    Returns
    -------
    ndarray of shape (n, H, W, C), dtype uint8
        The space that is uncovered repeats the image's edge.
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


#: Ways to spoil images, each at five strengths: what the numbers are stands in `corrupt_images`.
CORRUPTIONS: dict[str, tuple[float, ...]] = {
    "small face": (0.75, 0.5, 0.33, 0.25, 0.17),
    "blur": (0.5, 1.0, 1.5, 2.0, 3.0),
    "noise": (5, 10, 20, 30, 45),
    "JPEG quality": (50, 30, 20, 10, 5),
    "rotation": (6, 12, 18, 24, 30),
    "darker": (0.8, 0.65, 0.5, 0.35, 0.2),
    "brighter": (1.2, 1.4, 1.6, 1.8, 2.0),
    "occlusion": (0.15, 0.25, 0.35, 0.45, 0.55),
}


def corrupt_images(images: np.ndarray, corruption: str, strength: float, *, seed: int = 0) -> np.ndarray:
    """Return spoiled copies of images.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C), dtype uint8
    corruption : str
        A name of `CORRUPTIONS`.
    strength : float
        Of a small face the side, as a fraction of the image's, from which it is enlarged again; of blur and noise the
        standard deviation, in pixels and in gray levels; the quality of JPEG, 1 to 100; degrees of rotation to the
        left; the factor of brightness; for occlusion the side of a gray square at a random place, as a fraction of the
        image's.
    seed : int
        For noise and occlusion.

    Returns
    -------
    ndarray of shape (n, H, W, C), dtype uint8

    References
    ----------
    D. Hendrycks, T. Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR
    2019.
    """
    rng = np.random.default_rng(seed)
    if corruption == "small face":
        height, width = images.shape[1:3]
        small = max(1, round(height * strength)), max(1, round(width * strength))
        spoiled = [resize(resize(image, small), (height, width)) for image in images]
    elif corruption == "blur":
        spoiled = [cv2.GaussianBlur(image, (0, 0), strength) for image in images]
    elif corruption == "noise":
        spoiled = np.clip(images + rng.normal(0, strength, images.shape), 0, 255).round().astype(np.uint8)
    elif corruption == "JPEG quality":
        options = [cv2.IMWRITE_JPEG_QUALITY, int(strength)]
        spoiled = [cv2.imdecode(cv2.imencode(".jpg", image, options)[1], cv2.IMREAD_UNCHANGED) for image in images]
    elif corruption == "rotation":
        spoiled = transform_images(images, (0, 0, 1, strength))
    elif corruption in ("darker", "brighter"):
        spoiled = np.clip(images * np.float32(strength), 0, 255).round().astype(np.uint8)
    elif corruption == "occlusion":
        spoiled = images.copy()
        height, width = images.shape[1:3]
        h, w = round(height * strength), round(width * strength)
        tops, lefts = rng.integers(0, height - h + 1, len(images)), rng.integers(0, width - w + 1, len(images))
        for image, top, left in zip(spoiled, tops, lefts, strict=True):
            image[top : top + h, left : left + w] = 128
    else:
        raise ValueError(f"corruption must be one of {', '.join(CORRUPTIONS)}, got '{corruption}'")
    return np.asarray(spoiled, np.uint8).reshape(images.shape)


def measure_corruptions(
    predict_proba: Callable[[np.ndarray], np.ndarray], images: np.ndarray, y_true: np.ndarray
) -> pd.DataFrame:
    """Return the accuracy on images spoiled in each way at each strength.

    Parameters
    ----------
    predict_proba : callable
        Images to probabilities (n, n_classes).
    images : ndarray of shape (n, H, W, C), dtype uint8
    y_true : ndarray of shape (n,), dtype int

    Returns
    -------
    DataFrame
        Columns ``corruption``, ``level`` (0 is the image as it is, 5 the worst), ``strength`` and ``accuracy``.
    """
    clean = _accuracy(predict_proba, images, y_true)
    rows = [{"corruption": name, "level": 0, "strength": np.nan, "accuracy": clean} for name in CORRUPTIONS]
    cases = [(name, level, value) for name, values in CORRUPTIONS.items() for level, value in enumerate(values, 1)]
    for name, level, strength in progress_bar(cases, desc="spoil images", unit="case"):
        accuracy = _accuracy(predict_proba, corrupt_images(images, name, strength), y_true)
        rows.append({"corruption": name, "level": level, "strength": strength, "accuracy": accuracy})
    return pd.DataFrame(rows).sort_values(["corruption", "level"], ignore_index=True)


def measure_robustness(
    predict_proba: Callable[[np.ndarray], np.ndarray], images: np.ndarray, y_true: np.ndarray
) -> dict[str, float]:
    """Return the accuracy on images as they are and after each of `TRANSFORMS`.

    Parameters
    ----------
    predict_proba : callable
        Images to probabilities (n, n_classes).
    images : ndarray of shape (n, H, W, C), dtype uint8
    y_true : ndarray of shape (n,), dtype int

    Returns
    -------
    dict
        ``upright`` and the name of each change to a fraction.
    """
    views = {"upright": (0, 0, 1, 0), **TRANSFORMS}
    return {name: _accuracy(predict_proba, transform_images(images, change), y_true) for name, change in views.items()}


def _accuracy(predict_proba: Callable[[np.ndarray], np.ndarray], images: np.ndarray, y_true: np.ndarray) -> float:
    """Return the share of images whose most probable class is the true one."""
    return float((predict_proba(images).argmax(axis=1) == y_true).mean())


def describe_robustness(accuracies: dict[str, float]) -> list[tuple[str, str, str]]:
    """Return for each change its name, its accuracy, and how many points that is from upright, as text."""
    upright = accuracies["upright"]
    return [
        (name, f"{value:.2%}", "" if name == "upright" else f"{100 * (value - upright):+.2f} points")
        for name, value in accuracies.items()
    ]
