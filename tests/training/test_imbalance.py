"""The table of the imbalance experiment."""

import pandas as pd
import pytest

from ferlib.training.imbalance import COLUMNS, summarize_imbalance


def rows(*records):
    """The experiment's table from (strategy, seed, accuracy, recall) records."""
    return pd.DataFrame(
        [("bovw", name, seed, 3, "disgust", accuracy, 0.4, recall, 0.5) for name, seed, accuracy, recall in records],
        columns=list(COLUMNS),
    )


def test_means_have_intervals_over_the_seeds():
    smote = [("smote", seed, 0.60 + seed / 50, 0.2 + seed / 10) for seed in range(3)]
    table = summarize_imbalance(rows(("none", 0, 0.66, 0.1), *smote))
    assert table["strategy"].tolist() == ["none", "smote"]
    row = table.iloc[1]
    assert (row["seeds"], row["rarest"]) == (3, "disgust")
    assert (row["accuracy"], row["recall"]) == pytest.approx((0.62, 0.3))
    # Student's t for 2 degrees of freedom is 4.3027; the standard deviation is 0.02.
    assert row["± accuracy"] == pytest.approx(4.3027 * 0.02 / 3**0.5, rel=1e-4)
    assert pd.isna(table.iloc[0]["± accuracy"])
    assert summarize_imbalance(rows()).empty
