"""Figures in one style; each function returns the axes or the figure that it draws."""

from ferlib.plots.dataset import plot_brightness, plot_class_counts, plot_faces
from ferlib.plots.explanations import (
    plot_descriptor,
    plot_heatmaps,
    plot_image_words,
    plot_map_rows,
    plot_words,
)
from ferlib.plots.network import plot_feature_maps, plot_network, tabulate_stages
from ferlib.plots.report import write_report
from ferlib.plots.results import (
    plot_confusion_matrix,
    plot_corruptions,
    plot_imbalance,
    plot_intervals,
    plot_pairs,
    plot_predictions,
    plot_recalls,
    plot_reliability,
    plot_roc_pr,
)
from ferlib.plots.style import save_figure, use_style
from ferlib.plots.training import LiveCurves, plot_curves, plot_history, plot_seeds
from ferlib.plots.tuning import (
    plot_confirmation,
    plot_importance,
    plot_parallel,
    plot_slices,
    plot_study,
    plot_trials,
)
from ferlib.plots.video import plot_timeline

__all__ = [
    "LiveCurves",
    "plot_brightness",
    "plot_class_counts",
    "plot_confirmation",
    "plot_confusion_matrix",
    "plot_corruptions",
    "plot_curves",
    "plot_descriptor",
    "plot_faces",
    "plot_feature_maps",
    "plot_heatmaps",
    "plot_history",
    "plot_image_words",
    "plot_imbalance",
    "plot_importance",
    "plot_intervals",
    "plot_map_rows",
    "plot_network",
    "plot_pairs",
    "plot_parallel",
    "plot_predictions",
    "plot_recalls",
    "plot_reliability",
    "plot_roc_pr",
    "plot_seeds",
    "plot_slices",
    "plot_study",
    "plot_timeline",
    "plot_trials",
    "plot_words",
    "save_figure",
    "tabulate_stages",
    "use_style",
    "write_report",
]
