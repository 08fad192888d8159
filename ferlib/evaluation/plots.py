"""Figures in one style: each function draws on an axes, or makes a figure, and returns it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ferlib.emotions import EMOTION_COLORS
from ferlib.evaluation.metrics import best_epoch

_STYLE: dict[str, Any] = {
    "figure.dpi": 110,
    "savefig.dpi": 150,
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "font.size": 10,
}

# Lines of several models, from the palette of Okabe and Ito.
_LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def use_style() -> None:
    """Set the look that all figures share, for this process; a notebook calls it once, after its imports."""
    plt.rcParams.update(_STYLE)


def save_figure(figure: Figure, folder: str | Path | None, name: str) -> Path | None:
    """Write a figure as PNG into a folder, whole or not at all; with no folder nothing happens.

    Returns
    -------
    Path or None
        What was written.
    """
    if not folder:
        return None
    from ferlib.files import replacing

    path = Path(folder) / f"{name}.png"
    with replacing(path) as temporary:
        figure.savefig(temporary)
    return path


def plot_class_counts(counts: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how many pictures each class has in each split.

    Parameters
    ----------
    counts : DataFrame
        Rows are classes, columns are splits, as `ImageDataset.counts` gives them.
    ax : Axes, optional
    """
    ax = ax or plt.subplots(figsize=(7.5, 3.2))[1]
    left = np.zeros(len(counts))
    shades = np.linspace(1.0, 0.35, counts.shape[1])
    colors = [EMOTION_COLORS[name] for name in counts.index]
    for split, alpha in zip(counts.columns, shades, strict=True):
        ax.barh(counts.index, counts[split], left=left, color=colors, alpha=alpha, edgecolor="white", label=split)
        left += counts[split].to_numpy()
    for row, total in enumerate(left):
        ax.text(total + left.max() * 0.01, row, f"{total:,.0f} ({total / left.sum():.1%})", va="center", fontsize=9)
    ax.set(xlabel="pictures", xlim=(0, left.max() * 1.18), title="Pictures per emotion: " + _shade_key(counts))
    ax.invert_yaxis()
    return ax


def _shade_key(counts: pd.DataFrame) -> str:
    """Say which split the shades of a bar stand for, from left to right."""
    return ", then ".join(counts.columns) + (", from dark to light" if counts.shape[1] > 1 else "")


