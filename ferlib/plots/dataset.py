"""Figures of a dataset: class counts, images, brightness and contrast."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ferlib.core.emotions import EMOTION_COLORS, class_colors
from ferlib.plots.style import styled


@styled
def plot_class_counts(counts: pd.DataFrame) -> Axes:
    """Draw the number of images per class (row) and split (column), as from `ImageDataset.counts`."""
    ax = plt.subplots(figsize=(7.5, 3.2))[1]
    left, total = np.zeros(len(counts)), counts.to_numpy().sum()
    colors = list(class_colors(counts.index).values())
    shades = dict(zip(counts.columns, np.linspace(1.0, 0.35, counts.shape[1]), strict=True))
    for split, alpha in shades.items():
        ax.barh(counts.index, counts[split], left=left, color=colors, alpha=alpha, edgecolor="white")
        left += counts[split].to_numpy()
    for row, number in enumerate(left):
        ax.text(number + left.max() * 0.01, row, f"{number:,.0f} ({number / total:.1%})", va="center", fontsize=9)
    patches = [plt.Rectangle((0, 0), 1, 1, color="#7F7F7F", alpha=alpha) for alpha in shades.values()]
    ax.legend(patches, shades, frameon=False, fontsize=9, loc="lower right")
    ax.set(xlabel="images", xlim=(0, left.max() * 1.18), title="Images per emotion")
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
        boxes = ax.boxplot(per_class, orientation="horizontal", **look)["boxes"]
        for box, name in zip(boxes, class_names, strict=True):
            box.set_facecolor(EMOTION_COLORS[name])
        ax.set(xlabel=f"{label} (gray levels)")
    # The axes share their ticks: labels on both would be drawn twice.
    axes[0].set_yticks(range(1, len(class_names) + 1), class_names)
    axes[0].invert_yaxis()
    return figure
