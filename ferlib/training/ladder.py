"""From a plain network to the delivered one, an ingredient at a time: what each of them adds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ferlib.datasets import ImageDataset
from ferlib.prepare import Augmentation
from ferlib.training.options import TrainingOptions
from ferlib.training.record import record_metrics, tabulate_runs
from ferlib.training.run import train_model


@dataclass(frozen=True)
class Step:
    """One training of the ladder.

    Parameters
    ----------
    name : str
        The run's folder; its number sorts it.
    adds : str
        What is new against the step before.
    model : str
    model_options : mapping
    training : mapping
        All that differs from `PLAIN`.
    learns_from_last : bool
        Whether the step before is this one's teacher.
    """

    name: str
    adds: str
    model: str
    model_options: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    learns_from_last: bool = False


#: How the first network is trained: as in most introductions.
PLAIN = {
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "schedule": "constant",
    "label_smoothing": 0.0,
    "mixup": 0.0,
    "augmentation": None,
}

_WITHOUT_SQUEEZE = {"squeeze": 0}
_SCHEDULED = {"optimizer": "adamw", "learning_rate": 2e-3, "schedule": "cosine"}
_AUGMENTED = {**_SCHEDULED, "augmentation": Augmentation()}
_CROPPED = {**_SCHEDULED, "augmentation": Augmentation(crop=5 / 6)}
_SMOOTHED = {**_CROPPED, "label_smoothing": 0.1}
_MIXED = {**_SMOOTHED, "mixup": 0.2}
_AVERAGED = {**_MIXED, "ema": 0.995}

STEPS = (
    Step("01_plain", "a plain network, Adam, nothing else", "plain_cnn"),
    Step("02_normalised", "batch normalisation", "plain_cnn", {"batch_norm": True}),
    Step("03_residual", "three residual stages instead, average pooling", "compact_cnn", _WITHOUT_SQUEEZE),
    Step("04_schedule", "AdamW, warm-up and cosine", "compact_cnn", _WITHOUT_SQUEEZE, _SCHEDULED),
    Step("05_augmented", "augmentation with random erasing", "compact_cnn", _WITHOUT_SQUEEZE, _AUGMENTED),
    Step("06_cropped", "random crops of 5/6 of the side", "compact_cnn", _WITHOUT_SQUEEZE, _CROPPED),
    Step("07_smoothed", "label smoothing", "compact_cnn", _WITHOUT_SQUEEZE, _SMOOTHED),
    Step("08_squeeze", "squeeze and excitation", "compact_cnn", {}, _SMOOTHED),
    Step("09_mixup", "mixup", "compact_cnn", {}, _MIXED),
    Step("10_averaged", "an average of the weights", "compact_cnn", {}, _AVERAGED),
    Step("11_distilled", "the step before as a teacher", "compact_cnn", {}, _AVERAGED, learns_from_last=True),
)


def train_ladder(
    dataset: ImageDataset,
    folder: str | Path,
    *,
    epochs: int,
    seed: int = 0,
    on_step: Callable[[pd.DataFrame], None] | None = None,
) -> pd.DataFrame:
    """Train every step of the ladder, measure it, and return what each adds; steps that are done are not repeated.

    Parameters
    ----------
    dataset : ImageDataset
        Split.
    folder : path
        Where the runs are made.
    epochs : int
        Of every step.
    seed : int
    on_step : callable, optional
        Called with the table after each step.

    Returns
    -------
    DataFrame
        See `tabulate_ladder`.
    """
    folder, runs = Path(folder), []
    for step in STEPS:
        options = TrainingOptions(**{**PLAIN, **step.training, "epochs": epochs, "patience": epochs, "seed": seed})
        if step.learns_from_last:
            options = replace(options, teacher=str(runs[-1]))
        run_dir = train_model(
            step.model, dataset, folder / step.name, options, model_options=dict(step.model_options), resume=True
        )
        record_metrics(run_dir, dataset)
        runs.append(run_dir)
        if on_step is not None:
            on_step(tabulate_ladder(tabulate_runs(runs)))
    return tabulate_ladder(tabulate_runs(runs))


def tabulate_ladder(table: pd.DataFrame) -> pd.DataFrame:
    """Return the steps of the ladder that are in a table of runs, in their order.

    Parameters
    ----------
    table : DataFrame
        As from `tabulate_runs` or ``reports/experiments.csv``, by the runs' names.

    Returns
    -------
    DataFrame
        One row a step: ``adds``, ``parameters``, ``s/epoch``, ``val accuracy`` of the mean of both views, ``gain`` over
        the step before in points, ``test accuracy`` and ``test macro_f1``. No rows where there are none.
    """
    steps = [step for step in STEPS if step.name in table.index]
    columns = ["parameters", "epochs", "s/epoch", "val accuracy", "test accuracy", "test macro_f1"]
    rows = table.reindex(index=[step.name for step in steps], columns=columns)
    rows.insert(0, "adds", [step.adds for step in steps])
    rows.insert(5, "gain", rows["val accuracy"].astype(float).diff() * 100)
    return rows
