"""Figures show their data, in a style that does not leak."""

import types

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from ferlib import plots
from ferlib.core.emotions import EMOTIONS
from ferlib.evaluation import evaluate_predictions
from ferlib.evaluation.calibration import tabulate_reliability
from ferlib.training.imbalance import IMBALANCE_STRATEGIES, MEASURES


@pytest.fixture(autouse=True)
def _headless():
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.fixture
def metrics():
    rng = np.random.default_rng(0)
    return evaluate_predictions(rng.integers(0, 7, 90), rng.dirichlet(np.ones(7), 90), EMOTIONS)


def test_imbalance_has_a_row_of_panels_per_model():
    rows = [
        {"model": model, "strategy": name, "seeds": 3, "rarest": "disgust"}
        | {key: value for figure in MEASURES for key, value in ((figure, 0.1 * number), (f"± {figure}", 0.02))}
        for model in ("compact_cnn", "bovw")
        for number, name in enumerate(IMBALANCE_STRATEGIES, 1)
    ]
    axes = plots.plot_imbalance(pd.DataFrame(rows)).axes
    assert [ax.get_title(loc="left") for ax in axes[:4]] == [
        "accuracy", "macro-F1", "recall of disgust", "precision of disgust",
    ]  # fmt: skip
    assert [axes[0].get_ylabel(), axes[4].get_ylabel()] == ["compact_cnn", "bovw"]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == list(IMBALANCE_STRATEGIES)
    # The dotted line marks the baseline.
    assert axes[0].lines[0].get_xdata()[0] == pytest.approx(0.1)


def test_class_counts_label_the_bars():
    counts = pd.DataFrame({"train": range(10, 80, 10), "test": range(1, 8)}, index=EMOTIONS)
    ax = plots.plot_class_counts(counts)
    assert [label.get_text() for label in ax.get_yticklabels()] == list(EMOTIONS)
    assert ax.texts[6].get_text() == "77 (25.0%)"


def test_confusion_matrix_shows_counts_and_shares(metrics):
    ax = plots.plot_confusion_matrix(metrics, title="a model")
    texts = [text.get_text() for text in ax.texts]
    assert len(texts) == 49
    counts = [int(text.split("\n")[1]) for text in texts]
    np.testing.assert_array_equal(np.reshape(counts, (7, 7)), metrics.confusion_matrix)


def test_history_marks_the_best_epoch():
    rows = [
        {"epoch": e, "loss": 2 - a, "accuracy": a, "val_loss": 2 - a, "val_accuracy": a}
        for e, a in ((1, 0.3), (2, 0.6), (3, 0.5))
    ]
    figure = plots.plot_history(rows, title="a model")
    assert "kept: epoch 2" in [text.get_text() for text in figure.axes[1].get_legend().get_texts()]


def test_each_face_has_a_title():
    figure = plots.plot_faces(np.zeros((3, 8, 8, 1), np.uint8), ["a", "b", "c"], columns=2)
    assert [ax.get_title() for ax in figure.axes] == ["a", "b", "c", ""]


def test_recalls_and_brightness_show_every_class(metrics, tmp_path):
    ax = plots.plot_recalls({"one": metrics, "two": metrics})
    assert [label.get_text().split("\n")[0] for label in ax.get_xticklabels()] == list(EMOTIONS)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["one", "two"]
    images = np.random.default_rng(0).integers(0, 256, (70, 8, 8, 1), dtype=np.uint8)
    figure = plots.plot_brightness(images, np.arange(70) % 7, EMOTIONS)
    path = plots.save_figure(figure, tmp_path, "brightness")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert plots.save_figure(figure, "", "brightness") is None


def test_predictions_show_label_answer_and_bars():
    images = np.zeros((2, 8, 8, 1), np.uint8)
    y_proba = np.array([[0.9, 0.1], [0.2, 0.8]])
    figure = plots.plot_predictions(images, np.array([0, 0]), y_proba, ("happy", "sad"))
    right, wrong = (ax.title for ax in figure.axes[:2])
    assert (right.get_text(), wrong.get_text()) == ("label happy\nanswer happy", "label happy\nanswer sad")
    assert right.get_color() != wrong.get_color()
    assert [bar.get_width() for bar in figure.axes[3].patches] == [0.2, 0.8]


def test_pairs_are_joined():
    table = pd.DataFrame({"here": [0.7, 0.5], "there": [0.4, 0.45]}, index=["a", "b"])
    ax = plots.plot_pairs(table, ("here", "there"))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["here", "there"]
    assert {text.get_text() for text in ax.texts} == {"70%", "50%", "40%", "45%"}


def test_corruptions_begin_with_the_most_harmful():
    rows = [
        {"corruption": name, "level": level, "strength": float(level) or np.nan, "accuracy": 0.7 - loss * level}
        for name, loss in (("blur", 0.01), ("noise", 0.1))
        for level in range(6)
    ]
    figure = plots.plot_corruptions(pd.DataFrame(rows))
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["noise", "blur"]


def test_seeds_and_curves_show_every_training():
    study = pd.DataFrame(
        [
            {"variant": v, "change": c, "val_accuracy": 0.4 + 0.1 * s}
            for v, c in (("base", ""), ("2", "depth"))
            for s in (0, 1)
        ]
    )
    ax = plots.plot_seeds(study)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["base", "depth: 2"]
    curve = [{"epoch": e, "accuracy": 0.1 * e, "val_accuracy": 0.2 * e} for e in (1, 2, 3)]
    figure = plots.plot_curves({"a": curve, "b": curve})
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["a", "b", "on the training images"]


