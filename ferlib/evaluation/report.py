"""A report of one evaluation: Markdown with figures."""

from collections.abc import Collection
from pathlib import Path

from ferlib.core.files import write_text
from ferlib.evaluation.markdown import headline_rows, markdown_table, per_class_table, robustness_rows
from ferlib.evaluation.metrics import list_confusions
from ferlib.runs.records import Metrics


def write_report(
    folder: str | Path, *, title: str, introduction: str, metrics: Metrics, figures: Collection[str]
) -> Path:
    """Write ``report.md``; it shows aggregates only, no images of the dataset.

    Parameters
    ----------
    folder : path
        Where `ferlib.plots.save_report_figures` has put the figures.
    title : str
    introduction : str
        One line: model, data, split and test-time augmentation.
    metrics : Metrics
    figures : collection of str
        Names of the figures.

    Returns
    -------
    Path
        The report.
    """
    path = Path(folder) / "report.md"
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
        table = markdown_table(("transform", "accuracy", "difference"), robustness_rows(metrics.robustness))
        lines += ["## Shifted, scaled and rotated images", "", *table, ""]
    if "corruptions" in figures:
        lines += ["## Corrupted images", "", *_show("corruptions", "Accuracy by corruption and strength")]
    if "history" in figures:
        lines += ["## Learning curves", "", *_show("history", "Loss and accuracy by epoch")]
    write_text(path, "\n".join(lines).rstrip("\n") + "\n")
    return path


def _show(name: str, text: str) -> list[str]:
    """Return the lines that show a figure."""
    return [f"![{text}]({name}.png)", ""]
