"""Metrics of predictions, and tables of them."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ferlib.core.errors import DataError
from ferlib.evaluation.calibration import expected_calibration_error
from ferlib.evaluation.intervals import bootstrap_macro_f1, wilson_interval
from ferlib.runs.records import ClassMetrics, Metrics


def evaluate_predictions(y_true: np.ndarray, y_proba: np.ndarray, class_names: Sequence[str]) -> Metrics:
    """Return the metrics of predictions.

    Parameters
    ----------
    y_true : ndarray of shape (n,), dtype int
        Codes into `class_names`.
    y_proba : ndarray of shape (n, n_classes)
        Probabilities; the prediction is the largest.
    class_names : sequence of str

    Returns
    -------
    Metrics
        Macro-F1 and balanced accuracy are means over the classes in `y_true`; weighted F1 weights all classes by
        support. The interval of accuracy is Wilson's, that of macro-F1 a bootstrap percentile interval.

    Raises
    ------
    DataError
        There are no predictions, or the shapes do not match.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    n, n_classes = len(y_true), len(class_names)
    if y_proba.shape != (n, n_classes) or n == 0:
        raise DataError(f"Expected probabilities of shape ({n}, {n_classes}), got {y_proba.shape}.")
    y_pred = y_proba.argmax(axis=1)
    codes = np.arange(n_classes)
    per_class = np.array(precision_recall_fscore_support(y_true, y_pred, labels=codes, zero_division=0))
    _, recall, f1, support = per_class
    matrix = confusion_matrix(y_true, y_pred, labels=codes)
    present = support > 0
    return Metrics(
        n=n,
        accuracy=float((y_pred == y_true).mean()),
        macro_f1=float(f1[present].mean()),
        weighted_f1=float(np.average(f1, weights=support)),
        balanced_accuracy=float(recall[present].mean()),
        top2_accuracy=float((np.argsort(-y_proba, axis=1)[:, :2] == y_true[:, np.newaxis]).any(axis=1).mean()),
        log_loss=float(-np.log(np.maximum(y_proba[np.arange(n), y_true], 1e-15)).mean()),
        ece=expected_calibration_error(y_true, y_proba),
        brier=float(((y_proba - np.eye(n_classes)[y_true]) ** 2).sum(axis=1).mean()),
        intervals={
            "accuracy": wilson_interval(int((y_pred == y_true).sum()), n),
            "macro_f1": bootstrap_macro_f1(matrix),
        },
        per_class={
            name: ClassMetrics(precision=row[0], recall=row[1], f1=row[2], support=int(row[3]))
            for name, row in zip(class_names, per_class.T.tolist(), strict=True)
        },
        confusion_matrix=tuple(map(tuple, matrix.tolist())),
        class_names=tuple(class_names),
    )


def best_epoch(history: Sequence[Mapping[str, float]]) -> int:
    """Return the epoch, from 1, whose weights a run keeps.

    That is the one with the highest validation accuracy; ties go to the lower validation loss. A history that was
    recorded elsewhere may lack the loss, and mark the epoch whose weights were kept for another reason (``kept``).
    """
    key = "kept" if any("kept" in row for row in history) else "val_accuracy"
    return int(max(history, key=lambda row: (row.get(key, 0), -row.get("val_loss", 0)))["epoch"])


def selection_gain(history: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return by how much choosing the best epoch inflates validation accuracy.

    Validation accuracy fluctuates from epoch to epoch, and the highest value includes this chance.

    Returns
    -------
    dict
        ``highest``; ``typical``, the median over the last quarter of the epochs; ``gain``, their difference.
    """
    accuracies = np.array([row["val_accuracy"] for row in history])
    typical = float(np.median(accuracies[-max(1, len(accuracies) // 4) :]))
    return {"highest": float(accuracies.max()), "typical": typical, "gain": float(accuracies.max()) - typical}


def tabulate_results(results: Mapping[str, Metrics]) -> pd.DataFrame:
    """Return the headline metrics of several models, one row per name.

    The columns are fields of `Metrics` and the limits of the 95 % intervals of accuracy (``low``, ``high``) and
    macro-F1 (``macro_f1_low``, ``macro_f1_high``).
    """
    rows = {}
    for name, metrics in results.items():
        rows[name] = {field: value for field, value in vars(metrics).items() if isinstance(value, int | float)}
        del rows[name]["schema_version"]
        rows[name]["low"], rows[name]["high"] = metrics.intervals["accuracy"]
        rows[name]["macro_f1_low"], rows[name]["macro_f1_high"] = metrics.intervals["macro_f1"]
    return pd.DataFrame.from_dict(rows, orient="index").astype({"n": int})


def tabulate_per_class(metrics: Metrics) -> pd.DataFrame:
    """Return precision, recall, F1 and support, one row per class."""
    rows = {name: vars(values) for name, values in metrics.per_class.items()}
    return pd.DataFrame.from_dict(rows, orient="index").astype({"support": int})


def list_confusions(metrics: Metrics) -> pd.DataFrame:
    """Return the pairs of true and wrongly predicted class, most frequent first.

    Returns
    -------
    DataFrame
        Columns ``true``, ``predicted``, ``count`` and ``share`` (of the true class's images).
    """
    names = metrics.class_names
    counts = pd.DataFrame(metrics.confusion_matrix, columns=names).assign(true=names)
    table = counts.melt("true", var_name="predicted", value_name="count")
    table["share"] = table["count"] / table.groupby("true")["count"].transform("sum")
    wrong = table[(table["true"] != table["predicted"]) & (table["count"] > 0)]
    return wrong.sort_values("count", ascending=False, ignore_index=True, kind="stable")
