"""The figures of an evaluation report."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from ferlib.evaluation.calibration import tabulate_reliability
from ferlib.plots.results import (
    plot_confusion_matrix,
    plot_corruptions,
    plot_recalls,
    plot_reliability,
    plot_roc_pr,
)
from ferlib.plots.style import save_figure
from ferlib.plots.training import plot_history
from ferlib.runs.records import Metrics


def save_report_figures(
    folder: str | Path,
    *,
    title: str,
    y_true: np.ndarray,
    y_proba: np.ndarray,
    metrics: Metrics,
    history: Sequence[Mapping[str, float]] = (),
    corruptions: pd.DataFrame | None = None,
) -> list[str]:
    """Write the figures of a report as PNG files.

    Parameters
    ----------
    folder : path
    title : str
        Name of the model and the data.
    y_true : ndarray of shape (n,), dtype int
    y_proba : ndarray of shape (n, n_classes)
    metrics : Metrics
    history : sequence of mapping
        One row per epoch, for the learning curves; empty for a model without epochs.
    corruptions : DataFrame, optional
        From `ferlib.evaluation.robustness.measure_corruptions`.

    Returns
    -------
    list of str
        The names of the figures, for `ferlib.evaluation.report.write_report`.
    """
    label = f"{title}, ECE {metrics.ece:.3f}"
    figures = {
        "confusion_matrix": plot_confusion_matrix(metrics).figure,
        "recalls": plot_recalls({title: metrics}).figure,
        "curves": plot_roc_pr(y_true, y_proba, metrics.class_names),
        "reliability": plot_reliability({label: tabulate_reliability(y_true, y_proba)}).figure,
    }
    if history:
        figures["history"] = plot_history(history)
    if corruptions is not None:
        figures["corruptions"] = plot_corruptions(corruptions)
    for name, figure in figures.items():
        save_figure(figure, folder, name)
        plt.close(figure.get_figure(root=True))
    return list(figures)
