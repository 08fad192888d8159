"""Figures that explain a model: visual words, and heat maps over mean faces."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from ferlib.plots.style import LINE_COLORS, styled


@styled
def plot_words(patches: np.ndarray, maps: np.ndarray, words: Sequence[Sequence[int]], titles: Sequence[str]) -> Figure:
    """Draw groups of visual words, one row each: the mean patch of each word, and a map of where it occurs.

    Parameters
    ----------
    patches : ndarray of shape (n_words, side, side)
        Mean patches, 0 to 255.
    maps : ndarray of shape (n_words, cells, cells)
        Fractions of each word's occurrences.
    words : sequence of sequence of int
        The words of each group; groups have equal sizes.
    titles : sequence of str
        One per group.
    """
    per_group = len(words[0])
    figure, axes = plt.subplots(
        len(words), 2 * per_group, figsize=(1.1 * 2 * per_group + 0.8, 1.05 * len(words)), squeeze=False
    )
    for row, title, group in zip(axes, titles, words, strict=True):
        row[0].set_ylabel(title, fontsize=9, rotation=0, ha="right", va="center")
        for patch, place, word in zip(row[::2], row[1::2], group, strict=True):
            patch.imshow(patches[word], cmap="gray", vmin=0, vmax=255)
            place.imshow(maps[word], cmap="inferno")
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    return figure


@styled
def plot_descriptor(image: np.ndarray, center: tuple[float, float], size: int, descriptor: np.ndarray) -> Figure:
    """Draw a patch of an image, and its SIFT descriptor as arrows.

    Parameters
    ----------
    image : ndarray of shape (H, W, 1), dtype uint8
    center : tuple of float
        x and y of the patch's center in pixels.
    size : int
        Side of the patch in pixels.
    descriptor : ndarray of shape (128,)
        Strengths in 4 x 4 parts of the patch (rows from the top) and eight directions (counterclockwise from right).
    """
    x, y = center
    figure, axes = plt.subplots(1, 3, figsize=(8, 2.9))
    extent = (x - size / 2, x + size / 2, y + size / 2, y - size / 2)
    for ax, title in zip(axes, ("a grid of patches", "one patch", "its descriptor: 16 x 8 numbers"), strict=True):
        ax.imshow(image[..., 0], cmap="gray", vmin=0, vmax=255, extent=(0, image.shape[1], image.shape[0], 0))
        ax.set(title=title, xticks=[], yticks=[])
    axes[0].add_patch(plt.Rectangle((extent[0], extent[3]), size, size, fill=False, edgecolor="#D55E00", linewidth=2))
    for ax in axes[1:]:
        ax.set(xlim=extent[:2], ylim=extent[2:])
    angles = np.arange(8) * np.pi / 4
    lengths = descriptor.reshape(4, 4, 8) / descriptor.max() * size / 8
    places = (np.arange(4) + 0.5) * size / 4
    for row, down in enumerate(places):
        for column, right in enumerate(places):
            start = extent[0] + right, extent[3] + down
            for angle, length in zip(angles, lengths[row, column], strict=True):
                axes[2].plot(
                    [start[0], start[0] + length * np.cos(angle)],
                    [start[1], start[1] - length * np.sin(angle)],
                    color="#D55E00", linewidth=1.5,
                )  # fmt: skip
    for line in np.arange(1, 4) * size / 4:
        axes[2].axvline(extent[0] + line, color="white", linewidth=0.6)
        axes[2].axhline(extent[3] + line, color="white", linewidth=0.6)
    return figure


@styled
def plot_image_words(
    image: np.ndarray, words: np.ndarray, positions: np.ndarray, marked: Sequence[int], *, n_words: int
) -> Figure:
    """Draw an image, the same image with each patch's center colored by its word, and the histogram of its words.

    Parameters
    ----------
    image : ndarray of shape (H, W, 1), dtype uint8
    words : ndarray of shape (n_points,), dtype int
    positions : ndarray of shape (n_points, 2)
        x and y as fractions of width and height.
    marked : sequence of int
        Words with a color of their own, in the image and in the histogram.
    n_words : int
        Size of the vocabulary.
    """
    figure, axes = plt.subplots(1, 3, figsize=(10, 2.8), width_ratios=(1, 1, 1.9))
    height, width = image.shape[:2]
    colors = np.array(plt.get_cmap("gray")(0.25 + 0.6 * np.random.default_rng(0).random(n_words)))
    for word, color in zip(marked, LINE_COLORS, strict=False):
        colors[word] = to_rgba(color)
    is_marked = np.isin(words, marked)
    for ax in axes[:2]:
        ax.imshow(image[..., 0], cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0))
        ax.set(xticks=[], yticks=[])
    x, y = (positions * [width, height]).T
    axes[1].scatter(x[~is_marked], y[~is_marked], c=colors[words[~is_marked]], s=5)
    axes[1].scatter(x[is_marked], y[is_marked], c=colors[words[is_marked]], s=26, edgecolor="white", linewidth=0.5)
    counts = np.bincount(words, minlength=n_words)
    axes[2].bar(range(n_words), counts, color="#9F9F9F", width=1)
    axes[2].bar(marked, counts[list(marked)], color=colors[list(marked)], width=max(1, n_words / 120))
    axes[2].set(xlabel="word", ylabel="patches", title="how often each word occurs")
    axes[0].set_title("face")
    axes[1].set_title("each patch by its word")
    return figure


@styled
def plot_heatmaps(means: np.ndarray, maps: np.ndarray, titles: Sequence[str]) -> Figure:
    """Draw heat maps over mean faces.

    Parameters
    ----------
    means : ndarray of shape (n, H, W) or (n, H, W, 1)
        Mean faces, 0 to 255. Saved figures show no single images of a dataset.
    maps : ndarray of shape (n, H, W)
        Higher values are warmer.
    titles : sequence of str
    """
    figure, axes = plt.subplots(1, len(maps), figsize=(1.25 * len(maps), 1.6), squeeze=False)
    for ax, mean, heat, title in zip(axes.flat, means, maps, titles, strict=True):
        ax.imshow(np.reshape(mean, heat.shape), cmap="gray", vmin=0, vmax=255)
        ax.imshow(heat, cmap="inferno", alpha=0.5)
        ax.set_title(title, fontsize=9, loc="center")
        ax.axis("off")
    return figure


@styled
def plot_map_rows(means: np.ndarray, rows: Mapping[str, np.ndarray], titles: Sequence[str]) -> Figure:
    """Draw rows of heat maps over the same mean faces, one column per class.

    Parameters
    ----------
    means : ndarray of shape (n, H, W)
        Mean faces, 0 to 255; zeros for a class without images.
    rows : mapping
        Names of rows to maps (n, H, W), each stretched to its own range; a map of zeros is a class that was never
        predicted.
    titles : sequence of str
    """
    figure, axes = plt.subplots(
        len(rows), len(titles), figsize=(0.8 + 1.15 * len(titles), 0.3 + 1.2 * len(rows)), squeeze=False
    )
    for row, (name, maps) in zip(axes, rows.items(), strict=True):
        row[0].set_ylabel(name, fontsize=9, rotation=0, ha="right", va="center")
        for ax, mean, heat in zip(row, means, maps, strict=True):
            if heat.any():
                ax.imshow(np.reshape(mean, heat.shape), cmap="gray", vmin=0, vmax=255)
                ax.imshow(heat, cmap="inferno", alpha=0.5)
            else:
                ax.text(0.5, 0.5, "none", ha="center", va="center", fontsize=8, color="#7F7F7F", transform=ax.transAxes)
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, fontsize=9, loc="center")
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[], box_aspect=1)
        ax.spines[:].set_visible(False)
    return figure
