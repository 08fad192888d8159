"""Figures in one style: each function draws on an axes, or makes a figure, and returns it."""

from ferlib.evaluation.plots.dataset import plot_class_counts, plot_faces, plot_light
from ferlib.evaluation.plots.insight import plot_maps, plot_words
from ferlib.evaluation.plots.results import (
    plot_confusion_matrix,
    plot_corruptions,
    plot_curves,
    plot_intervals,
    plot_recalls,
    plot_reliability,
    plot_treatments,
)
from ferlib.evaluation.plots.style import save_figure, use_style
from ferlib.evaluation.plots.training import LiveCurves, plot_history
from ferlib.evaluation.plots.video import plot_timeline

__all__ = [
    "LiveCurves",
    "plot_class_counts",
    "plot_confusion_matrix",
    "plot_corruptions",
    "plot_curves",
    "plot_faces",
    "plot_history",
    "plot_intervals",
    "plot_light",
    "plot_maps",
    "plot_recalls",
    "plot_reliability",
    "plot_timeline",
    "plot_treatments",
    "plot_words",
    "save_figure",
    "use_style",
]
