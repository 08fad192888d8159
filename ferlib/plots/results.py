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

from ferlib.core.emotions import class_colors
from ferlib.plots.style import LINE_COLORS, styled
from ferlib.preprocessing.resample import BLENDING
from ferlib.runs.records import Metrics

# Below this recall, the precision of a rare class rests on a handful of images.
_FEW_FOUND = 0.1


@styled
def plot_confusion_matrix(metrics: Metrics, *, title: str = "") -> Axes:
    """Draw a confusion matrix: color shows the fraction of the true class, text the fraction and the count.

    Colors end at one half, so that frequent confusions differ visibly.
    """
    counts, names = np.array(metrics.confusion_matrix), metrics.class_names
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    text = np.array([[f"{s:.0%}\n{c}" for s, c in zip(*row, strict=True)] for row in zip(shares, counts, strict=True)])
    ax = plt.subplots(figsize=(5.2, 5.4))[1]
    sns.heatmap(
        shares, annot=text, fmt="", cmap="cividis", vmin=0, vmax=0.5, square=True, cbar=False, linewidths=0.5,
        xticklabels=names, yticklabels=names, annot_kws={"fontsize": 8}, ax=ax,
    )  # fmt: skip
    ax.set(xlabel="predicted", ylabel="true", title=title)
    ax.tick_params(length=0)
    plt.setp(ax.get_yticklabels(), rotation=0)
    plt.setp(ax.get_xticklabels(), rotation=45, ha="right", rotation_mode="anchor")
    return ax


@styled
def plot_recalls(results: Mapping[str, Metrics]) -> Axes:
    """Draw the recall of each class (column) for several models (rows), from their names and metrics.

    Above each class is its number of images; a class without images stays empty.
    """
    first = next(iter(results.values()))
    names = first.class_names
    recalls = np.array([[metrics.per_class[name].recall for name in names] for metrics in results.values()])
    supports = [first.per_class[name].support for name in names]
    recalls[:, np.array(supports) == 0] = np.nan
    ax = plt.subplots(figsize=(1.6 + 0.85 * len(names), 1.2 + 0.42 * len(results)))[1]
    sns.heatmap(
        recalls, annot=True, fmt=".0%", cmap="cividis", vmin=0, vmax=1, cbar=False, linewidths=0.5,
        xticklabels=[f"{name}\n({n:,})" for name, n in zip(names, supports, strict=True)],
        yticklabels=list(results), annot_kws={"fontsize": 9}, ax=ax,
    )  # fmt: skip
    ax.set_title("Recall of each emotion (number of images)")
    ax.tick_params(length=0, labelsize=9)
    ax.xaxis.tick_top()
    plt.setp(ax.get_yticklabels(), rotation=0)
    return ax


@styled
def plot_pairs(table: pd.DataFrame, columns: tuple[str, str], *, label: str = "accuracy") -> Axes:
    """Draw two fractions per row and a line between them, such as the accuracies of each model on two datasets.

    The rows of `table` are drawn from the top; `columns` are named in the legend.
    """
    ax = plt.subplots(figsize=(7, 1.0 + 0.36 * len(table)))[1]
    rows = np.arange(len(table))
    ax.hlines(rows, table[list(columns)].min(axis=1), table[list(columns)].max(axis=1), color="#BFBFBF", linewidth=2)
    for name, color, marker in zip(columns, LINE_COLORS, "os", strict=False):
        ax.plot(table[name], rows, marker, color=color, label=name)
        for row, value in enumerate(table[name]):
            ax.annotate(f"{value:.0%}", (value, row), (0, 7), textcoords="offset points", ha="center", fontsize=8)
    ax.set_yticks(rows, table.index, fontsize=9)
    ax.set(xlabel=label, ylim=(len(table) - 0.4, -0.7))
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.grid(axis="x", alpha=0.3)
    ax.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return ax


