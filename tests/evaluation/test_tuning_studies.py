"""Tables of tuning studies: summary of the confirmation, ranking, and CSV."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ferlib.core.errors import DataError
from ferlib.evaluation.studies import (
    COLUMNS,
    is_logarithmic,
    is_numeric,
    mean_interval,
    parameters_of,
    rank_trials,
    read_tuning,
    summarize_confirmation,
    write_tuning,
)


def make_table(confirmed: dict[int, list[float]], study: str = "s") -> pd.DataFrame:
    """Return a study of four trials with the values 0.50 (the defaults), 0.53, none (pruned) and 0.52."""
    shared = dict.fromkeys(COLUMNS) | {"study": study, "model": "m", "metric": "accuracy"}
    rows = [
        shared | {"stage": "trial", "trial": number, "seed": 0, "value": value, "val_accuracy": value or 0.51,
                  "state": "complete" if value else "pruned", "note": "" if number else "defaults", "depth": number}
        for number, value in enumerate([0.50, 0.53, None, 0.52])
    ]  # fmt: skip
    rows += [
        shared | {"stage": "confirmation", "trial": number, "seed": seed, "value": value, "state": "complete",
                  "test_accuracy": value - 0.01, "note": "" if number else "defaults"}
        for number, values in confirmed.items()
        for seed, value in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(rows).astype({"trial": "Int64", "seed": "Int64", "value": float, "test_accuracy": float})


def test_gains_are_paired_by_seed():
    summary = summarize_confirmation(make_table({0: [0.60, 0.62, 0.64], 1: [0.61, 0.63, 0.65], 3: [0.59, 0.63, 0.63]}))
    assert summary["settings"].tolist() == ["trial 1", "defaults", "trial 3"]
    assert summary["value"].tolist() == pytest.approx([0.63, 0.62, 0.6166667])
    assert summary["proxy"].tolist() == pytest.approx([0.53, 0.50, 0.52])
    # The seeds change both alike, so that the difference is exact although the means vary.
    assert summary.loc[1, ["gain", "gain_low", "gain_high"]].tolist() == pytest.approx([0.01, 0.01, 0.01])
    assert summary.loc[1, "high"] - summary.loc[1, "low"] == pytest.approx(0.0993655, abs=1e-6)
    assert summary.loc[3, "gain_low"] < summary.loc[3, "gain"] < summary.loc[3, "gain_high"]
    assert np.isnan(summary.loc[0, "gain"])
    assert summary.loc[1, "test_accuracy"] == pytest.approx(0.62)


def test_unfinished_confirmations_are_summarized():
    table = make_table({0: [0.60], 1: [0.61, 0.63]})
    summary = summarize_confirmation(table)
    assert summary["seeds"].to_dict() == {1: 2, 0: 1}
    assert summary.loc[1, "gain"] == pytest.approx(0.01)
    assert np.isnan(summary.loc[0, ["low", "high"]].astype(float)).all()
    assert summarize_confirmation(make_table({})).empty
    without_defaults = summarize_confirmation(make_table({1: [0.61, 0.63]}))
    assert np.isnan(without_defaults.loc[1, "gain"])


def test_interval_is_that_of_student():
    values = np.array([0.61, 0.64, 0.60, 0.66])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(values) == pytest.approx((expected.low, expected.high))
    assert np.isnan(mean_interval(values[:1])).all()


def test_trials_are_ranked_by_value():
    ranked = rank_trials(make_table({1: [0.6]}))
    assert ranked["trial"].tolist() == [1, 3, 0, 2]
    assert parameters_of(ranked) == ["depth"]


def test_tables_of_several_studies_share_a_file(tmp_path):
    path = tmp_path / "tuning.csv"
    assert read_tuning(path).empty
    first, second = make_table({0: [0.6]}), make_table({1: [0.7]}, "t").rename(columns={"depth": "n_words"})
    write_tuning(path, first)
    write_tuning(path, second)
    write_tuning(path, first)
    table = read_tuning(path)
    assert table["study"].value_counts().to_dict() == {"s": 5, "t": 5}
    again = table[table["study"] == "s"].reset_index(drop=True)
    assert parameters_of(again) == ["depth"]
    assert again["value"].tolist() == pytest.approx(first["value"].tolist(), nan_ok=True)
    assert again["note"].tolist() == first["note"].tolist()
    pd.testing.assert_frame_equal(
        summarize_confirmation(again), summarize_confirmation(first), check_dtype=False, check_index_type=False
    )
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="cannot be read as a table of studies"):
        read_tuning(path)


@pytest.mark.parametrize(
    ("values", "numeric"),
    [
        ([0.1, 0.2], True),
        ([1, 2, 4, 8, 16], True),
        ([16, 32], False),
        ([True, False], False),
        (["16,32", "32,64"], False),
        (["none", "0.5"], False),
        ([0.1, None, 0.3], True),
    ],
)
def test_numbers_and_categories_are_told_apart(values, numeric):
    assert is_numeric(pd.Series(values)) == numeric


def test_wide_ranges_are_logarithmic():
    assert is_logarithmic(pd.Series([1e-4, 1e-2]))
    assert not is_logarithmic(pd.Series([0.1, 0.5]))
    assert not is_logarithmic(pd.Series([0.0, 0.5]))