def plot_faces(images: np.ndarray, titles: Sequence[str], *, columns: int = 7, size: float = 1.15) -> Figure:
    """Draw pictures in a grid, each under its title.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C)
        uint8, or floats of 0 to 255 such as means.
    titles : sequence of str
    columns : int
    size : float
        Side of a picture in inches.
    """
    columns = min(columns, max(1, len(images)))
    rows = max(1, -(-len(images) // columns))
    figure, axes = plt.subplots(rows, columns, figsize=(size * columns, (size + 0.28) * rows), squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for ax, image, title in zip(axes.flat, images, titles, strict=False):
        pixels = np.clip(image, 0, 255).astype(np.uint8)
        ax.imshow(pixels[..., 0] if pixels.shape[-1] == 1 else pixels, cmap="gray", vmin=0, vmax=255)
        ax.set_title(title, fontsize=8, loc="center")
    return figure


def plot_light(images: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Draw how brightness (mean) and contrast (standard deviation) of the pictures are distributed per class.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C), dtype uint8
    labels : ndarray of shape (n,), dtype int
    class_names : sequence of str
    """
    values = {"brightness": images.mean(axis=(1, 2, 3)), "contrast": images.std(axis=(1, 2, 3))}
    look = {"patch_artist": True, "widths": 0.7, "flierprops": {"markersize": 1}, "medianprops": {"color": "black"}}
    figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True)
    for ax, (label, value) in zip(axes, values.items(), strict=True):
        per_class = [value[labels == code] for code in range(len(class_names))]
        boxes = ax.boxplot(per_class, orientation="horizontal", tick_labels=class_names, **look)["boxes"]
        for box, name in zip(boxes, class_names, strict=True):
            box.set_facecolor(EMOTION_COLORS[name])
        ax.set(xlabel=f"{label} (grey levels)")
    axes[0].invert_yaxis()
    return figure


def plot_history(history: Sequence[Mapping[str, float]], *, title: str = "") -> Figure:
    """Draw loss and accuracy over epochs, training and validation, with the chosen epoch marked.

    Parameters
    ----------
    history : sequence of mapping
        Rows as `ferlib.artifacts.read_history` gives them.
    title : str
    """
    table = pd.DataFrame(history)
    best = best_epoch(history)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3))
    for ax, metric in zip(axes, ("loss", "accuracy"), strict=True):
        # One epoch is a point, not a line.
        marker = "o" if len(table) < 3 else None
        ax.plot(table["epoch"], table[metric], label="training (augmented)", color="#7F7F7F", marker=marker)
        ax.plot(table["epoch"], table[f"val_{metric}"], label="validation", color="#0072B2", marker=marker)
        ax.axvline(best, color="#D55E00", linewidth=1, linestyle=":", label=f"chosen: epoch {best}")
        ax.set(xlabel="epoch", ylabel=metric)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_title(title)
    axes[1].legend(frameon=False, fontsize=9)
    return figure


class LiveCurves:
    """Curves that are drawn anew in a notebook after each epoch; for ``on_epoch`` of `ferlib.training.train_model`.

    Outside of a notebook, where nobody would see them, nothing is drawn.

    Parameters
    ----------
    title : str
    """

    def __init__(self, title: str = "") -> None:
        self.title = title
        self._display: Any = None

    def __call__(self, history: Sequence[Mapping[str, float]]) -> None:
        """Draw the history so far in the place of the last drawing."""
        import sys

        if "ipykernel" not in sys.modules:
            return
        from IPython.display import display

        figure = plot_history(history, title=self.title)
        plt.close(figure)  # else the cell would show it a second time
        if self._display is None:
            self._display = display(figure, display_id=True)
        else:
            self._display.update(figure)


def plot_confusion_matrix(metrics: Mapping[str, Any], *, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw a confusion matrix: the colour is the share of the true class, the text that share and the count.

    Parameters
    ----------
    metrics : mapping
        As `evaluate_predictions` returns them.
    title : str
    ax : Axes, optional
    """
    counts, names = np.array(metrics["confusion_matrix"]), metrics["class_names"]
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    text = np.array([[f"{s:.0%}\n{c}" for s, c in zip(*row, strict=True)] for row in zip(shares, counts, strict=True)])
    ax = ax or plt.subplots(figsize=(6, 5.2))[1]
    sns.heatmap(
        shares, annot=text, fmt="", cmap="cividis", vmin=0, vmax=1, square=True, cbar=False, linewidths=0.5,
        xticklabels=names, yticklabels=names, annot_kws={"fontsize": 8}, ax=ax,
    )  # fmt: skip
    ax.set(xlabel="predicted", ylabel="true", title=title)
    ax.tick_params(length=0)
    plt.setp(ax.get_yticklabels(), rotation=0)
    plt.setp(ax.get_xticklabels(), rotation=45, ha="right", rotation_mode="anchor")
    return ax


def plot_recalls(results: Mapping[str, Mapping[str, Any]], *, ax: Axes | None = None) -> Axes:
    """Draw the recall of each class for several models side by side.

    Parameters
    ----------
    results : mapping
        Model names to their metrics, as `evaluate_predictions` returns them.
    ax : Axes, optional
    """
    rows = [
        {"model": model, "emotion": name, "recall": values["recall"]}
        for model, metrics in results.items()
        for name, values in metrics["per_class"].items()
        if values["support"]
    ]
    ax = ax or plt.subplots(figsize=(8, 3.2))[1]
    sns.barplot(pd.DataFrame(rows), x="emotion", y="recall", hue="model", palette="cividis", ax=ax)
    ax.set(ylim=(0, 1), xlabel="", ylabel="recall")
    ax.legend(frameon=False, title="", fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def plot_intervals(table: pd.DataFrame, *, label: str = "accuracy", ax: Axes | None = None) -> Axes:
    """Draw each row's accuracy with its interval; chance hardly pulls two so far apart that theirs do not touch.

    Parameters
    ----------
    table : DataFrame
        Columns ``accuracy``, ``low`` and ``high``, as from `tabulate_results` or `accuracy_by`; with a column ``n``
        the number of pictures stands beside each row.
    label : str
        Of the axis.
    ax : Axes, optional
    """
    ax = ax or plt.subplots(figsize=(7, 0.7 + 0.34 * len(table)))[1]
    rows = np.arange(len(table))
    errors = np.array([table["accuracy"] - table["low"], table["high"] - table["accuracy"]])
    ax.errorbar(table["accuracy"], rows, xerr=errors, fmt="o", color="#0072B2", capsize=3, markersize=5)
    for row, accuracy in zip(rows, table["accuracy"], strict=True):
        ax.annotate(f"{accuracy:.1%}", (accuracy, row), (0, 6), textcoords="offset points", ha="center", fontsize=8)
    names = (
        [f"{name} ({n:,})" for name, n in zip(table.index, table["n"], strict=True)] if "n" in table else table.index
    )
    ax.set_yticks(rows, names, fontsize=9)
    ax.set(xlabel=label, ylim=(len(table) - 0.4, -0.7))
    # Without steps of 2.5 %, which would be written as whole numbers.
    ax.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.grid(axis="x", alpha=0.3)
    return ax


def plot_treatments(summary: pd.DataFrame) -> Figure:
    """Draw what each treatment of class imbalance does: a row of panels a model, a panel a figure, with intervals.

    Parameters
    ----------
    summary : DataFrame
        As `ferlib.training.study.summarise_study` returns it.
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
        part = summary[summary["model"] == model].reset_index(drop=True)
        for ax, name in zip(row, titles, strict=True):
            untreated = part.loc[part["treatment"] == "none", name]
            ax.axvline(untreated.iloc[0] if len(untreated) else np.nan, color="#7F7F7F", linewidth=1, linestyle=":")
            ax.errorbar(
                part[name], part.index, xerr=part[f"± {name}"], fmt="o", color="#0072B2", capsize=3, markersize=5
            )
            ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            ax.grid(axis="x", alpha=0.3)
        row[0].set_yticks(part.index, part["treatment"], fontsize=9)
        row[0].set(ylabel=model, ylim=(len(part) - 0.4, -0.6))
    return figure


def plot_reliability(tables: Mapping[str, pd.DataFrame], *, ax: Axes | None = None) -> Axes:
    """Draw accuracy over confidence; on the diagonal probabilities mean what they say.

    Parameters
    ----------
    tables : mapping
        Names, as the legend shows them, to tables as `ferlib.evaluation.calibration.tabulate_reliability` returns them.
        Bins with less than a hundredth of the pictures are left out: the accuracy of so few is chance.
    ax : Axes, optional
    """
    ax = ax or plt.subplots(figsize=(4.6, 4.2))[1]
    ax.plot([0, 1], [0, 1], color="#7F7F7F", linewidth=1, linestyle=":")
    for (name, table), color, marker in zip(tables.items(), _LINES, "osD^vP*", strict=False):
        filled = table[table["n"] >= max(1, table["n"].sum() / 100)]
        ax.plot(filled["confidence"], filled["accuracy"], color=color, marker=marker, markersize=4, label=name)
    ax.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), aspect="equal", title="Reliability")
    ax.legend(frameon=False, fontsize=8, loc="upper left")
    return ax


def plot_curves(y_true: np.ndarray, y_proba: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Draw each class against the rest: ROC curves on the left, precision over recall on the right.

    Parameters
    ----------
    y_true : ndarray of shape (n,), dtype int
    y_proba : ndarray of shape (n, n_classes)
    class_names : sequence of str
        In the legends beside each its area under the curve, and its average precision. A class without a picture has no
        curve.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4))
    for code, name in enumerate(class_names):
        truth, score = y_true == code, y_proba[:, code]
        if not 0 < truth.sum() < len(truth):
            continue
        false_alarms, hits, _ = roc_curve(truth, score)
        precision, recall, _ = precision_recall_curve(truth, score)
        look = {"color": EMOTION_COLORS[name], "linewidth": 1.4}
        left.plot(false_alarms, hits, label=f"{name} {roc_auc_score(truth, score):.2f}", **look)
        right.plot(recall, precision, label=f"{name} {average_precision_score(truth, score):.2f}", **look)
    left.plot([0, 1], [0, 1], color="#7F7F7F", linewidth=1, linestyle=":")
    left.set(
        xlabel="share of the others taken for it", ylabel="share found (recall)", title="ROC, area under the curve"
    )
    right.set(xlabel="recall", ylabel="precision", title="Precision over recall, average precision")
    left.legend(frameon=False, fontsize=8, loc="lower right")
    right.legend(frameon=False, fontsize=8, loc="lower left")
    return figure


def plot_corruptions(table: pd.DataFrame) -> Figure:
    """Draw how accuracy falls as pictures are spoiled.

    Parameters
    ----------
    table : DataFrame
        As `ferlib.evaluation.robustness.measure_corruptions` returns it.
    """
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


def plot_timeline(
    people: Mapping[str, tuple[np.ndarray, np.ndarray]], class_names: Sequence[str], *, title: str = ""
) -> Figure:
    """Draw each person's emotions over the time of a video, as bands that fill the height by their probabilities.

    Parameters
    ----------
    people : mapping
        Names to times (n,) in seconds and probabilities (n, n_classes); a gap of over a second stays empty.
    class_names : sequence of str
    title : str
    """
    rows = max(1, len(people))
    figure, axes = plt.subplots(
        rows, 1, figsize=(9, 0.9 + 1.25 * rows), sharex=True, squeeze=False, layout="constrained"
    )
    colors = [EMOTION_COLORS[name] for name in class_names]
    for ax, (name, (times, probabilities)) in zip(axes[:, 0], people.items(), strict=False):
        # One point more, so that a single frame has a width, and a break wherever the person was away.
        step = np.median(np.diff(times)) if len(times) > 1 else 0.1
        for piece in np.split(np.arange(len(times)), np.flatnonzero(np.diff(times) > max(1.0, 3 * step)) + 1):
            ends = np.append(times[piece], times[piece[-1]] + step)
            ax.stackplot(
                ends, np.vstack([probabilities[piece], probabilities[piece[-1]]]).T, colors=colors, step="post"
            )
        ax.set(ylim=(0, 1), yticks=[0, 1], ylabel=name)
    if not people:
        axes[0, 0].set(ylim=(0, 1), yticks=[])
        axes[0, 0].text(0.5, 0.5, "no face was found", ha="center", transform=axes[0, 0].transAxes)
    axes[0, 0].set_title(title)
    axes[-1, 0].set_xlabel("seconds")
    patches = [plt.Rectangle((0, 0), 1, 1, color=color) for color in colors]
    figure.legend(patches, class_names, loc="outside right upper", frameon=False, fontsize=9)
    return figure


def plot_words(
    patches: np.ndarray, maps: np.ndarray, words: Sequence[Sequence[int]], titles: Sequence[str], *, size: float = 0.62
) -> Figure:
    """Draw groups of visual words: of each word what it looks like, and under it where in the picture it occurs.

    Parameters
    ----------
    patches : ndarray of shape (n_words, side, side)
        Mean patches of 0 to 255.
    maps : ndarray of shape (n_words, cells, cells)
        Shares of each word's occurrences.
    words : sequence of sequence of int
        The words of each group, as many in each.
    titles : sequence of str
        Of the groups.
    size : float
        Side of a patch in inches.
    """
    per_group = len(words[0])
    figure, axes = plt.subplots(
        2, len(words) * per_group, figsize=(size * len(words) * per_group, 2 * size + 0.4), squeeze=False
    )
    for group, (numbers, title) in enumerate(zip(words, titles, strict=True)):
        for place, word in enumerate(numbers):
            column = group * per_group + place
            axes[0, column].imshow(patches[word], cmap="gray", vmin=0, vmax=255)
            axes[1, column].imshow(maps[word], cmap="inferno")
        axes[0, group * per_group + per_group // 2].set_title(title, fontsize=9, loc="center")
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    return figure


def plot_maps(means: np.ndarray, maps: np.ndarray, titles: Sequence[str], *, size: float = 1.25) -> Figure:
    """Draw heat maps over the mean faces that they belong to.

    Parameters
    ----------
    means : ndarray of shape (n, H, W) or (n, H, W, 1)
        Mean faces, 0 to 255; data sets' single pictures have no place in a figure that is kept.
    maps : ndarray of shape (n, H, W)
        Warm where a class gains most.
    titles : sequence of str
    size : float
        Side of a picture in inches.
    """
    figure, axes = plt.subplots(1, len(maps), figsize=(size * len(maps), size + 0.35), squeeze=False)
    for ax, mean, heat, title in zip(axes.flat, means, maps, titles, strict=True):
        ax.imshow(np.reshape(mean, heat.shape), cmap="gray", vmin=0, vmax=255)
        ax.imshow(heat, cmap="inferno", alpha=0.5)
        ax.set_title(title, fontsize=9, loc="center")
        ax.axis("off")
    return figure
