"""Figures of tuning studies show every training."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from ferlib import plots
from ferlib.evaluation.studies import COLUMNS


@pytest.fixture(autouse=True)
def _headless():
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.fixture
def table() -> pd.DataFrame:
    """A study of ten trials, one of them pruned, and a confirmation with three seeds."""
    rng = np.random.default_rng(0)
    shared = dict.fromkeys(COLUMNS) | {"study": "s", "model": "m", "metric": "accuracy", "note": ""}
    rows = []
    for number in range(10):
        settings = {
            "learning_rate": 10 ** rng.uniform(-4, -2),
            "model.depth": 2 + number % 3,
            "augmentation": number > 4,
        }
        settings |= {"shift": rng.uniform(0, 0.2) if number > 4 else np.nan}
        value = None if number == 3 else 0.5 + number / 100
        result = {"stage": "trial", "trial": number, "state": "pruned" if number == 3 else "complete", "value": value}
        rows.append(shared | result | {"val_accuracy": value or 0.41} | settings)
    rows[0]["note"] = "defaults"
    for number in (9, 0):
        for seed in range(3):
            result = {"stage": "confirmation", "trial": number, "seed": seed, "state": "complete"}
            note = {"note": "defaults" if number == 0 else ""}
            rows.append(shared | result | note | {"value": 0.6 + number / 100 + seed / 1000})
    return pd.DataFrame(rows).astype({"trial": "Int64", "value": float})


def test_a_study_has_five_figures(table):
    importance = pd.Series({"learning_rate": 0.7, "model.depth": 0.3})
    figures = plots.plot_study(table, importance)
    assert list(figures) == [
        "tuning_history", "tuning_importance", "tuning_slices", "tuning_parallel", "tuning_confirmation",
    ]  # fmt: skip
    assert list(plots.plot_study(table.head(1), importance.head(0))) == ["tuning_history"]


def test_history_shows_the_best_so_far_and_the_defaults(table):
    ax = plots.plot_trials(table)
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["complete"].get_xdata().tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert lines["pruned, best epoch"].get_ydata().tolist() == [0.41]
    assert lines["best so far"].get_ydata()[-1] == pytest.approx(0.59)
    assert lines["the model's defaults"].get_ydata()[0] == pytest.approx(0.5)


def test_slices_have_a_panel_per_parameter(table):
    axes = plots.plot_slices(table).axes
    assert [ax.get_xlabel() for ax in axes] == ["learning_rate", "model.depth", "augmentation", "shift"]
    assert axes[0].get_xscale() == "log"
    assert [label.get_text() for label in axes[1].get_xticklabels()] == ["2", "3", "4"]
    assert [label.get_text() for label in axes[2].get_xticklabels()] == ["no", "yes"]
    # Trials that did not draw a parameter are not in its panel.
    assert [len(ax.collections[0].get_offsets()) for ax in axes] == [9, 9, 9, 5]


def test_parallel_coordinates_have_a_line_per_trial(table):
    ax = plots.plot_parallel(table)
    widths = [line.get_linewidth() for line in ax.lines if len(line.get_xdata()) == 4]
    assert len(widths) == 9
    assert sum(width > 1 for width in widths) == 3
    assert "not drawn" in [text.get_text() for text in ax.texts]


def test_confirmation_names_the_settings(table):
    ax = plots.plot_confirmation(table)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["settings of trial 9", "defaults"]
    assert ax.lines[0].get_xdata().tolist() == pytest.approx([0.69, 0.691, 0.692])
    # The dotted line is the mean of the defaults.
    assert ax.lines[-1].get_xdata()[0] == pytest.approx(0.601)
