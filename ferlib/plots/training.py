"""Figures of trainings: a history, also while it runs; curves of several; a study with seeds."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ferlib.core.console import in_notebook
from ferlib.evaluation.metrics import best_epoch
from ferlib.plots.style import LINE_COLORS, styled


@styled
def plot_history(history: Sequence[Mapping[str, float]], *, title: str = "", augmented: bool = False) -> Figure:
    """Draw training and validation loss and accuracy per epoch of `Run.history`, and mark the kept epoch.

    `augmented` is whether the training images were, which the legend says.
    """
    table = pd.DataFrame(history)
    best = best_epoch(history)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3))
    for ax, metric in zip(axes, ("loss", "accuracy"), strict=True):
        # One epoch is a point, not a line.
        marker = "o" if len(table) < 3 else None
        training = "training (augmented)" if augmented else "training"
        ax.plot(table["epoch"], table[metric], label=training, color="#7F7F7F", marker=marker)
        if f"val_{metric}" in table:
            ax.plot(table["epoch"], table[f"val_{metric}"], label="validation", color="#0072B2", marker=marker)
        ax.axvline(best, color="#D55E00", linewidth=1, linestyle=":", label=f"kept: epoch {best}")
        ax.set(xlabel="epoch", ylabel=metric)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_title(title)
    axes[1].legend(frameon=False, fontsize=9)
    return figure


@styled
def plot_curves(histories: Mapping[str, Sequence[Mapping[str, float]] | pd.DataFrame]) -> Figure:
    """Draw accuracy per epoch of several trainings: validation (solid) and training (dotted).

    `histories` maps names to `Run.history`, or to tables with its columns and several rows per epoch, one per seed,
    whose means are drawn.
    """
    figure, ax = plt.subplots(figsize=(7.5, 3.4))
    for (name, history), color in zip(histories.items(), cycle(LINE_COLORS), strict=False):
        table = pd.DataFrame(history).groupby("epoch")[["accuracy", "val_accuracy"]].mean()
        marker = "o" if len(table) < 3 else None
        ax.plot(table.index, table["val_accuracy"], color=color, marker=marker, label=name)
        ax.plot(table.index, table["accuracy"], color=color, marker=marker, linestyle=":", linewidth=1.2)
    ax.plot([], [], color="#7F7F7F", linestyle=":", label="on the training images")
    ax.set(xlabel="epoch", ylabel="accuracy")
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


@styled
def plot_seeds(table: pd.DataFrame, *, value: str = "val_accuracy", base: str = "base") -> Axes:
    """Draw a study with several seeds per variant: each training, and the mean of its variant.

    Parameters
    ----------
    table : DataFrame
        One row per training, as in ``reports/layers.csv``: ``variant``, ``change`` (its group) and `value`, a fraction.
    value : str
        ``"val_accuracy"`` or ``"test_accuracy"``.
    base : str
        The variant that all others change; its mean is a dotted line.
    """
    means = table.groupby(["change", "variant"], sort=False, dropna=False)[value].mean().reset_index()
    ax = plt.subplots(figsize=(7.5, 0.7 + 0.27 * len(means)))[1]
    ax.axvline(means.loc[means["variant"] == base, value].iloc[0], color="#7F7F7F", linewidth=1, linestyle=":")
    labels = []
    for row, (change, variant, mean) in enumerate(means.itertuples(index=False)):
        single = table.loc[table["variant"] == variant, value]
        ax.plot(single, [row] * len(single), "o", color="#0072B2", markersize=5, markerfacecolor="none")
        ax.plot(mean, row, "|", color="#D55E00", markersize=14, markeredgewidth=2)
        labels.append(f"{change}: {variant}" if isinstance(change, str) and change else variant)
    ax.set_yticks(range(len(labels)), labels, fontsize=9)
    split = value.removesuffix("_accuracy")
    ax.set(xlabel=f"accuracy on {split}: circles are single trainings, bars their mean", ylim=(len(labels) - 0.4, -0.6))
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.grid(axis="x", alpha=0.3)
    return ax


class LiveCurves:
    """Learning curves in a notebook, updated after each epoch; for ``on_epoch`` of `ferlib.training.train_model`.

    Outside of a notebook nothing is drawn.
    """

    def __init__(self, title: str = "", *, augmented: bool = False) -> None:
        self.title = title
        self.augmented = augmented
        self._display: Any = None

    def __call__(self, history: Sequence[Mapping[str, float]]) -> None:
        """Replace the figure by one of the history so far."""
        if not in_notebook():
            return
        from IPython.display import display

        figure = plot_history(history, title=self.title, augmented=self.augmented)
        plt.close(figure)  # or the cell shows it twice
        if self._display is None:
            self._display = display(figure, display_id=True)
        else:
            self._display.update(figure)
