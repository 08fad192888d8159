"""Figures of a dataset: class counts, images, brightness and contrast."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ferlib.core.emotions import EMOTION_COLORS
from ferlib.plots.style import styled


@styled
def plot_class_counts(counts: pd.DataFrame) -> Axes:
    """Draw the number of images per class (row) and split (column), as from `ImageDataset.counts`."""
    ax = plt.subplots(figsize=(7.5, 3.2))[1]
    left = np.zeros(len(counts))
    colors = [EMOTION_COLORS[name] for name in counts.index]
    for split, alpha in zip(counts.columns, np.linspace(1.0, 0.35, counts.shape[1]), strict=True):
        ax.barh(counts.index, counts[split], left=left, color=colors, alpha=alpha, edgecolor="white")
        left += counts[split].to_numpy()
    for row, total in enumerate(left):
        ax.text(total + left.max() * 0.01, row, f"{total:,.0f} ({total / left.sum():.1%})", va="center", fontsize=9)
    shades = ", then ".join(counts.columns) + (", from dark to light" if counts.shape[1] > 1 else "")
    ax.set(xlabel="images", xlim=(0, left.max() * 1.18), title=f"Images per emotion: {shades}")
    ax.invert_yaxis()
    return ax


@styled
def plot_faces(images: np.ndarray, titles: Sequence[str], *, columns: int = 7, size: float = 1.15) -> Figure:
    """Draw a grid of images with titles.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C)
        uint8, or floats from 0 to 255 such as means.
    titles : sequence of str
    columns : int
    size : float
        Side of an image in inches.
    """
    columns = min(columns, max(1, len(images)))
    rows = max(1, -(-len(images) // columns))
    figure, axes = plt.subplots(rows, columns, figsize=(size * columns, (size + 0.28) * rows), squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for ax, image, title in zip(axes.flat, images, titles, strict=False):
        pixels = np.clip(image, 0, 255).astype(np.uint8)
        ax.imshow(pixels[..., 0] if pixels.shape[-1] == 1 else pixels, cmap="gray", vmin=0, vmax=255)
        ax.set_title(title, fontsize=8, loc="center")
    return figure


@styled
def plot_brightness(images: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Draw the distributions of brightness (mean) and contrast (standard deviation) of images per class."""
    values = {"brightness": images.mean(axis=(1, 2, 3)), "contrast": images.std(axis=(1, 2, 3))}
    look = {"patch_artist": True, "widths": 0.7, "flierprops": {"markersize": 1}, "medianprops": {"color": "black"}}
    figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True)
    for ax, (label, value) in zip(axes, values.items(), strict=True):
        per_class = [value[labels == code] for code in range(len(class_names))]
        boxes = ax.boxplot(per_class, orientation="horizontal", tick_labels=class_names, **look)["boxes"]
        for box, name in zip(boxes, class_names, strict=True):
            box.set_facecolor(EMOTION_COLORS[name])
        ax.set(xlabel=f"{label} (gray levels)")
    axes[0].invert_yaxis()
    return figure
