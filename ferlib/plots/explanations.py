"""Figures that explain a model: visual words, and heat maps over mean faces."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from ferlib.plots.style import styled


@styled
def plot_words(patches: np.ndarray, maps: np.ndarray, words: Sequence[Sequence[int]], titles: Sequence[str]) -> Figure:
    """Draw groups of visual words: the mean patch of each word above a map of where it occurs.

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
    per_group, numbers = len(words[0]), np.ravel(words)
    figure, axes = plt.subplots(2, len(numbers), figsize=(0.62 * len(numbers), 1.64), squeeze=False)
    for (above, below), word in zip(axes.T, numbers, strict=True):
        above.imshow(patches[word], cmap="gray", vmin=0, vmax=255)
        below.imshow(maps[word], cmap="inferno")
    for ax, title in zip(axes[0, per_group // 2 :: per_group], titles, strict=True):
        ax.set_title(title, fontsize=9, loc="center")
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
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
