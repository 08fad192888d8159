"""Summarize the experiment on strategies against class imbalance.

``tools/imbalance_experiment.py`` trains and records it.
"""

import numpy as np
import pandas as pd

from ferlib.preprocessing import STRATEGIES

#: The strategies that are compared: class weights in the loss, and the ways to resample.
IMBALANCE_STRATEGIES = ("none", "class_weight", *(name for name in STRATEGIES if name != "none"))

#: The measures that `summarize_imbalance` averages.
MEASURES = ("accuracy", "macro_f1", "recall", "precision")

#: The columns of the experiment's table, one row per training. ``rarest`` is the class with the fewest training images,
#: whose recall and precision are measured; accuracy and macro-F1 are those of all classes; all on test.
COLUMNS = ("model", "strategy", "seed", "epochs", "rarest", *MEASURES)


def summarize_imbalance(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean effect of each strategy over the seeds, from a table with `COLUMNS`.

    Returns
    -------
    DataFrame
        One row per model and strategy: ``model``, ``strategy``, ``seeds`` (their number), ``rarest``, and the mean of
        each of `MEASURES`. ``± accuracy`` and so on are half the width of the mean's 95 % interval by Student's t; NaN
        for a single seed.
    """
    from scipy.stats import t

    summary = []
    for (model, strategy), group in rows.groupby(["model", "strategy"], sort=False):
        n = len(group)
        row = {"model": model, "strategy": strategy, "seeds": n, "rarest": group["rarest"].iloc[0]}
        for name in MEASURES:
            row[name] = float(group[name].mean())
            row[f"± {name}"] = float(t.ppf(0.975, n - 1) * group[name].std(ddof=1) / np.sqrt(n)) if n > 1 else np.nan
        summary.append(row)
    return pd.DataFrame(summary)