@styled
def plot_predictions(
    images: np.ndarray, y_true: np.ndarray, y_proba: np.ndarray, class_names: Sequence[str], *, columns: int = 6
) -> Figure:
    """Draw images with their label, the answer, and a bar per class; wrong answers have a red title.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C), dtype uint8
    y_true : ndarray of shape (n,), dtype int
    y_proba : ndarray of shape (n, n_classes)
    class_names : sequence of str
    columns : int
    """
    columns = min(columns, max(1, len(images)))
    rows = max(1, -(-len(images) // columns))
    figure, axes = plt.subplots(
        2 * rows, columns, figsize=(1.5 * columns, 2.75 * rows), squeeze=False, height_ratios=[1.5, 1] * rows
    )
    for ax in axes.flat:
        ax.axis("off")
    colors = list(class_colors(class_names).values())
    for number, (image, label, probabilities) in enumerate(zip(images, y_true, y_proba, strict=True)):
        row, column = divmod(number, columns)
        above, below = axes[2 * row, column], axes[2 * row + 1, column]
        answer = int(probabilities.argmax())
        above.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)
        above.set_title(
            f"label {class_names[label]}\nanswer {class_names[answer]}",
            fontsize=8, loc="center", color="black" if answer == label else "#C00000",
        )  # fmt: skip
        below.axis("on")
        below.barh(range(len(class_names)), probabilities, color=colors)
        below.set(xlim=(0, 1), xticks=[], ylim=(len(class_names) - 0.5, -0.5))
        below.set_yticks(range(len(class_names)), [name[:3] for name in class_names], fontsize=6)
        below.tick_params(length=0)
    return figure


@styled
def plot_intervals(
    table: pd.DataFrame,
    *,
    label: str = "accuracy",
    line: float | None = None,
    band: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw accuracies with their intervals, one row per model or group.

    Parameters
    ----------
    table : DataFrame
        Columns ``accuracy``, ``low`` and ``high``, as from `tabulate_results` or `accuracy_by`; a column ``n`` adds
        the number of images to each row's name.
    label : str
        Of the x axis.
    line : float, optional
        A fraction to compare with, such as a baseline; dotted.
    band : tuple of float, optional
        A range to compare with, such as human accuracy; shaded.
    ax : Axes, optional
    """
    ax = ax or plt.subplots(figsize=(7, 0.7 + 0.34 * len(table)))[1]
    errors = [table["accuracy"] - table["low"], table["high"] - table["accuracy"]]
    if band:
        ax.axvspan(*band, color="#56B4E9", alpha=0.2, linewidth=0)
    if line is not None:
        ax.axvline(line, color="#7F7F7F", linewidth=1, linestyle=":")
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
    color: str = LINE_COLORS[0],
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
            for chosen, color in ((~blended, LINE_COLORS[0]), (blended, LINE_COLORS[1])):
                known = chosen & ~rare if name == "precision" else chosen
                rows = np.flatnonzero(known)
                _draw_points(ax, part[name].iloc[rows], part[f"± {name}"].iloc[rows], rows=rows, color=color)
        for number in np.flatnonzero(rare):
            text = {"x": 0.02, "y": number, "fontsize": 8, "va": "center", "color": "#5F5F5F"}
            row[3].text(s="hardly ever predicted", transform=row[3].get_yaxis_transform(), **text)
        row[0].set_yticks(range(len(part)), part["strategy"], fontsize=9)
        row[0].set(ylabel=model, ylim=(len(part) - 0.4, -0.6))
    handles = [plt.Line2D([], [], color=color, marker="o", linestyle="") for color in LINE_COLORS[:2]]
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
    for (name, table), color, marker in zip(tables.items(), cycle(LINE_COLORS), cycle("osD^vP*X"), strict=False):
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
    colors = class_colors(class_names)
    for code, name in enumerate(class_names):
        truth, score = y_true == code, y_proba[:, code]
        if not 0 < truth.sum() < len(truth):
            continue
        false_positives, true_positives, _ = roc_curve(truth, score)
        precision, recall, _ = precision_recall_curve(truth, score)
        look = {"color": colors[name], "linewidth": 1.4}
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
    """Draw the accuracies of `ferlib.evaluation.robustness.measure_corruptions` against the corruptions' strengths.

    The corruptions are ordered by the accuracy that is left at the highest strength; the dotted line is the accuracy on
    the images as they are.
    """
    strongest = table[table["level"] == table["level"].max()].sort_values("accuracy")
    names = strongest["corruption"].tolist()
    figure, axes = plt.subplots(2, -(-len(names) // 2), figsize=(9.5, 4), sharey=True, squeeze=False)
    for ax in axes.flat[len(names) :]:
        ax.axis("off")
    top = table["accuracy"].max()
    for ax, name in zip(axes.flat, names, strict=False):
        part = table[table["corruption"] == name]
        ax.axhline(part["accuracy"].iloc[0], color="#7F7F7F", linewidth=1, linestyle=":")
        ax.plot(part["level"], part["accuracy"], color="#0072B2", marker="o", markersize=4)
        labels = ["as it is" if np.isnan(value) else f"{value:g}" for value in part["strength"]]
        ax.set_xticks(part["level"], labels, fontsize=7)
        ax.set(title=name, ylim=(0, min(1, 1.15 * top)))
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    for ax in axes[:, 0]:
        ax.set_ylabel("accuracy")
    return figure
