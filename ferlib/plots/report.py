"""A report of one evaluation: Markdown with figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from ferlib.core.files import write_text
from ferlib.evaluation.calibration import tabulate_reliability
from ferlib.evaluation.markdown import headline_rows, markdown_table, per_class_table, robustness_table
from ferlib.evaluation.metrics import list_confusions
from ferlib.plots.results import plot_confusion_matrix, plot_corruptions, plot_recalls, plot_reliability, plot_roc_pr
from ferlib.plots.style import save_figure
from ferlib.plots.training import plot_history
from ferlib.runs.records import Metrics


def write_report(
    folder: str | Path,
    *,
    title: str,
    introduction: str,
    y_true: np.ndarray,
    y_proba: np.ndarray,
    metrics: Metrics,
    history: Sequence[Mapping[str, float]] = (),
    corruptions: pd.DataFrame | None = None,
) -> Path:
    """Write ``report.md`` and its figures; they show aggregates only, no images of the dataset.

    Parameters
    ----------
    folder : path
    title : str
        Name of the model and the data.
    introduction : str
        One line: model, data, split and test-time augmentation.
    y_true : ndarray of shape (n,), dtype int
    y_proba : ndarray of shape (n, n_classes)
    metrics : Metrics
    history : sequence of mapping
        One row per epoch, for the learning curves; empty for a model without epochs.
    corruptions : DataFrame, optional
        From `ferlib.evaluation.robustness.measure_corruptions`.

    Returns
    -------
    Path
        The report.
    """
    bins = {f"{title}, ECE {metrics.ece:.3f}": tabulate_reliability(y_true, y_proba)}
    figures = {
        "confusion_matrix": plot_confusion_matrix(metrics).figure,
        "recalls": plot_recalls({title: metrics}).figure,
        "curves": plot_roc_pr(y_true, y_proba, metrics.class_names),
        "reliability": plot_reliability(bins).figure,
    }
    pairs = [
        (f"{row['true']} predicted as {row['predicted']}", f"{row['count']:,}", f"{row['share']:.1%}")
        for _, row in list_confusions(metrics).head(8).iterrows()
    ]
    lines = [
        f"# {title}",
        "",
        introduction,
        "",
        *markdown_table(("metric", "value", "95 % interval"), headline_rows(metrics)),
        "",
        "Intervals are Wilson's for accuracy and bootstrap percentiles for macro-F1. They describe the uncertainty",
        "from the sample of images, not from repeating the training.",
        "",
        "## Metrics by emotion",
        "",
        *per_class_table(metrics),
        "",
        *_show("confusion_matrix", "Confusion matrix: rows are true emotions, with fractions of the row and counts"),
        *_show("recalls", "Recall of each emotion"),
        *_show("curves", "Each emotion against the others: ROC and precision-recall curves"),
        "## Most frequent confusions",
        "",
        *markdown_table(("pair", "images", "of the true emotion"), pairs),
        "",
        "## Calibration",
        "",
        *_show("reliability", "Accuracy by confidence"),
    ]
    if metrics.robustness is not None:
        lines += ["## Shifted, scaled and rotated images", "", *robustness_table(metrics.robustness), ""]
    if corruptions is not None:
        figures["corruptions"] = plot_corruptions(corruptions)
        lines += ["## Corrupted images", "", *_show("corruptions", "Accuracy by corruption and strength")]
    if history:
        figures["history"] = plot_history(history)
        lines += ["## Learning curves", "", *_show("history", "Loss and accuracy by epoch")]
    for name, figure in figures.items():
        save_figure(figure, folder, name)
        plt.close(figure.get_figure(root=True))
    path = Path(folder) / "report.md"
    write_text(path, "\n".join(lines).rstrip("\n") + "\n")
    return path


def _show(name: str, text: str) -> list[str]:
    """Return the lines that show a figure."""
    return [f"![{text}]({name}.png)", ""]
