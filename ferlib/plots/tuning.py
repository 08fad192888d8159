"""Figures of a study: history, importance, slices, parallel coordinates, and the confirmation.

Tables are those of one study, see `ferlib.evaluation.studies`.
"""

import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from ferlib.evaluation.studies import DEFAULTS_NOTE, is_logarithmic, is_numeric, parameters_of
from ferlib.plots.style import LINE_COLORS, styled

_BLUE, _RED, _GRAY = LINE_COLORS[0], LINE_COLORS[1], "#7F7F7F"

# Where lines pass a parameter that a trial did not draw.
_MISSING = -0.12


def plot_study(table: pd.DataFrame, importance: pd.Series) -> dict[str, Figure]:
    """Return the figures of a study by name; those without data are left out.

    `importance` is from `ferlib.training.tuning.importance.measure_importance`.
    """
    complete = _complete(table)
    axes: dict[str, Axes | Figure] = {}
    if len(complete):
        axes["tuning_history"] = plot_trials(table)
    if len(importance):
        axes["tuning_importance"] = plot_importance(importance)
    if len(complete) > 1:
        axes["tuning_slices"] = plot_slices(table)
        axes["tuning_parallel"] = plot_parallel(table)
    if len(_confirmed(table)):
        axes["tuning_confirmation"] = plot_confirmation(table)
    figures = {name: drawn if isinstance(drawn, Figure) else drawn.figure for name, drawn in axes.items()}
    return {name: figure.get_figure(root=True) for name, figure in figures.items()}


@styled
def plot_trials(table: pd.DataFrame) -> Axes:
    """Draw the value of each trial in their order, the best so far, and the model's defaults (dotted).

    Pruned trials are at the accuracy of their best epoch, where the metric is the accuracy.
    """
    trials = table[table["stage"] == "trial"].sort_values("trial")
    complete = _complete(table).sort_values("trial")
    ax = plt.subplots(figsize=(7.5, 3.2))[1]
    pruned = trials[trials["state"] == "pruned"]
    if len(pruned) and (table["metric"] == "accuracy").all():
        ax.plot(pruned["trial"], pruned["val_accuracy"], "x", color=_GRAY, markersize=5, label="pruned, best epoch")
    ax.plot(complete["trial"], complete["value"], "o", color=_BLUE, markersize=5, label="complete")
    ax.step(complete["trial"], complete["value"].cummax(), where="post", color=_RED, linewidth=1.2, label="best so far")
    defaults = complete.loc[complete["note"] == DEFAULTS_NOTE, "value"]
    if len(defaults):
        ax.axhline(defaults.iloc[0], color="black", linewidth=1, linestyle=":", label="the model's defaults")
    ax.set(xlabel="trial", ylabel=_metric(table))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return ax


@styled
def plot_importance(importance: pd.Series) -> Axes:
    """Draw the importance of each parameter, shares that sum to 1."""
    ordered = importance.sort_values()
    ax = plt.subplots(figsize=(7, 0.8 + 0.27 * len(ordered)))[1]
    ax.barh(ordered.index, ordered, color=_BLUE, height=0.65)
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(xlabel="importance for being among the best trials", ylim=(-0.6, len(ordered) - 0.4))
    ax.tick_params(axis="y", length=0, labelsize=9)
    return ax


@styled
def plot_slices(table: pd.DataFrame) -> Figure:
    """Draw the value of each complete trial over each parameter; the defaults are a ring."""
    complete = _complete(table)
    names = parameters_of(complete)
    columns = min(4, len(names))
    rows = math.ceil(len(names) / columns)
    figure, grid = plt.subplots(rows, columns, figsize=(2.5 * columns, 2.3 * rows), sharey=True, squeeze=False)
    for ax, name in zip(grid.flat, names, strict=False):
        drawn = complete[complete[name].notna()]
        places, labels, is_log = _positions(drawn[name])
        ax.scatter(places, drawn["value"], c=drawn["trial"].astype(float), cmap="Blues", vmin=-10, s=16, zorder=2)
        is_default = (drawn["note"] == DEFAULTS_NOTE).to_numpy()
        ax.plot(places[is_default], drawn["value"][is_default], "o", color=_RED, markersize=9, markerfacecolor="none")
        ax.set_xlabel(name, fontsize=9)
        if labels:
            ax.set_xticks(range(len(labels)), labels, fontsize=8)
            ax.set_xlim(-0.6, len(labels) - 0.4)
        elif is_log:
            ax.set_xscale("log")
            # Few labels, because the axes are narrow.
            ax.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
            ax.xaxis.set_major_formatter("{x:g}")
            ax.xaxis.set_minor_formatter(NullFormatter())
        ax.tick_params(labelsize=8)
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.grid(axis="y", alpha=0.3)
    for ax in grid.flat[len(names) :]:
        ax.remove()
    for ax in grid[:, 0]:
        ax.set_ylabel(_metric(table), fontsize=9)
    return figure


