"""Figures of a network: its stages, and what an image becomes inside it."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from ferlib.plots.style import styled

if TYPE_CHECKING:
    import keras

# Layers that are counted in a drawing, and their names there.
_SHOWN = {
    "Conv2D": "convolution",
    "Dense": "dense layer",
    "BatchNormalization": "normalization",
    "Dropout": "dropout",
    "Multiply": "channel gate",
}


def tabulate_stages(model: "keras.Model") -> pd.DataFrame:
    """Return the stages of a network: successive layers with outputs of one height and width.

    Returns
    -------
    DataFrame
        One row per stage: ``size``, its height and width in pixels (1 for vectors); ``channels`` of its last layer;
        ``weights``, their number; ``layers``, a `collections.Counter` of the classes of its layers.
    """
    rows: list[dict[str, Any]] = []
    for layer in _flatten(model):
        shape = layer.output.shape
        spatial = len(shape) == 4 and shape[1] != 1
        gate = len(shape) == 4 and not spatial
        size = shape[1] if spatial else 1
        # The gate of squeeze and excitation belongs to the stage that it scales.
        if not rows or (size != rows[-1]["size"] and not gate):
            rows.append({"size": size, "channels": 0, "weights": 0, "layers": Counter()})
        row = rows[-1]
        if not gate:
            row["channels"] = shape[-1]
        row["weights"] += layer.count_params()
        row["layers"][type(layer).__name__] += 1
    return pd.DataFrame(rows)


@styled
def plot_network(models: Mapping[str, "keras.Model"]) -> Figure:
    """Draw networks, one row each: a box per stage, with its layers below and arcs for residual connections.

    The height of a box shows the size of the feature maps, its width the number of channels. `models` maps titles to
    networks.
    """
    figure, axes = plt.subplots(len(models), 1, figsize=(10, 2.7 * len(models)), squeeze=False)
    for ax, (title, model) in zip(axes[:, 0], models.items(), strict=True):
        _draw_stages(ax, tabulate_stages(model))
        ax.set(title=f"{title}: {model.count_params():,} weights", ylim=(-1.65, 1.45))
        ax.axis("off")
    return figure


@styled
def plot_feature_maps(stages: Mapping[str, np.ndarray], image: np.ndarray, *, columns: int = 8) -> Figure:
    """Draw an image, and below it some feature maps of each stage.

    Parameters
    ----------
    stages : mapping
        Names of stages to feature maps (h, w, channels), as from `ferlib.evaluation.explain.stage_features`. The
        channels with the largest spread are drawn, each stretched to its own range.
    image : ndarray of shape (H, W, 1), dtype uint8
    columns : int
        Maps per stage.
    """
    figure, axes = plt.subplots(
        len(stages) + 1, columns + 1, figsize=(1.05 * (columns + 1), 1.1 * (len(stages) + 1)), squeeze=False,
        width_ratios=[1.2, *[1] * columns],
    )  # fmt: skip
    for ax in axes.flat:
        ax.axis("off")
    axes[0, 1].imshow(image[..., 0], cmap="gray", vmin=0, vmax=255)
    names = {f"input\n{image.shape[0]} x {image.shape[1]}": None} | dict(stages)
    for row, (name, maps) in zip(axes, names.items(), strict=True):
        row[0].text(0, 0.5, name, va="center", fontsize=9, transform=row[0].transAxes)
        if maps is None:
            continue
        liveliest = np.argsort(-maps.std(axis=(0, 1)), kind="stable")[:columns]
        for ax, channel in zip(row[1:], liveliest, strict=False):
            ax.imshow(maps[..., channel], cmap="inferno")
    return figure


def _draw_stages(ax: Axes, stages: pd.DataFrame) -> None:
    """Draw boxes from left to right."""
    x, largest = 0.0, stages["size"].max()
    for number, stage in enumerate(stages.itertuples()):
        height = 0.25 + 1.0 * np.sqrt(stage.size / largest)
        width = 0.25 + 0.09 * np.log2(1 + stage.channels)
        color = "#56B4E9" if stage.size > 1 else "#E69F00"
        ax.add_patch(Rectangle((x, -height / 2), width, height, facecolor=color, edgecolor="black", linewidth=0.8))
        skips = stage.layers["Add"]
        if skips:
            ends = (x + 0.05, height / 2), (x + width - 0.05, height / 2)
            arc = FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=9, connectionstyle="arc3,rad=-0.9")
            arc.set_color("#D55E00")
            ax.add_patch(arc)
            top = height / 2 + 0.45 * width
            ax.text(x + width / 2, top + 0.04, f"{skips} x", ha="center", fontsize=8, color="#D55E00")
        shape = f"{stage.size} x {stage.size} x {stage.channels}" if stage.size > 1 else f"{stage.channels} values"
        # A gate has two dense layers, which would otherwise be counted twice.
        counts = stage.layers - Counter({"Dense": 2 * stage.layers["Multiply"]})
        lines = [shape, *(_count(counts[kind], name) for kind, name in _SHOWN.items() if counts[kind])]
        ax.text(x + width / 2, -height / 2 - 0.08, "\n".join(lines), ha="center", va="top", fontsize=8)
        if number:
            ax.annotate("", (x - 0.02, 0), (x - 0.62, 0), arrowprops={"arrowstyle": "->", "color": "#7F7F7F"})
        x += width + 0.64
    ax.set_xlim(-0.35, x - 0.2)


def _count(number: int, name: str) -> str:
    """Return a number and a noun."""
    return f"{number} {name}{'s' if number > 1 else ''}"


def _flatten(model: "keras.Model") -> list["keras.layers.Layer"]:
    """Return the layers of a network and of the networks inside it."""
    return [inner for layer in model.layers for inner in (_flatten(layer) if hasattr(layer, "layers") else [layer])]
