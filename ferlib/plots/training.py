"""Figures of a training: its history, and curves that grow while it goes on."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ferlib.evaluation.metrics import best_epoch


def plot_history(history: Sequence[Mapping[str, float]], *, title: str = "") -> Figure:
    """Draw loss and accuracy over epochs, training and validation, with the chosen epoch marked.

    Parameters
    ----------
    history : sequence of mapping
        Rows as `ferlib.runs.folder.read_history` gives them.
    title : str
    """
    table = pd.DataFrame(history)
    best = best_epoch(history)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3))
    for ax, metric in zip(axes, ("loss", "accuracy"), strict=True):
        # One epoch is a point, not a line.
        marker = "o" if len(table) < 3 else None
        ax.plot(table["epoch"], table[metric], label="training (augmented)", color="#7F7F7F", marker=marker)
        ax.plot(table["epoch"], table[f"val_{metric}"], label="validation", color="#0072B2", marker=marker)
        ax.axvline(best, color="#D55E00", linewidth=1, linestyle=":", label=f"chosen: epoch {best}")
        ax.set(xlabel="epoch", ylabel=metric)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_title(title)
    axes[1].legend(frameon=False, fontsize=9)
    return figure


class LiveCurves:
    """Curves that are drawn anew in a notebook after each epoch; for ``on_epoch`` of `ferlib.training.train_model`.

    Outside of a notebook, where nobody would see them, nothing is drawn.

    Parameters
    ----------
    title : str
    """

    def __init__(self, title: str = "") -> None:
        self.title = title
        self._display: Any = None

    def __call__(self, history: Sequence[Mapping[str, float]]) -> None:
        """Draw the history so far in the place of the last drawing."""
        if "ipykernel" not in sys.modules:
            return
        from IPython.display import display

        figure = plot_history(history, title=self.title)
        plt.close(figure)  # else the cell would show it a second time
        if self._display is None:
            self._display = display(figure, display_id=True)
        else:
            self._display.update(figure)