@styled
def plot_parallel(table: pd.DataFrame) -> Axes:
    """Draw each complete trial as a line over its parameters, colored by its value; the best three are thicker."""
    complete = _complete(table).sort_values("value")
    names = [name for name in parameters_of(complete) if complete[name].dropna().unique().size > 1]
    figure, ax = plt.subplots(figsize=(2.0 + 1.15 * len(names), 4))
    norm = Normalize(complete["value"].min(), complete["value"].max())
    colors = plt.get_cmap("viridis_r")
    # Lines through the same categories are drawn next to each other.
    shifts = np.random.default_rng(0).uniform(-0.025, 0.025, len(complete))
    scaled = {}
    for place, name in enumerate(names):
        positions, labels, is_log = _positions(complete[name])
        values = np.log(positions) if is_log else positions
        low, high = np.nanmin(values), np.nanmax(values)
        heights = (values - low) / ((high - low) or 1) + (shifts if labels else 0)
        scaled[name] = np.where(np.isnan(heights), _MISSING + shifts, heights)
        ax.axvline(place, color="#D0D0D0", linewidth=0.8, zorder=0)
        shown = labels or [_short(np.nanmin(positions)), _short(np.nanmax(positions))]
        marks = {label: number / max(1, len(shown) - 1) for number, label in enumerate(shown)}
        if np.isnan(heights).any():
            marks["not drawn"] = _MISSING
        for label, height in marks.items():
            box = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
            ax.annotate(
                label, (place, height), (4, 0), textcoords="offset points", fontsize=7, va="center", zorder=3, bbox=box
            )
    lines = np.column_stack([scaled[name] for name in names])
    for row, (line, value) in enumerate(zip(lines, complete["value"], strict=True)):
        best = row >= len(lines) - 3
        ax.plot(line, color=colors(norm(value)), linewidth=2.2 if best else 0.8, alpha=1 if best else 0.6)
    ax.set_xticks(range(len(names)), names, fontsize=8)
    plt.setp(ax.get_xticklabels(), rotation=30, ha="right", rotation_mode="anchor")
    ax.set(yticks=[], ylim=(-0.17, 1.06), xlim=(-0.2, len(names) - 0.5))
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
    bar = figure.colorbar(ScalarMappable(norm, colors), ax=ax, pad=0.01, aspect=30)
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    bar.set_label(_metric(table), fontsize=9)
    return ax


@styled
def plot_confirmation(table: pd.DataFrame) -> Axes:
    """Draw the confirmation: each training, the mean of its settings, and the mean of the defaults (dotted)."""
    done = _confirmed(table)
    means = done.groupby("trial")["value"].mean().sort_values(ascending=False)
    defaults = done.loc[done["note"] == DEFAULTS_NOTE, "trial"].unique()
    ax = plt.subplots(figsize=(7.5, 1.0 + 0.36 * len(means)))[1]
    labels = []
    for row, (number, mean) in enumerate(means.items()):
        single = done.loc[done["trial"] == number, "value"]
        ax.plot(single, [row] * len(single), "o", color=_BLUE, markersize=6, markerfacecolor="none")
        ax.plot(mean, row, "|", color=_RED, markersize=16, markeredgewidth=2)
        labels.append("defaults" if number in defaults else f"settings of trial {number}")
    if len(defaults):
        ax.axvline(means[defaults[0]], color=_GRAY, linewidth=1, linestyle=":")
    ax.set_yticks(range(len(labels)), labels, fontsize=9)
    ax.set(xlabel=f"{_metric(table)}: circles are seeds, bars their mean", ylim=(len(labels) - 0.4, -0.6))
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    ax.grid(axis="x", alpha=0.3)
    return ax


def _complete(table: pd.DataFrame) -> pd.DataFrame:
    return table[(table["stage"] == "trial") & (table["state"] == "complete")]


def _confirmed(table: pd.DataFrame) -> pd.DataFrame:
    return table[(table["stage"] == "confirmation") & (table["state"] == "complete")]


def _metric(table: pd.DataFrame) -> str:
    return f"val {str(table['metric'].iloc[0]).replace('macro_f1', 'macro-F1')}"


def _positions(values: pd.Series) -> tuple[np.ndarray, list[str], bool]:
    """Return where a parameter's values are on an axis, float (n,), the labels of categories, and whether it is log."""
    if is_numeric(values):
        return pd.to_numeric(values).to_numpy(float), [], is_logarithmic(values)
    order: list[Any] = sorted(values.dropna().unique(), key=lambda value: (isinstance(value, str), value))
    places = {value: float(place) for place, value in enumerate(order)}
    return values.map(places).to_numpy(float), [_short(value) for value in order], False


def _short(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, int | float | np.number) else str(value)
