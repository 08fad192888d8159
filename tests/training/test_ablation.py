"""The table of the ablation."""

import pandas as pd
import pytest

from ferlib.training import ablation


def test_gains_are_over_the_baseline():
    accuracies = {"01_plain": 0.5, "02_normalized": 0.53, "09_squeeze": 0.6, "10_mixup": 0.59, "14_distilled": 0.62}
    table = pd.DataFrame({"val accuracy": accuracies, "parameters": 7})
    table.loc["another run"] = [0.9, 7]
    rows = ablation.tabulate_ablation(table)
    assert rows.index.tolist() == list(accuracies)
    assert rows["baseline"].tolist() == ["", "01", "08", "09", "09"]
    assert rows["gain"].tolist() == pytest.approx([float("nan"), 3, float("nan"), -1, 2], nan_ok=True)
    assert ablation.tabulate_ablation(table.iloc[:0]).empty
