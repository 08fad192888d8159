"""A report of one evaluation: Markdown with figures, to be read without a notebook."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ferlib.core.files import write_text
from ferlib.evaluation.calibration import tabulate_reliability
from ferlib.evaluation.metrics import list_confusions, tabulate_per_class
from ferlib.evaluation.robustness import describe_robustness

# What stands in the report's table, and how.
_HEADLINES = (
    ("accuracy", "accuracy", ".2%"),
    ("macro_f1", "macro-F1", ".2%"),
    ("weighted_f1", "weighted F1", ".2%"),
    ("balanced_accuracy", "balanced accuracy", ".2%"),
    ("top2_accuracy", "top-2 accuracy", ".2%"),
    ("log_loss", "log loss", ".3f"),
    ("ece", "expected calibration error, 15 bins", ".3f"),
    ("brier", "Brier score, 0 to 2", ".3f"),
)


def describe_headlines(metrics: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return name, value and 95 % interval of each headline figure, as text.

    Parameters
    ----------
    metrics : mapping
        As `ferlib.evaluation.evaluate_predictions` returns them.
    """
    rows = []
    for key, name, form in _HEADLINES:
        interval = metrics["intervals"].get(key)
        text = "" if interval is None else f"{interval[0]:.1%} to {interval[1]:.1%}"
        rows.append((name, format(metrics[key], form), text))
    return rows


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table as lines of Markdown; the first column is text, the others are numbers."""
    lines = [f"| {' | '.join(header)} |", f"| --- |{' ---: |' * (len(header) - 1)}"]
    return [*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)]


def write_report(
    folder: str | Path,
    *,
    title: str,
    introduction: str,
    y_true: np.ndarray,
    y_proba: np.ndarray,
    metrics: Mapping[str, Any],
    history: Sequence[Mapping[str, float]] = (),
    corruptions: pd.DataFrame | None = None,
) -> Path:
    """Write ``report.md`` and its figures, aggregates all of them.

    Parameters
    ----------
    folder : path
    title, introduction : str
        Of the report; the second says model, data, split and views.
    y_true : ndarray of shape (n,), dtype int
    y_proba : ndarray of shape (n, n_classes)
    metrics : mapping
        As `ferlib.evaluation.evaluate_predictions` returns them, with ``robustness`` if it was measured.
    history : sequence of mapping
        The run's epochs, for its learning curves; none for a model without.
    corruptions : DataFrame, optional
        As `ferlib.evaluation.robustness.measure_corruptions` returns it.

    Returns
    -------
    Path
        The report.
    """
    # Matplotlib takes a second that a measurement without a report need not wait for.
    import matplotlib.pyplot as plt

    from ferlib import plots

    plots.use_style()
    folder, names = Path(folder), metrics["class_names"]
    measured = f"{title}, ECE {metrics['ece']:.3f}"
    figures = {
        "confusion_matrix": plots.plot_confusion_matrix(metrics).figure,
        "recalls": plots.plot_recalls({title: metrics}).figure,
        "curves": plots.plot_roc_pr(y_true, y_proba, names),
        "reliability": plots.plot_reliability({measured: tabulate_reliability(y_true, y_proba)}).figure,
    }
    if history:
        figures["history"] = plots.plot_history(history)
    if corruptions is not None:
        figures["corruptions"] = plots.plot_corruptions(corruptions)
    for name, figure in figures.items():
        plots.save_figure(figure, folder, name)
        plt.close(figure)
    per_class = [
        (name, f"{row.precision:.3f}", f"{row.recall:.3f}", f"{row.f1:.3f}", f"{row.support:,.0f}")
        for name, row in tabulate_per_class(dict(metrics)).iterrows()
    ]
    pairs = [
        (f"{row['true']} taken for {row['predicted']}", f"{row['count']:,}", f"{row['share']:.1%}")
        for _, row in list_confusions(dict(metrics)).head(8).iterrows()
    ]
    lines = [
        f"# {title}",
        "",
        introduction,
        "",
        *markdown_table(("measure", "value", "95 % interval"), describe_headlines(metrics)),
        "",
        "Intervals are Wilson's for accuracy and bootstrap percentiles for macro-F1; they tell the chance of the",
        "sample of images, not that of another training.",
        "",
        "## By emotion",
        "",
        *markdown_table(("emotion", "precision", "recall", "F1", "pictures"), per_class),
        "",
        *_show("confusion_matrix", "Confusion matrix: rows are true emotions, shares of the row and counts"),
        *_show("recalls", "Recall of each emotion"),
        *_show("curves", "Each emotion against the others: ROC curves, and precision over recall"),
        "## What is taken for what",
        "",
        *markdown_table(("pair", "pictures", "of the true emotion"), pairs),
        "",
        "## Calibration",
        "",
        *_show("reliability", "Accuracy over confidence"),
    ]
    if "robustness" in metrics:
        lines += ["## Moved, scaled and turned", ""]
        lines += [*markdown_table(("change", "accuracy", "difference"), describe_robustness(metrics["robustness"])), ""]
    if corruptions is not None:
        lines += ["## Spoiled images", "", *_show("corruptions", "Accuracy as images are spoiled")]
    if history:
        lines += ["## Learning curves", "", *_show("history", "Loss and accuracy by epoch")]
    write_text(folder / "report.md", "\n".join(lines).rstrip("\n") + "\n")
    return folder / "report.md"


def _show(name: str, text: str) -> list[str]:
    """Return the lines that show a figure."""
    return [f"![{text}]({name}.png)", ""]
