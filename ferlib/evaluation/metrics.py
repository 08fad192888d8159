"""How good predictions are: labels and probabilities in, numbers out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ferlib.core.errors import DataError
from ferlib.evaluation.calibration import brier_score, expected_calibration_error
from ferlib.evaluation.intervals import bootstrap_macro_f1, wilson_interval


def evaluate_predictions(y_true: np.ndarray, y_proba: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
    """Return the metrics of predictions, as JSON can hold them.

    Parameters
    ----------
    y_true : ndarray of shape (n,), dtype int
        Codes into `class_names`.
    y_proba : ndarray of shape (n, n_classes)
        Probabilities; the prediction is the largest.
    class_names : sequence of str

    Returns
    -------
    dict
        ``n``, ``accuracy``, ``macro_f1``, ``weighted_f1``, ``balanced_accuracy``, ``top2_accuracy`` (fractions),
        ``log_loss`` (natural logarithm), ``ece`` (expected calibration error, 15 bins), ``brier`` (0 to 2),
        ``intervals`` (95 %: Wilson's for ``accuracy``, bootstrap for ``macro_f1``), ``per_class`` (for each class
        ``precision``, ``recall``, ``f1`` and ``support``), ``confusion_matrix`` (counts, rows are true classes) and
        ``class_names``. Macro-F1 and balanced accuracy are means over the classes that `y_true` holds; weighted F1
        weighs them by their support.

    Raises
    ------
    DataError
        There are no predictions, or the shapes do not fit together.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    n_classes = len(class_names)
    if y_proba.shape != (len(y_true), n_classes) or len(y_true) == 0:
        raise DataError(f"Expected probabilities of shape ({len(y_true)}, {n_classes}), got {y_proba.shape}.")
    y_pred = y_proba.argmax(axis=1)
    codes = np.arange(n_classes)
    precision, recall, f1, support = precision_recall_fscore_support(y_true, y_pred, labels=codes, zero_division=0)
    matrix = confusion_matrix(y_true, y_pred, labels=codes)
    present = support > 0
    return {
        "n": len(y_true),
        "accuracy": float((y_pred == y_true).mean()),
        "macro_f1": float(f1[present].mean()),
        "weighted_f1": float(np.average(f1, weights=support)),
        "balanced_accuracy": float(recall[present].mean()),
        "top2_accuracy": float((np.argsort(-y_proba, axis=1)[:, :2] == y_true[:, np.newaxis]).any(axis=1).mean()),
        "log_loss": float(-np.log(np.maximum(y_proba[np.arange(len(y_true)), y_true], 1e-15)).mean()),
        "ece": expected_calibration_error(y_true, y_proba),
        "brier": brier_score(y_true, y_proba),
        "intervals": {
            "accuracy": list(wilson_interval(int((y_pred == y_true).sum()), len(y_true))),
            "macro_f1": list(bootstrap_macro_f1(matrix)),
        },
        "per_class": {
            name: {
                "precision": float(precision[code]),
                "recall": float(recall[code]),
                "f1": float(f1[code]),
                "support": int(support[code]),
            }
            for code, name in enumerate(class_names)
        },
        "confusion_matrix": matrix.tolist(),
        "class_names": list(class_names),
    }


def best_epoch(history: Sequence[Mapping[str, float]]) -> int:
    """Return the epoch, from 1, of the highest validation accuracy; of equals the one with the lower loss."""
    return int(max(history, key=lambda row: (row["val_accuracy"], -row["val_loss"]))["epoch"])


def selection_gain(history: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return what choosing an epoch by a split adds to that split's accuracy: the wrong way to report.

    Near its end a training goes up and down by chance; whoever reports the highest epoch on the split that chose it
    reports that chance too.

    Parameters
    ----------
    history : sequence of mapping
        Rows as `ferlib.runs.folder.read_history` gives them.

    Returns
    -------
    dict
        ``highest``, the best epoch's validation accuracy; ``typical``, the median of the last quarter's epochs;
        ``gain``, their difference; fractions.
    """
    accuracies = np.array([row["val_accuracy"] for row in history])
    typical = float(np.median(accuracies[-max(1, len(accuracies) // 4) :]))
    return {"highest": float(accuracies.max()), "typical": typical, "gain": float(accuracies.max()) - typical}


def tabulate_results(results: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return the headline figures of several models, one row a model.

    Parameters
    ----------
    results : mapping
        Model names to metrics as `evaluate_predictions` returns them.

    Returns
    -------
    DataFrame
        ``n``; ``accuracy`` with its 95 % interval ``low`` and ``high``; ``balanced_accuracy``; ``macro_f1`` with
        ``macro_f1_low`` and ``macro_f1_high``; ``weighted_f1``; ``top2_accuracy``; ``log_loss``; ``ece``; ``brier``.
    """
    rows = {}
    for name, metrics in results.items():
        low, high = metrics["intervals"]["accuracy"]
        f1_low, f1_high = metrics["intervals"]["macro_f1"]
        rows[name] = {
            "n": metrics["n"],
            "accuracy": metrics["accuracy"],
            "low": low,
            "high": high,
            "balanced_accuracy": metrics["balanced_accuracy"],
            "macro_f1": metrics["macro_f1"],
            "macro_f1_low": f1_low,
            "macro_f1_high": f1_high,
            **{key: metrics[key] for key in ("weighted_f1", "top2_accuracy", "log_loss", "ece", "brier")},
        }
    return pd.DataFrame.from_dict(rows, orient="index").astype({"n": int})


def tabulate_per_class(metrics: dict[str, Any]) -> pd.DataFrame:
    """Return precision, recall, F1 and support, one row a class."""
    return pd.DataFrame(metrics["per_class"]).T.astype({"support": int})


def list_confusions(metrics: dict[str, Any]) -> pd.DataFrame:
    """Return the pairs of classes that are taken for each other, most frequent first.

    Returns
    -------
    DataFrame
        Columns ``true``, ``predicted``, ``count`` and ``share`` (of the true class's images); no correct ones.
    """
    counts, names = np.array(metrics["confusion_matrix"]), metrics["class_names"]
    rows = [
        (names[i], names[j], int(counts[i, j]), counts[i, j] / counts[i].sum())
        for i, j in zip(*np.nonzero(counts), strict=True)
        if i != j
    ]
    table = pd.DataFrame(rows, columns=["true", "predicted", "count", "share"])
    return table.sort_values("count", ascending=False, ignore_index=True)
