"""Error analysis."""

import numpy as np
import pandas as pd
import pytest

from ferlib.evaluation import evaluate_predictions, selection_gain, tabulate_results
from ferlib.evaluation.errors import (
    VoteComparison,
    accuracy_by,
    compare_with_votes,
    group_by_agreement,
    label_ceiling,
    label_issue_agreement,
    measure_image_quality,
    rank_label_issues,
    tabulate_predictions,
)

NAMES = ("a", "b", "c")


def one_hot(codes, p=0.8):
    return np.where(np.eye(3)[codes] == 1, p, (1 - p) / 2)


def test_predictions_table():
    y_proba = np.array([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1]])
    table = tabulate_predictions(["x.png", "y.png"], np.array([0, 1]), y_proba, NAMES)
    assert table["correct"].tolist() == [True, False]
    assert table.loc[1].to_dict() == {
        **{"file": "y.png", "true": "b", "predicted": "a", "probability": 0.5},
        **{"probability_of_true": 0.4, "correct": False},
    }


def test_image_quality_is_measured_in_gray_levels():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (48, 48, 1), dtype=np.uint8)
    ramp = np.tile(np.linspace(0, 255, 48, dtype=np.uint8)[:, np.newaxis, np.newaxis], (1, 48, 1))
    blank = np.full((48, 48, 1), 77, np.uint8)
    table = measure_image_quality(np.stack([noise, ramp, blank]))
    assert table["brightness"].tolist() == pytest.approx([noise.mean(), ramp.mean(), 77])
    assert table["contrast"].tolist() == pytest.approx([noise.std(), ramp.std(), 0])
    assert table["sharpness"][0] > 100 * table["sharpness"][1] > 0
    assert table["sharpness"][2] == 0
    # Sharpness does not depend on contrast.
    paler = (noise // 4 + 90).astype(np.uint8)
    assert measure_image_quality(paler[np.newaxis])["sharpness"][0] == pytest.approx(table["sharpness"][0], rel=0.05)


def test_accuracy_by_group_has_intervals():
    correct = np.array([True] * 60 + [False] * 40 + [True] * 2)
    groups = pd.Series(pd.Categorical(["low"] * 100 + ["high"] * 2, ["low", "middle", "high"]))
    table = accuracy_by(correct, groups)
    assert table.index.tolist() == ["low", "high"]
    assert table.loc["low", ["n", "accuracy"]].tolist() == [100, 0.6]
    # Wilson's interval for 60 of 100, by hand.
    assert table.loc["low", ["low", "high"]].tolist() == pytest.approx([0.5020, 0.6906], abs=1e-4)
    assert table.loc["high", "low"] < 0.4
    groups[:100] = np.nan
    assert accuracy_by(correct, groups).index.tolist() == ["high"]


def test_votes_agree_with_model_label_or_neither():
    y_true = np.array([0, 0, 0, 1, 1])
    predictions = tabulate_predictions("vwxyz", y_true, one_hot([1, 1, 1, 1, 0]), NAMES)
    votes = pd.DataFrame({"majority": ["b", "a", "c", "b", ""]})
    assert compare_with_votes(predictions, votes) == VoteComparison(
        n=4, model_accuracy=0.5, label_accuracy=0.5, errors=3, model=1, label=1, neither=1
    )
    empty = compare_with_votes(predictions, pd.DataFrame({"majority": [""] * 5}))
    assert (empty.n, empty.model_accuracy) == (0, None)


def test_wrong_labels_are_found():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 600)
    y_proba = rng.dirichlet([0.5] * 3, 600) * 0.4 + one_hot(truth, 0.9) * 0.6
    labels = truth.copy()
    flipped = rng.choice(600, 30, replace=False)
    labels[flipped] = (truth[flipped] + 1) % 3
    found = rank_label_issues(labels, y_proba)
    assert set(found) <= set(flipped)
    assert len(found) >= 10
    assert len(rank_label_issues(truth, one_hot(truth))) == 0


def test_label_issues_are_compared_with_votes():
    labels = np.array(["a"] * 10)
    majority = np.array(["b", "b", "a", ""] + ["a"] * 6)
    table = label_issue_agreement(np.array([0, 3, 1, 2]), labels, majority)
    assert table["n"].tolist() == [3, 3, 9]
    assert table["contradicted"].tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 9])
    assert np.isnan(label_issue_agreement(np.array([3]), labels, majority)["contradicted"].iloc[0])


def test_class_without_images_is_never_suggested():
    y_proba = np.array([[0.1, 0.1, 0.8], [0.2, 0.7, 0.1], [0.9, 0.1, 0.0]])
    assert rank_label_issues(np.array([0, 1, 0]), y_proba).tolist() == []


def test_selection_gain():
    history = [{"val_accuracy": value} for value in (0.2, 0.5, 0.6, 0.61, 0.66, 0.60, 0.61, 0.62)]
    assert selection_gain(history) == pytest.approx({"highest": 0.66, "typical": 0.615, "gain": 0.045})
    assert selection_gain(history[:1])["gain"] == 0


def test_results_table_has_intervals():
    y_true = np.tile([0, 1, 2], 50)
    results = {
        "good": evaluate_predictions(y_true, one_hot(y_true), NAMES),
        "chance": evaluate_predictions(y_true, one_hot(np.roll(y_true, 50)), NAMES),
    }
    table = tabulate_results(results)
    assert table.loc["good", ["n", "accuracy", "high"]].tolist() == [150, 1, 1]
    assert table["accuracy"]["chance"] < table["high"]["chance"] < table["low"]["good"]
    assert (table["macro_f1_low"] <= table["macro_f1"]).all()


def test_agreement_and_ceiling_are_fractions_of_votes():
    votes = pd.DataFrame({"a": [8, 5, 1, 3, np.nan], "b": [0, 5, 0, 1, np.nan], "NF": [0, 0, 9, 0, np.nan]})
    votes["n"] = votes.sum(axis=1, min_count=1)
    votes["agreement"] = votes[["a", "b", "NF"]].max(axis=1) / votes["n"]
    assert label_ceiling(votes, ("a", "b")) == pytest.approx((1 + 0.5 + 1 + 0.75) / 4)
    assert group_by_agreement(votes).tolist() == [
        "over 90 % agree",
        "half or fewer agree",
        "no face, or left out",
        "to 90 % agree",
        "no face, or left out",
    ]
