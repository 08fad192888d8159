"""The importance of parameters."""

import numpy as np
import pandas as pd

from ferlib.evaluation.studies import COLUMNS
from ferlib.training.tuning.importance import measure_importance


def make_table(n: int) -> pd.DataFrame:
    """Return a study in which `rate` alone decides."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({name: [None] * n for name in COLUMNS})
    table["stage"], table["state"], table["trial"] = "trial", "complete", range(n)
    table["rate"], table["width"] = 10 ** rng.uniform(-4, -1, n), rng.choice([16, 32], n)
    table["fixed"], table["augmentation.shift"] = 1, np.where(np.arange(n) % 2, rng.uniform(0, 1, n), np.nan)
    table["value"] = -((np.log10(table["rate"]) + 2.5) ** 2) + 0.01 * rng.normal(size=n)
    return table


def test_the_parameter_that_decides_is_first():
    importance = measure_importance(make_table(60))
    assert importance.index[0] == "rate"
    assert importance["rate"] > 0.5
    assert abs(importance.sum() - 1) < 1e-6
    assert "fixed" not in importance.index or importance["fixed"] == 0


def test_few_or_equal_trials_say_nothing():
    assert measure_importance(make_table(5)).empty
    assert measure_importance(make_table(20).assign(value=0.5)).empty
