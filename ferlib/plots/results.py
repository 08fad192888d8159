"""Figures of results: confusion matrix, recall, intervals, calibration, ROC and precision-recall, robustness."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ferlib.core.emotions import EMOTION_COLORS
from ferlib.plots.style import styled
from ferlib.preprocessing.resample import BLENDING
from ferlib.runs.records import Metrics

# Lines of several models, from the palette of Okabe and Ito.
_LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

# Below this recall, the precision of a rare class rests on a handful of images.
_FEW_FOUND = 0.1


@styled
def plot_confusion_matrix(metrics: Metrics, *, title: str = "") -> Axes:
    """Draw a confusion matrix: color shows the fraction of the true class, text the fraction and the count."""
    counts, names = np.array(metrics.confusion_matrix), metrics.class_names
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    text = np.array([[f"{s:.0%}\n{c}" for s, c in zip(*row, strict=True)] for row in zip(shares, counts, strict=True)])
    ax = plt.subplots(figsize=(5.2, 5.4))[1]
    sns.heatmap(
        shares, annot=text, fmt="", cmap="cividis", vmin=0, vmax=1, square=True, cbar=False, linewidths=0.5,
        xticklabels=names, yticklabels=names, annot_kws={"fontsize": 8}, ax=ax,
    )  # fmt: skip
    ax.set(xlabel="predicted", ylabel="true", title=title)
    ax.tick_params(length=0)
    plt.setp(ax.get_yticklabels(), rotation=0)
    plt.setp(ax.get_xticklabels(), rotation=45, ha="right", rotation_mode="anchor")
    return ax


@styled
def plot_recalls(results: Mapping[str, Metrics]) -> Axes:
    """Draw the recall of each class for several models, from their names and metrics."""
    rows = [
        {"model": model, "emotion": name, "recall": values.recall}
        for model, metrics in results.items()
        for name, values in metrics.per_class.items()
        if values.support
    ]
    ax = plt.subplots(figsize=(8, 3.2))[1]
    sns.barplot(pd.DataFrame(rows), x="emotion", y="recall", hue="model", palette="cividis", ax=ax)
    ax.set(ylim=(0, 1), xlabel="", ylabel="recall")
    ax.legend(frameon=False, title="", fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return ax


@styled
def plot_intervals(table: pd.DataFrame, *, label: str = "accuracy", ax: Axes | None = None) -> Axes:
    """Draw accuracies with their intervals, one row per model or group.

    Parameters
    ----------
    table : DataFrame
        Columns ``accuracy``, ``low`` and ``high``, as from `tabulate_results` or `accuracy_by`; a column ``n`` adds
        the number of images to each row's name.
    label : str
        Of the x axis.
    ax : Axes, optional
    """
    ax = ax or plt.subplots(figsize=(7, 0.7 + 0.34 * len(table)))[1]
    errors = [table["accuracy"] - table["low"], table["high"] - table["accuracy"]]
    _draw_points(ax, table["accuracy"], errors, rows=range(len(table)))
    for row, accuracy in enumerate(table["accuracy"]):
        ax.annotate(f"{accuracy:.1%}", (accuracy, row), (0, 6), textcoords="offset points", ha="center", fontsize=8)
    names = [f"{name} ({row['n']:,.0f})" if "n" in table else name for name, row in table.iterrows()]
    ax.set_yticks(range(len(table)), names, fontsize=9)
    ax.set(xlabel=label, ylim=(len(table) - 0.4, -0.7))
    # No steps of 2.5 %, because tick labels are rounded to whole numbers.
    ax.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10]))
    return ax


def _draw_points(
    ax: Axes,
    values: pd.Series,
    errors: pd.Series | Sequence[pd.Series],
    *,
    rows: Sequence[int] | np.ndarray,
    color: str = _LINES[0],
) -> None:
    """Draw fractions with errors at some rows, which count from the top."""
    ax.errorbar(values, rows, xerr=errors, fmt="o", color=color, capsize=3, markersize=5)
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.grid(axis="x", alpha=0.3)


@styled
def plot_imbalance(summary: pd.DataFrame) -> Figure:
    """Plot metrics of strategies against class imbalance, as from `ferlib.training.imbalance.summarize_imbalance`.

    There is one row of panels per model and one panel per metric. The precision of a class that is hardly ever found is
    not drawn, because it is undefined or rests on a few images.
    """
    models, rarest = list(dict.fromkeys(summary["model"])), summary["rarest"].iloc[0]
    titles = {
        "accuracy": "accuracy",
        "macro_f1": "macro-F1",
        "recall": f"recall of {rarest}",
        "precision": f"precision of {rarest}",
    }
    height = 0.6 + 0.26 * summary.groupby("model").size().max()
    figure, axes = plt.subplots(
        len(models), len(titles), figsize=(10, height * len(models)), squeeze=False, sharex="col", sharey="row"
    )
    for ax, title in zip(axes[0], titles.values(), strict=True):
        ax.set_title(title, fontsize=10)
    for row, model in zip(axes, models, strict=True):
        part = summary[summary["model"] == model]
        blended = part["strategy"].isin(BLENDING).to_numpy()
        rare = part["recall"].to_numpy() < _FEW_FOUND
        for ax, name in zip(row, titles, strict=True):
            untreated = part.loc[(part["strategy"] == "none") & ~((name == "precision") & rare), name]
            ax.axvline(untreated.iloc[0] if len(untreated) else np.nan, color="#7F7F7F", linewidth=1, linestyle=":")
            for chosen, color in ((~blended, _LINES[0]), (blended, _LINES[1])):
                known = chosen & ~rare if name == "precision" else chosen
                rows = np.flatnonzero(known)
                _draw_points(ax, part[name].iloc[rows], part[f"± {name}"].iloc[rows], rows=rows, color=color)
        for number in np.flatnonzero(rare):
            text = {"x": 0.02, "y": number, "fontsize": 8, "va": "center", "color": "#5F5F5F"}
            row[3].text(s="hardly ever predicted", transform=row[3].get_yaxis_transform(), **text)
        row[0].set_yticks(range(len(part)), part["strategy"], fontsize=9)
        row[0].set(ylabel=model, ylim=(len(part) - 0.4, -0.6))
    handles = [plt.Line2D([], [], color=color, marker="o", linestyle="") for color in _LINES[:2]]
    figure.legend(
        handles, ("other strategies", "new images (SMOTE)"), loc="outside lower right", ncols=2, frameon=False
    )
    return figure


@styled
def plot_reliability(tables: Mapping[str, pd.DataFrame]) -> Axes:
    """Draw reliability curves: accuracy against confidence; the diagonal is perfect calibration.

    Parameters
    ----------
    tables : mapping
        Legend labels to tables from `ferlib.evaluation.calibration.tabulate_reliability`. Bins with under 1 % of the
        images are not drawn.
    """
    ax = plt.subplots(figsize=(7.4, 4.2))[1]
    ax.plot([0, 1], [0, 1], color="#7F7F7F", linewidth=1, linestyle=":")
    for (name, table), color, marker in zip(tables.items(), cycle(_LINES), cycle("osD^vP*X"), strict=False):
        filled = table[table["n"] >= max(1, table["n"].sum() / 100)]
        ax.plot(filled["confidence"], filled["accuracy"], color=color, marker=marker, markersize=4, label=name)
    ax.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), aspect="equal", title="Reliability")
    # A long legend would cover the lines.
    ax.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return ax


@styled
def plot_roc_pr(y_true: np.ndarray, y_proba: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Draw ROC (left) and precision-recall curves (right) of each class against the rest.

    Parameters
    ----------
    y_true : ndarray of shape (n,), dtype int
    y_proba : ndarray of shape (n, n_classes)
    class_names : sequence of str
        The legends add the area under the curve and the average precision. A class without images has no curve.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4))
    for code, name in enumerate(class_names):
        truth, score = y_true == code, y_proba[:, code]
        if not 0 < truth.sum() < len(truth):
            continue
        false_positives, true_positives, _ = roc_curve(truth, score)
        precision, recall, _ = precision_recall_curve(truth, score)
        look = {"color": EMOTION_COLORS[name], "linewidth": 1.4}
        left.plot(false_positives, true_positives, label=f"{name} {roc_auc_score(truth, score):.2f}", **look)
        right.plot(recall, precision, label=f"{name} {average_precision_score(truth, score):.2f}", **look)
    left.plot([0, 1], [0, 1], color="#7F7F7F", linewidth=1, linestyle=":")
    left.set(xlabel="false positive rate", ylabel="true positive rate (recall)", title="ROC, area under the curve")
    right.set(xlabel="recall", ylabel="precision", title="Precision-recall, average precision")
    left.legend(frameon=False, fontsize=8, loc="lower right")
    right.legend(frameon=False, fontsize=8, loc="lower left")
    return figure


@styled
def plot_corruptions(table: pd.DataFrame) -> Figure:
    """Draw the accuracies of `ferlib.evaluation.robustness.measure_corruptions` against the corruptions' strengths."""
    names = list(dict.fromkeys(table["corruption"]))
    figure, axes = plt.subplots(2, -(-len(names) // 2), figsize=(9.5, 4), sharey=True, squeeze=False)
    for ax in axes.flat[len(names) :]:
        ax.axis("off")
    for ax, name in zip(axes.flat, names, strict=False):
        part = table[table["corruption"] == name]
        ax.plot(part["level"], part["accuracy"], color="#0072B2", marker="o", markersize=4)
        labels = ["none" if np.isnan(value) else f"{value:g}" for value in part["strength"]]
        ax.set_xticks(part["level"], labels, fontsize=8)
        ax.set(title=name, ylim=(0, 1))
    for ax in axes[:, 0]:
        ax.set_ylabel("accuracy")
    return figure
