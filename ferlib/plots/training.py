"""Figures of a training: its history, also while it runs."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ferlib.evaluation.metrics import best_epoch
from ferlib.plots.style import styled


@styled
def plot_history(history: Sequence[Mapping[str, float]], *, title: str = "") -> Figure:
    """Draw training and validation loss and accuracy per epoch of `Run.history`, and mark the best epoch."""
    table = pd.DataFrame(history)
    best = best_epoch(history)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3))
    for ax, metric in zip(axes, ("loss", "accuracy"), strict=True):
        # One epoch is a point, not a line.
        marker = "o" if len(table) < 3 else None
        ax.plot(table["epoch"], table[metric], label="training (augmented)", color="#7F7F7F", marker=marker)
        ax.plot(table["epoch"], table[f"val_{metric}"], label="validation", color="#0072B2", marker=marker)
        ax.axvline(best, color="#D55E00", linewidth=1, linestyle=":", label=f"best: epoch {best}")
        ax.set(xlabel="epoch", ylabel=metric)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_title(title)
    axes[1].legend(frameon=False, fontsize=9)
    return figure


class LiveCurves:
    """Learning curves in a notebook, updated after each epoch; for ``on_epoch`` of `ferlib.training.train_model`.

    Outside of a notebook nothing is drawn.
    """

    def __init__(self, title: str = "") -> None:
        self.title = title
        self._display: Any = None

    def __call__(self, history: Sequence[Mapping[str, float]]) -> None:
        """Replace the figure by one of the history so far."""
        if "ipykernel" not in sys.modules:
            return
        from IPython.display import display

        figure = plot_history(history, title=self.title)
        plt.close(figure)  # or the cell shows it twice
        if self._display is None:
            self._display = display(figure, display_id=True)
        else:
            self._display.update(figure)
