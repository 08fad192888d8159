"""Metrics against values by hand and scikit-learn."""

import json

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, f1_score, log_loss, top_k_accuracy_score

from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import DataError
from ferlib.evaluation import evaluate_predictions, list_confusions, tabulate_per_class
from ferlib.runs.records import Metrics

NAMES = ("angry", "happy", "sad")


@pytest.fixture
def metrics():
    # True classes 0 0 0 0 1 1; predicted 0 0 1 2 1 0; class 2 has no images.
    y_proba = np.eye(3)[[0, 0, 1, 2, 1, 0]]
    return evaluate_predictions(np.array([0, 0, 0, 0, 1, 1]), y_proba, NAMES)


def test_metrics_by_hand(metrics):
    assert metrics.n == 6
    assert metrics.accuracy == pytest.approx(3 / 6)
    assert metrics.confusion_matrix == ((2, 1, 1), (1, 1, 0), (0, 0, 0))
    assert vars(metrics.per_class["angry"]) == pytest.approx(
        {"precision": 2 / 3, "recall": 0.5, "f1": 4 / 7, "support": 4}
    )
    assert vars(metrics.per_class["happy"]) == pytest.approx({"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2})
    # The mean over the two classes that have images.
    assert metrics.macro_f1 == pytest.approx((4 / 7 + 0.5) / 2)
    assert metrics.balanced_accuracy == pytest.approx(0.5)


def test_metrics_match_scikit_learn():
    rng = np.random.default_rng(0)
    y_true, y_proba = rng.integers(0, 7, 300), rng.dirichlet(np.ones(7), 300)
    y_proba[np.arange(300), y_true] += 0.3
    y_proba /= y_proba.sum(axis=1, keepdims=True)
    metrics = evaluate_predictions(y_true, y_proba, EMOTIONS)
    assert metrics.weighted_f1 == pytest.approx(f1_score(y_true, y_proba.argmax(axis=1), average="weighted"))
    assert metrics.top2_accuracy == pytest.approx(top_k_accuracy_score(y_true, y_proba, k=2))
    assert metrics.log_loss == pytest.approx(log_loss(y_true, y_proba))
    assert metrics.brier == pytest.approx(brier_score_loss(y_true, y_proba, labels=range(7), scale_by_half=False))
    for name in ("accuracy", "macro_f1"):
        low, high = metrics.intervals[name]
        assert low < getattr(metrics, name) < high


def test_random_predictions_fail_every_metric():
    rng = np.random.default_rng(0)
    y_true, y_proba = rng.integers(0, 7, 5000), rng.dirichlet(np.full(7, 0.3), 5000)
    metrics = evaluate_predictions(y_true, y_proba, EMOTIONS)
    for name in ("accuracy", "macro_f1", "weighted_f1", "balanced_accuracy"):
        assert getattr(metrics, name) == pytest.approx(1 / 7, abs=0.02), name
    assert metrics.top2_accuracy == pytest.approx(2 / 7, abs=0.03)
    # Worse than a constant 1/7, which has a log loss of log 7 and a Brier score of 6/7.
    assert metrics.log_loss > np.log(7)
    assert metrics.brier > 6 / 7
    assert metrics.ece > 0.3
    low, high = metrics.intervals["accuracy"]
    assert low < 1 / 7 < high


def test_metrics_survive_json(metrics):
    assert Metrics.from_json(json.loads(json.dumps(metrics.to_json()))) == metrics


def test_majority_class_has_low_balanced_metrics():
    y_true = np.repeat(np.arange(7), [10, 1, 10, 60, 10, 5, 4])
    always_happy = np.eye(7)[np.full(100, 3)]
    metrics = evaluate_predictions(y_true, always_happy, EMOTIONS)
    assert metrics.accuracy == 0.6
    assert metrics.balanced_accuracy == pytest.approx(1 / 7)
    assert metrics.macro_f1 == pytest.approx(0.75 / 7)


def test_tables_of_classes_and_confusions(metrics):
    table = tabulate_per_class(metrics)
    assert list(table.index) == list(NAMES)
    assert table["support"].tolist() == [4, 2, 0]
    confusions = list_confusions(metrics)
    assert len(confusions) == 3
    assert set(confusions["count"]) == {1}
    assert confusions.set_index(["true", "predicted"]).loc[("happy", "angry"), "share"] == 0.5


@pytest.mark.parametrize("shape", [(0, 3), (6, 2), (5, 3)])
def test_mismatched_shapes_are_refused(shape):
    with pytest.raises(DataError, match="Expected probabilities"):
        evaluate_predictions(np.zeros(6 if shape[0] else 0, int), np.ones(shape), NAMES)
