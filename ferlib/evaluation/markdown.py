"""Markdown tables and numbers as text, shared by model cards, reports and tables of runs."""

from collections.abc import Iterable, Sequence

from ferlib.runs.records import Metrics, TestTimeAugmentation

#: What each test-time augmentation averages, to follow a number of images.
DESCRIBE_VIEWS: dict[TestTimeAugmentation, str] = {
    "none": "",
    "flip": ", probabilities averaged with those of the mirror image",
    "ten_crop": ", probabilities averaged over ten crops",
}

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


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table as lines of Markdown; the first column is text, the others are numbers."""
    lines = [f"| {' | '.join(header)} |", f"| --- |{' ---: |' * (len(header) - 1)}"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows)]


def headline_rows(metrics: Metrics) -> list[tuple[str, str, str]]:
    """Return the name, value and 95 % interval of each headline metric."""
    rows = []
    for field, name, form in _HEADLINES:
        interval = metrics.intervals.get(field)
        text = "" if interval is None else f"{interval[0]:.1%} to {interval[1]:.1%}"
        rows.append((name, format(getattr(metrics, field), form), text))
    return rows


def per_class_table(metrics: Metrics) -> list[str]:
    """Return precision, recall, F1 and number of images by class as lines of Markdown."""
    rows = [
        (name, f"{values.precision:.3f}", f"{values.recall:.3f}", f"{values.f1:.3f}", f"{values.support:,}")
        for name, values in metrics.per_class.items()
    ]
    return markdown_table(("emotion", "precision", "recall", "F1", "images"), rows)


def robustness_rows(accuracies: dict[str, float]) -> list[tuple[str, str, str]]:
    """Return the name, accuracy and difference from the original images, which come first, of each transform."""
    (original, unchanged), *_ = accuracies.items()
    return [
        (name, f"{value:.2%}", "" if name == original else f"{100 * (value - unchanged):+.2f} points")
        for name, value in accuracies.items()
    ]


def robustness_table(accuracies: dict[str, float]) -> list[str]:
    """Return `robustness_rows` as lines of Markdown."""
    return markdown_table(("transform", "accuracy", "difference"), robustness_rows(accuracies))
