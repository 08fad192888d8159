"""The table of a study, collected from its storage."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from ferlib.evaluation.studies import COLUMNS, COUNTS, DEFAULTS_NOTE

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def collect_rows(
    name: str,
    attributes: Mapping[str, Any],
    trials: "Sequence[FrozenTrial]",
    confirmation: "Sequence[FrozenTrial]",
) -> pd.DataFrame:
    """Return the table of a study.

    Parameters
    ----------
    name : str
        The study's.
    attributes : mapping
        Its settings and its data.
    trials, confirmation : sequence of optuna.trial.FrozenTrial

    Returns
    -------
    DataFrame
        The columns `COLUMNS`, then one per parameter. ``stage`` is trial or confirmation, ``state`` complete, pruned,
        running or waiting; ``value`` is the metric on val of a complete training; ``val_accuracy`` of a pruned trial is
        that of its best epoch. ``trial`` of a confirmation's training is that of the settings. ``note`` is
        `DEFAULTS_NOTE` for the settings of the model without tuning. Trials that were replaced are left out.
    """
    settings = attributes.get("settings", {})
    shared = {"study": name, "model": settings.get("model"), "metric": settings.get("metric")}
    seed = settings.get("training", {}).get("seed")
    rows = []
    params: dict[int, dict[str, Any]] = {}
    notes: dict[int, str] = {}
    for trial in trials:
        params[trial.number] = trial.params
        notes[trial.number] = DEFAULTS_NOTE if trial.user_attrs.get("key") == DEFAULTS_NOTE else ""
        note = trial.user_attrs.get("note") or notes[trial.number]
        own = {"stage": "trial", "trial": trial.number, "seed": seed, "note": note, **params[trial.number]}
        rows.append({**shared, **_result(trial), **own})
    for trial in confirmation:
        number = trial.user_attrs.get("setting", -1)
        own = {"stage": "confirmation", "trial": number, "seed": trial.user_attrs.get("seed")}
        rows.append({**shared, **_result(trial), **own, "note": notes.get(number, ""), **params.get(number, {})})
    kept = [row for row in rows if row["state"] != "fail"]
    names = list(settings.get("space", {}))
    table = pd.DataFrame(kept, columns=[*COLUMNS, *names])
    return table.astype(dict.fromkeys(COUNTS, "Int64"))


def _result(trial: "FrozenTrial") -> dict[str, Any]:
    """Return what a trial's training recorded."""
    state = trial.state.name.lower()
    recorded = {name: value for name, value in trial.user_attrs.items() if name in COLUMNS}
    return {**recorded, "state": state, "value": trial.value if state == "complete" else None}
