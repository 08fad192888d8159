"""Figures show what they are given."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from ferlib.emotions import EMOTIONS
from ferlib.evaluation import evaluate_predictions, plots


@pytest.fixture(autouse=True)
def _headless():
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.fixture
def metrics():
    rng = np.random.default_rng(0)
    return evaluate_predictions(rng.integers(0, 7, 90), rng.dirichlet(np.ones(7), 90), EMOTIONS)


def test_class_counts_are_written_at_the_bars():
    counts = pd.DataFrame({"train": range(10, 80, 10), "test": range(1, 8)}, index=EMOTIONS)
    ax = plots.plot_class_counts(counts)
    assert [label.get_text() for label in ax.get_yticklabels()] == list(EMOTIONS)
    assert ax.texts[6].get_text() == "77 (25.0%)"


def test_confusion_matrix_shows_counts_and_shares(metrics):
    ax = plots.plot_confusion_matrix(metrics, title="a model")
    texts = [text.get_text() for text in ax.texts]
    assert len(texts) == 49
    counts = [int(text.split("\n")[1]) for text in texts]
    np.testing.assert_array_equal(np.reshape(counts, (7, 7)), metrics["confusion_matrix"])


def test_history_marks_the_chosen_epoch():
    rows = [
        {"epoch": e, "loss": 2 - a, "accuracy": a, "val_loss": 2 - a, "val_accuracy": a}
        for e, a in ((1, 0.3), (2, 0.6), (3, 0.5))
    ]
    figure = plots.plot_history(rows, title="a model")
    assert "chosen: epoch 2" in [text.get_text() for text in figure.axes[1].get_legend().get_texts()]


def test_faces_have_a_title_each():
    figure = plots.plot_faces(np.zeros((3, 8, 8, 1), np.uint8), ["a", "b", "c"], columns=2)
    assert [ax.get_title() for ax in figure.axes] == ["a", "b", "c", ""]


def test_recalls_and_light_draw_every_class(metrics, tmp_path):
    ax = plots.plot_recalls({"one": metrics, "two": metrics})
    assert [label.get_text() for label in ax.get_xticklabels()] == list(EMOTIONS)
    images = np.random.default_rng(0).integers(0, 256, (70, 8, 8, 1), dtype=np.uint8)
    figure = plots.plot_light(images, np.arange(70) % 7, EMOTIONS)
    path = plots.save_figure(figure, tmp_path, "light")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert plots.save_figure(figure, "", "light") is None
