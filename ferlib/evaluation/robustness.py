"""Accuracy on transformed and corrupted images."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from ferlib.core.console import progress_bar
from ferlib.core.images import resize


@dataclass(frozen=True, kw_only=True)
class Transform:
    """A geometric change of an image about its center: shift in pixels, size factor, counterclockwise rotation."""

    right: float = 0
    down: float = 0
    scale: float = 1
    degrees: float = 0


#: The transforms that `measure_robustness` applies.
TRANSFORMS = {
    "shift 4 px left": Transform(right=-4),
    "shift 4 px right": Transform(right=4),
    "shift 4 px up": Transform(down=-4),
    "shift 4 px down": Transform(down=4),
    "scale 0.85": Transform(scale=0.85),
    "scale 1.15": Transform(scale=1.15),
    "rotate 12° left": Transform(degrees=12),
    "rotate 12° right": Transform(degrees=-12),
}

#: The corruptions that `corrupt_images` applies, each with five strengths.
CORRUPTIONS: dict[str, tuple[float, ...]] = {
    "small face": (0.75, 0.5, 0.33, 0.25, 0.17),  # side of the downscaled image, as a fraction of the original side
    "blur": (0.5, 1.0, 1.5, 2.0, 3.0),  # standard deviation in pixels
    "noise": (5, 10, 20, 30, 45),  # standard deviation in gray levels
    "JPEG quality": (50, 30, 20, 10, 5),  # 1 to 100
    "rotation": (6, 12, 18, 24, 30),  # degrees counterclockwise
    "darker": (0.8, 0.65, 0.5, 0.35, 0.2),  # factor of brightness
    "brighter": (1.2, 1.4, 1.6, 1.8, 2.0),  # factor of brightness
    "occlusion": (0.15, 0.25, 0.35, 0.45, 0.55),  # side of a gray square, as a fraction of the image's side
}


def transform_images(images: np.ndarray, transform: Transform) -> np.ndarray:
    """Return images (n, H, W, C), uint8, shifted, scaled and rotated; uncovered pixels repeat the image's edge."""
    height, width = images.shape[1:3]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), transform.degrees, transform.scale)
    matrix[:, 2] += np.array([transform.right, transform.down])
    changed = [
        cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for image in images
    ]
    return np.asarray(changed, np.uint8).reshape(images.shape)


def corrupt_images(images: np.ndarray, corruption: str, strength: float) -> np.ndarray:
    """Return corrupted copies of images.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C), dtype uint8
    corruption : str
        A name in `CORRUPTIONS`.
    strength : float
        Its meaning is explained there.

    References
    ----------
    D. Hendrycks, T. Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR
    2019.
    """
    if corruption not in CORRUPTIONS:
        raise ValueError(f"corruption must be one of {', '.join(CORRUPTIONS)}, got '{corruption}'")
    height, width = images.shape[1:3]
    rng = np.random.default_rng(0)
    corrupted: np.ndarray | list[np.ndarray]
    if corruption == "small face":
        small = max(1, round(height * strength)), max(1, round(width * strength))
        corrupted = [resize(resize(image, small), (height, width)) for image in images]
    elif corruption == "blur":
        corrupted = [cv2.GaussianBlur(image, (0, 0), strength) for image in images]
    elif corruption == "noise":
        corrupted = np.clip(images + rng.normal(0, strength, images.shape), 0, 255).round()
    elif corruption == "JPEG quality":
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(strength)]
        files = [cv2.imencode(".jpg", image, quality)[1] for image in images]
        corrupted = [np.asarray(cv2.imdecode(file, cv2.IMREAD_UNCHANGED)) for file in files]
    elif corruption == "rotation":
        corrupted = transform_images(images, Transform(degrees=strength))
    elif corruption == "occlusion":
        corrupted = images.copy()
        h, w = round(height * strength), round(width * strength)
        tops, lefts = rng.integers(0, height - h + 1, len(images)), rng.integers(0, width - w + 1, len(images))
        for image, top, left in zip(corrupted, tops, lefts, strict=True):
            image[top : top + h, left : left + w] = 128
    else:
        corrupted = np.clip(images * np.float32(strength), 0, 255).round()
    return np.asarray(corrupted).astype(np.uint8).reshape(images.shape)


def measure_corruptions(
    predict_proba: Callable[[np.ndarray], np.ndarray], images: np.ndarray, y_true: np.ndarray
) -> pd.DataFrame:
    """Return the accuracy on images with each corruption at each strength.

    Parameters
    ----------
    predict_proba : callable
        Images to probabilities (n, n_classes).
    images : ndarray of shape (n, H, W, C), dtype uint8
    y_true : ndarray of shape (n,), dtype int

    Returns
    -------
    DataFrame
        Columns ``corruption``, ``level`` (0 is the original image, 5 the strongest corruption), ``strength`` and
        ``accuracy``.
    """
    clean = _accuracy(predict_proba, images, y_true)
    rows = [{"corruption": name, "level": 0, "strength": np.nan, "accuracy": clean} for name in CORRUPTIONS]
    cases = [(name, level, value) for name, values in CORRUPTIONS.items() for level, value in enumerate(values, 1)]
    for name, level, strength in progress_bar(cases, desc="corrupt images", unit="case"):
        accuracy = _accuracy(predict_proba, corrupt_images(images, name, strength), y_true)
        rows.append({"corruption": name, "level": level, "strength": strength, "accuracy": accuracy})
    return pd.DataFrame(rows).sort_values(["corruption", "level"], ignore_index=True)


def measure_robustness(
    predict_proba: Callable[[np.ndarray], np.ndarray], images: np.ndarray, y_true: np.ndarray
) -> dict[str, float]:
    """Return the accuracy on the ``"original"`` images and, by name, after each of `TRANSFORMS`.

    Parameters
    ----------
    predict_proba, images, y_true
        As for `measure_corruptions`.
    """
    cases = {"original": Transform()} | TRANSFORMS
    return {name: _accuracy(predict_proba, transform_images(images, case), y_true) for name, case in cases.items()}


def _accuracy(predict_proba: Callable[[np.ndarray], np.ndarray], images: np.ndarray, y_true: np.ndarray) -> float:
    """Return the fraction of images whose most probable class is the true one."""
    return float((predict_proba(images).argmax(axis=1) == y_true).mean())