def test_networks_are_drawn_by_stages():
    from ferlib.models import get_model

    network = get_model("compact_cnn").build(7, widths=(4, 8), depth=2)
    stages = plots.tabulate_stages(network)
    assert stages["size"].tolist() == [48, 24, 12, 1]
    assert stages["weights"].sum() == network.count_params()
    assert stages["layers"].iloc[1]["Add"] == 2
    figure = plots.plot_network({"a network": network})
    assert f"{network.count_params():,} weights" in figure.axes[0].get_title(loc="left")


def test_legend_tells_whether_images_were_augmented():
    rows = [{"epoch": 1, "loss": 1.0, "accuracy": 0.4, "val_loss": 1.0, "val_accuracy": 0.4}]
    labels = [
        plots.plot_history(rows, augmented=augmented).axes[1].get_legend().get_texts()[0].get_text()
        for augmented in (True, False)
    ]
    assert labels == ["training (augmented)", "training"]


def test_reliability_shows_filled_bins_only():
    y_true = np.array([0, 1, 1, 0])
    table = tabulate_reliability(y_true, np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.55, 0.45]]))
    ax = plots.plot_reliability({"a model": table, "calibrated": table})
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a model", "calibrated"]
    confidence, accuracy = ax.lines[1].get_data()
    assert len(confidence) == int((table["n"] > 0).sum())
    assert set(accuracy) <= {0, 1}


def test_reliability_omits_nearly_empty_bins():
    y_proba = np.repeat([[0.9, 0.1], [0.6, 0.4]], [300, 2], axis=0)
    ax = plots.plot_reliability({"a model": tabulate_reliability(np.zeros(302, int), y_proba)})
    np.testing.assert_allclose(ax.lines[1].get_xdata(), [0.9])


def test_reliability_shows_many_models():
    table = tabulate_reliability(np.zeros(300, int), np.repeat([[0.9, 0.1], [0.6, 0.4]], 150, axis=0))
    names = [f"model {number}" for number in range(9)]
    ax = plots.plot_reliability(dict.fromkeys(names, table))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == names
    styles = {(line.get_color(), line.get_marker()) for line in ax.lines[1:]}
    assert len(styles) == len(names)


def test_curves_omit_a_class_without_images():
    rng = np.random.default_rng(0)
    y_true = rng.integers(1, 7, 200)
    y_proba = rng.dirichlet(np.ones(7), 200)
    y_proba[np.arange(200), y_true] += 1
    figure = plots.plot_roc_pr(y_true, y_proba / 2, EMOTIONS)
    for ax in figure.axes:
        names = [text.get_text().split()[0] for text in ax.get_legend().get_texts()]
        assert names == list(EMOTIONS[1:])


def test_each_corruption_has_a_panel():
    table = pd.DataFrame(
        [
            {"corruption": name, "level": level, "strength": level or np.nan, "accuracy": 0.7 - 0.1 * level}
            for name in ("blur", "noise", "rotation")
            for level in range(6)
        ]
    )
    panels = [ax for ax in plots.plot_corruptions(table).axes if ax.axison]
    assert [ax.get_title(loc="left") for ax in panels] == ["blur", "noise", "rotation"]
    assert [label.get_text() for label in panels[0].get_xticklabels()] == ["as it is", "1", "2", "3", "4", "5"]


def test_heatmaps_cover_faces():
    figure = plots.plot_heatmaps(np.zeros((3, 8, 8, 1)), np.random.default_rng(0).random((3, 8, 8)), ["a", "b", "c"])
    assert [len(ax.images) for ax in figure.axes] == [2, 2, 2]
    assert [ax.get_title() for ax in figure.axes] == ["a", "b", "c"]


HISTORY = [
    {"epoch": n, "loss": 2 - n / 9, "accuracy": n / 9, "val_loss": 2.0, "val_accuracy": n / 9} for n in (1, 2, 3)
]


def test_live_curves_update_in_a_notebook(monkeypatch):
    shown = []

    class Handle:
        def update(self, figure):
            shown.append(("update", len(figure.axes[0].lines[0].get_xdata())))

    def display(figure, *, display_id):
        assert display_id
        shown.append(("display", len(figure.axes[0].lines[0].get_xdata())))
        return Handle()

    # What a notebook has in its kernel's process.
    monkeypatch.setattr("IPython.get_ipython", lambda: types.SimpleNamespace(kernel=object()))
    monkeypatch.setattr("IPython.display.display", display)
    curves = plots.LiveCurves("a model")
    for epochs in (1, 2, 3):
        curves(HISTORY[:epochs])
    assert shown == [("display", 1), ("update", 2), ("update", 3)]
    assert plt.get_fignums() == []


def test_live_curves_draw_nothing_outside_notebooks(monkeypatch):
    monkeypatch.setattr("IPython.display.display", lambda *_, **__: pytest.fail("drawn"))
    plots.LiveCurves()(HISTORY)
    assert plt.get_fignums() == []


def test_style_does_not_leak(metrics):
    before = dict(plt.rcParams)
    ax = plots.plot_confusion_matrix(metrics, title="a model")
    assert not ax.spines["top"].get_visible()
    assert ax.get_title(loc="left") == "a model"
    assert dict(plt.rcParams) == before


def test_first_figure_may_turn_interactive_mode_on():
    # As the backend of notebooks does when it is loaded.
    plots.style.styled(plt.ion)()
    assert plt.isinteractive()
    plt.ioff()
