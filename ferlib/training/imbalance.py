"""Read and summarize the experiment on strategies against class imbalance.

``tools/imbalance_experiment.py`` trains and records it.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from ferlib.core.errors import DataError
from ferlib.preprocessing import STRATEGIES

#: The strategies that are compared: class weights in the loss, and the ways to resample.
IMBALANCE_STRATEGIES = ("none", "class_weight", *(name for name in STRATEGIES if name != "none"))

#: The measures that `summarize_imbalance` averages.
MEASURES = ("accuracy", "macro_f1", "recall", "precision")

#: The columns of the experiment's table.
COLUMNS = ("model", "strategy", "seed", "epochs", "rarest", *MEASURES)


def read_imbalance(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Return the experiment's table.

    Returns
    -------
    DataFrame
        One row per training: ``model``, ``strategy``, ``seed``, ``epochs``, ``rarest`` (the class with the fewest
        training images), ``accuracy`` and ``macro_f1`` on test, and that class's ``recall`` and ``precision``. Empty
        if the file does not exist.

    Raises
    ------
    DataError
        The file is not such a table.
    """
    if not Path(path).exists():
        return pd.DataFrame(columns=list(COLUMNS))
    try:
        return pd.read_csv(path)[list(COLUMNS)]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is not a table of the imbalance experiment ({error}).") from None


def summarize_imbalance(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean effect of each strategy over the seeds.

    Parameters
    ----------
    rows : DataFrame
        From `read_imbalance`.

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
