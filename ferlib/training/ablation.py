"""From a plain network to the delivered one, an ingredient at a time: what each of them adds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ferlib.data import ImageDataset
from ferlib.preprocessing import Augmentation
from ferlib.training.evaluate_run import record_metrics, tabulate_runs
from ferlib.training.fit import train_model
from ferlib.training.options import TrainingOptions


@dataclass(frozen=True)
class Step:
    """One training of the ladder.

    Parameters
    ----------
    name : str
        The run's folder; its number sorts it.
    adds : str
        What is new against the step before, or against `beside`.
    model : str
    model_options : mapping
    training : mapping
        All that differs from `PLAIN`.
    beside : str
        The step that this one is a variant of; the step before when empty.
    taught : bool
        Whether that step is also its teacher.
    voted : bool
        Whether it learns raters' votes too; it is left out where there are none.
    """

    name: str
    adds: str
    model: str
    model_options: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    beside: str = ""
    taught: bool = False
    voted: bool = False


#: How the first network is trained: as in most introductions.
PLAIN = {
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "schedule": "constant",
    "label_smoothing": 0.0,
    "mixup": 0.0,
    "augmentation": None,
}

_SHIFTED = Augmentation(
    rotation=0, scale=0, shift=0.1, shear=0, flip=True, brightness=0, contrast=0, erase=0, blur=0, noise=0
)
_TURNED = replace(_SHIFTED, rotation=10, scale=0.12, brightness=0.05, contrast=0.15)
_ERASED = replace(_TURNED, erase=0.4)

# Half of `compact_cnn`'s channels: an epoch takes a quarter of the time, and what adds to a small network can be seen
# after as many epochs as it needs.
_SQUEEZED = {"widths": (32, 64, 128)}
_WITHOUT_SQUEEZE = {**_SQUEEZED, "se_reduction": 0}
_SCHEDULED = {"optimizer": "adamw", "learning_rate": 2e-3, "schedule": "cosine"}
_SMOOTHED = {**_SCHEDULED, "augmentation": _ERASED, "label_smoothing": 0.1}
_BASE = "09_squeeze"

STEPS = (
    Step("01_plain", "a plain network, Adam, nothing else", "plain_cnn"),
    Step("02_normalized", "batch normalization", "plain_cnn", {"batch_norm": True}),
    Step("03_residual", "three residual stages instead, average pooling", "compact_cnn", _WITHOUT_SQUEEZE),
    Step("04_schedule", "AdamW, warm-up and cosine", "compact_cnn", _WITHOUT_SQUEEZE, _SCHEDULED),
    Step(
        "05_shifted",
        "mirror images and shifts",
        "compact_cnn",
        _WITHOUT_SQUEEZE,
        {**_SCHEDULED, "augmentation": _SHIFTED},
    ),
    Step("06_turned", "turns, sizes, light", "compact_cnn", _WITHOUT_SQUEEZE, {**_SCHEDULED, "augmentation": _TURNED}),
    Step("07_erased", "random erasing", "compact_cnn", _WITHOUT_SQUEEZE, {**_SCHEDULED, "augmentation": _ERASED}),
    Step("08_smoothed", "label smoothing", "compact_cnn", _WITHOUT_SQUEEZE, _SMOOTHED),
    Step(_BASE, "squeeze and excitation", "compact_cnn", _SQUEEZED, _SMOOTHED),
    Step("10_mixup", "mixup", "compact_cnn", _SQUEEZED, {**_SMOOTHED, "mixup": 0.2}, _BASE),
    Step("11_averaged", "an average of the weights", "compact_cnn", _SQUEEZED, {**_SMOOTHED, "ema": 0.995}, _BASE),
    Step(
        "12_cropped",
        "random crops of 5/6 of the side",
        "compact_cnn",
        _SQUEEZED,
        {**_SMOOTHED, "augmentation": replace(_ERASED, crop=5 / 6)},
        _BASE,
    ),
    Step(
        "13_spoiled",
        "blur and noise",
        "compact_cnn",
        _SQUEEZED,
        {**_SMOOTHED, "augmentation": replace(_ERASED, blur=0.12, noise=0.15)},
        _BASE,
    ),
    Step("14_taught", "its own answers as a teacher", "compact_cnn", _SQUEEZED, _SMOOTHED, _BASE, taught=True),
    Step("15_wider", "twice as many channels", "compact_cnn", {}, _SMOOTHED, _BASE),
    Step("16_voted", "raters' votes by a second output", "compact_cnn", _SQUEEZED, _SMOOTHED, _BASE, voted=True),
)


def train_ablation(
    dataset: ImageDataset,
    folder: str | Path,
    *,
    epochs: int,
    seed: int = 0,
    votes: str | Path | None = None,
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
    votes : path, optional
        FER+'s votes for the images.
    on_step : callable, optional
        Called with the table after each step.

    Returns
    -------
    DataFrame
        See `tabulate_ablation`.
    """
    folder, runs = Path(folder), []
    for step in STEPS:
        if step.voted and votes is None:
            continue
        options = TrainingOptions(**{**PLAIN, **step.training, "epochs": epochs, "patience": epochs, "seed": seed})
        if step.taught:
            options = replace(options, teacher=str(folder / step.beside))
        if step.voted:
            options = replace(options, votes=str(votes))
        run_dir = train_model(
            step.model, dataset, folder / step.name, options, model_options=dict(step.model_options), resume=True
        )
        record_metrics(run_dir, dataset)
        runs.append(run_dir)
        if on_step is not None:
            on_step(tabulate_ablation(tabulate_runs(runs)))
    return tabulate_ablation(tabulate_runs(runs))


def tabulate_ablation(table: pd.DataFrame) -> pd.DataFrame:
    """Return the steps of the ladder that are in a table of runs, in their order.

    Parameters
    ----------
    table : DataFrame
        As from `tabulate_runs` or ``reports/experiments.csv``, by the runs' names.

    Returns
    -------
    DataFrame
        One row a step: ``adds``, ``to`` (the number of the step that it is added to), ``parameters``, ``epochs``,
        ``s/epoch``, ``val accuracy`` of the mean of both views with its 95 % interval (``val low``, ``val high``),
        ``gain`` over that step in points, ``test accuracy`` and ``test macro_f1``. No rows where there are none.
    """
    steps = [step for step in STEPS if step.name in table.index]
    before = dict(zip([step.name for step in STEPS], ["", *(step.name for step in STEPS)], strict=False))
    bases = [step.beside or before[step.name] for step in steps]
    columns = [
        "parameters",
        "epochs",
        "s/epoch",
        "val accuracy",
        "val low",
        "val high",
        "test accuracy",
        "test macro_f1",
    ]
    rows = table.reindex(index=[step.name for step in steps], columns=columns)
    rows.insert(0, "adds", [step.adds for step in steps])
    rows.insert(1, "to", [base.split("_")[0] for base in bases])
    accuracy = rows["val accuracy"].astype(float)
    rows.insert(6, "gain", 100 * (accuracy.to_numpy() - accuracy.reindex(bases).to_numpy()))
    return rows
