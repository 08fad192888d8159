"""The table of tuning studies, one row per training, as ``reports/tuning.csv`` has it, and what it says.

======================  ================================================================================
``study, model``        the study's name, and the model
``metric``              what is maximized on val: ``accuracy`` or ``macro_f1``
``stage``               ``trial``, or ``confirmation``: the settings of a trial trained in full with a seed
``trial, seed``         the number of the trial whose settings they are, and the seed of the training
``state``               ``complete``, ``pruned``, ``running`` or ``waiting``
``value``               the metric on val of a complete training
``val_accuracy, ...``   measured on val, and for the confirmation on test; a pruned trial has its best epoch
``epochs, ...``         the training's epochs, training images and seconds
``note``                ``defaults`` for the settings that the model has without tuning; why a trial was given up
other columns           one per parameter; empty where the trial did not draw it
======================  ================================================================================
"""

import io
import math
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from ferlib.core.errors import DataError
from ferlib.core.files import write_text
from ferlib.evaluation.intervals import CONFIDENCE

#: What a study maximizes on val.
Metric = Literal["accuracy", "macro_f1"]

#: The columns before those of the parameters.
COLUMNS = (
    *("study", "model", "metric", "stage", "trial", "seed", "state", "value", "val_accuracy", "val_macro_f1"),
    *("test_accuracy", "test_macro_f1", "epochs", "train_images", "seconds", "note"),
)
#: The columns of integers.
COUNTS = ("trial", "seed", "epochs", "train_images")

#: What `note` says of the settings that the model has without tuning.
DEFAULTS_NOTE = "defaults"

# A parameter whose largest value is so many times its smallest has a logarithmic axis.
_LOG_RATIO = 15

# A parameter of integers with more different values than this has an axis of numbers.
_MOST_CATEGORIES = 4


def parameters_of(table: pd.DataFrame) -> list[str]:
    """Return the parameters of a study's table that have values."""
    return [name for name in table.columns if name not in COLUMNS and table[name].notna().any()]


def rank_trials(table: pd.DataFrame) -> pd.DataFrame:
    """Return the trials of a study, the best first: complete ones by value, pruned ones by accuracy, then others."""
    trials = table[table["stage"] == "trial"]
    order = {"complete": 0, "pruned": 1, "running": 2, "waiting": 3}
    keys = trials.assign(_state=trials["state"].map(order), _best=trials["value"].fillna(trials["val_accuracy"]))
    ranked = keys.sort_values(["_state", "_best", "trial"], ascending=[True, False, True], kind="stable")
    return ranked.drop(columns=["_state", "_best"])


def summarize_confirmation(table: pd.DataFrame) -> pd.DataFrame:
    """Return means over the seeds of the confirmation, with 95 % intervals.

    Parameters
    ----------
    table : DataFrame
        That of one study.

    Returns
    -------
    DataFrame
        One row per settings, the best mean first, indexed by trial: ``settings`` (``"defaults"`` or ``"trial 7"``),
        ``seeds``, ``value`` (mean of the metric on val) and its interval ``low`` and ``high``; ``gain`` over the
        defaults with the same seeds, ``gain_low`` and ``gain_high``; ``proxy`` (the trial's own value);
        ``test_accuracy`` and ``test_macro_f1`` (means). Fractions; empty without a confirmation. Intervals are those of
        Student's t distribution, NaN for one seed; they hold the val images fixed.

    References
    ----------
    Student, "The Probable Error of a Mean", Biometrika 1908.
    """
    done = table[(table["stage"] == "confirmation") & (table["state"] == "complete")]
    values = done.pivot_table(index="trial", columns="seed", values="value")
    defaults = done.loc[done["note"] == DEFAULTS_NOTE, "trial"].unique()
    rows = {}
    for number, own in values.iterrows():
        measured = own.dropna().to_numpy()
        base = values.loc[defaults[0]] if len(defaults) else own * np.nan
        gains = (own - base).dropna().to_numpy()
        # Two seeds that differ much give limits outside of what a fraction can be.
        low, high = np.clip(mean_interval(measured), 0, 1)
        gain_low, gain_high = mean_interval(gains)
        is_default = number in defaults
        trial = table[(table["stage"] == "trial") & (table["trial"] == number)]
        mine = done[done["trial"] == number]
        rows[number] = {
            "settings": DEFAULTS_NOTE if is_default else f"trial {number}",
            "seeds": len(measured),
            "value": measured.mean(),
            "low": low,
            "high": high,
            "gain": np.nan if is_default or not len(gains) else gains.mean(),
            "gain_low": np.nan if is_default else gain_low,
            "gain_high": np.nan if is_default else gain_high,
            "proxy": trial["value"].iloc[0] if len(trial) else np.nan,
            "test_accuracy": mine["test_accuracy"].mean(),
            "test_macro_f1": mine["test_macro_f1"].mean(),
        }
    columns = ["settings", "seeds", "value", "low", "high", "gain", "gain_low", "gain_high", "proxy"]
    columns += ["test_accuracy", "test_macro_f1"]
    summary = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    return summary.sort_values("value", ascending=False, kind="stable")


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the mean of a few values, by Student's t distribution; NaN for fewer than two."""
    if len(values) < 2:
        return math.nan, math.nan
    from scipy.stats import t

    half = t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    return float(np.mean(values) - half), float(np.mean(values) + half)


def is_numeric(values: pd.Series) -> bool:
    """Return whether a parameter's values are numbers on an axis: fractions, or more than four integers."""
    present = values.dropna()
    numbers = pd.to_numeric(present, errors="coerce")
    if numbers.isna().any() or present.map(lambda value: isinstance(value, bool | np.bool_)).any():
        return False
    return bool((numbers % 1 != 0).any() or present.nunique() > _MOST_CATEGORIES)


def is_logarithmic(values: pd.Series) -> bool:
    """Return whether a numeric parameter has a logarithmic axis."""
    numbers = pd.to_numeric(values.dropna())
    return bool(numbers.min() > 0 and numbers.max() / numbers.min() > _LOG_RATIO)


def read_tuning(path: str | Path) -> pd.DataFrame:
    """Return the tables of all studies in a CSV file that `write_tuning` wrote; empty if the file does not exist.

    Raises
    ------
    DataError
        The file is not such a table.
    """
    path = Path(path)
    if not path.exists():
        return pd.DataFrame(columns=list(COLUMNS))
    try:
        # Names such as "16,32" and "none" stay as they are.
        table = pd.read_csv(path, keep_default_na=False, na_values=[""])
        return table.astype(dict.fromkeys(COUNTS, "Int64")).fillna({"note": ""})
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} cannot be read as a table of studies ({error}).") from None


def write_tuning(path: str | Path, table: pd.DataFrame) -> None:
    """Write a study's table to a CSV file, which keeps its other studies."""
    earlier = read_tuning(path)
    kept = earlier[~earlier["study"].isin(table["study"].unique())]
    merged = pd.concat([part for part in (kept, table) if not part.empty] or [table])
    names = [name for name in merged.columns if name not in COLUMNS]
    text = io.StringIO()
    merged[[*COLUMNS, *names]].to_csv(text, index=False, lineterminator="\n", float_format="%.6g")
    write_text(path, text.getvalue())
