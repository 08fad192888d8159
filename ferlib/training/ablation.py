"""Ablation: from a plain network to the pretrained one, one change at a time."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ferlib.data import ImageDataset
from ferlib.preprocessing import Augmentation
from ferlib.runs.folder import Run
from ferlib.training.fit import train_model
from ferlib.training.options import TrainingOptions
from ferlib.training.table import tabulate_runs


@dataclass(frozen=True)
class Variant:
    """One training of the ablation.

    Attributes
    ----------
    name : str
        Name of the run folder; its number orders the variants.
    change : str
        What differs from the baseline.
    model : str
    model_options : mapping
    training : mapping
        Training options that differ from `PLAIN`.
    baseline : str
        Name of the variant to compare with; the previous variant when empty.
    uses_teacher : bool
        Whether the baseline is also the teacher.
    uses_votes : bool
        Whether it learns raters' votes; it is skipped without them.
    """

    name: str
    change: str
    model: str = "compact_cnn"
    model_options: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    baseline: str = ""
    uses_teacher: bool = False
    uses_votes: bool = False


#: Training options of the first network, as in most introductions.
PLAIN = {
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "schedule": "constant",
    "label_smoothing": 0.0,
    "mixup": 0.0,
    "augmentation": None,
}

_SHIFT = Augmentation(rotation=0, scale=0, shear=0, brightness=0, contrast=0, erase=0, blur=0, noise=0)
_ROTATE = replace(_SHIFT, rotation=10, scale=0.12, brightness=0.05, contrast=0.15)
_ERASE = replace(_ROTATE, erase=0.4)

# Half of compact_cnn's channels: an epoch takes a quarter of the time.
_HALF: dict[str, Any] = {"widths": (32, 64, 128)}
_HALF_NO_SE = {**_HALF, "se_reduction": 0}
_COSINE: dict[str, Any] = {"optimizer": "adamw", "learning_rate": 2e-3, "schedule": "cosine"}
_SMOOTH: dict[str, Any] = {**_COSINE, "augmentation": _ERASE, "label_smoothing": 0.1}
_BASE = "09_squeeze"


def _step(name: str, change: str, **training: Any) -> Variant:
    """Return a variant without squeeze and excitation, to compare with the previous one."""
    return Variant(name, change, model_options=_HALF_NO_SE, training=training)


def _addition(name: str, change: str, **training: Any) -> Variant:
    """Return a variant to compare with the base."""
    return Variant(name, change, model_options=_HALF, training={**_SMOOTH, **training}, baseline=_BASE)


VARIANTS = (
    Variant("01_plain", "plain network, Adam", "plain_cnn"),
    Variant("02_normalized", "batch normalization", "plain_cnn", {"batch_norm": True}),
    _step("03_residual", "three residual stages, average pooling"),
    _step("04_schedule", "AdamW, warm-up, cosine decay", **_COSINE),
    _step("05_shifted", "flips and shifts", **_COSINE, augmentation=_SHIFT),
    _step("06_turned", "rotation, scale, brightness and contrast", **_COSINE, augmentation=_ROTATE),
    _step("07_erased", "random erasing", **_COSINE, augmentation=_ERASE),
    _step("08_smoothed", "label smoothing", **_SMOOTH),
    Variant(_BASE, "squeeze and excitation", model_options=_HALF, training=_SMOOTH),
    _addition("10_mixup", "mixup", mixup=0.2),
    _addition("11_averaged", "averaged weights", ema=0.995),
    _addition("12_cropped", "random crops of 5/6", augmentation=replace(_ERASE, crop=5 / 6)),
    _addition("13_noisy", "blur and noise", augmentation=replace(_ERASE, blur=0.12, noise=0.15)),
    replace(_addition("14_distilled", "distillation from itself"), uses_teacher=True),
    replace(_addition("15_wider", "twice as many channels"), model_options={}),
    replace(_addition("16_votes", "FER+ votes as an auxiliary output"), uses_votes=True),
)


def train_ablation(
    dataset: ImageDataset,
    folder: str | os.PathLike[str],
    *,
    epochs: int,
    seed: int = 0,
    votes: str | os.PathLike[str] | None = None,
) -> pd.DataFrame:
    """Train every variant and return what each change contributes; finished variants are not trained again.

    Parameters
    ----------
    dataset : ImageDataset
        Split.
    folder : path
        Where the run folders are written.
    epochs, seed : int
        Of each variant.
    votes : path, optional
        CSV file of FER+ votes for the images.

    Returns
    -------
    DataFrame
        See `tabulate_ablation`.
    """
    runs: list[Run] = []
    for variant in VARIANTS:
        if variant.uses_votes and votes is None:
            continue
        changes = dict(variant.training)
        if variant.uses_teacher:
            changes["teacher"] = str(Path(folder) / variant.baseline)
        if variant.uses_votes:
            changes["votes"] = str(votes)
        options = TrainingOptions(**{**PLAIN, **changes, "epochs": epochs, "patience": epochs, "seed": seed})
        run_dir = Path(folder) / variant.name
        runs.append(
            train_model(variant.model, dataset, run_dir, options, model_options=variant.model_options, resume=True)
        )
    return tabulate_ablation(tabulate_runs(runs))


def tabulate_ablation(table: pd.DataFrame) -> pd.DataFrame:
    """Return the variants in a table of runs, in their order.

    Parameters
    ----------
    table : DataFrame
        From `ferlib.training.tabulate_runs` or `ferlib.training.read_experiments`, indexed by the names of the runs.

    Returns
    -------
    DataFrame
        One row per variant: ``change``, ``baseline`` (the number of the variant to compare with), ``parameters``,
        ``epochs``, ``s/epoch``, ``val accuracy`` with its 95 % interval (``val low``, ``val high``), ``gain`` over the
        baseline in percentage points, ``test accuracy`` and ``test macro_f1``.
    """
    variants = [variant for variant in VARIANTS if variant.name in table.index]
    previous = dict(zip([variant.name for variant in VARIANTS], ["", *(v.name for v in VARIANTS)], strict=False))
    baselines = [variant.baseline or previous[variant.name] for variant in variants]
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
    rows = table.reindex(index=[variant.name for variant in variants], columns=columns)
    rows.insert(0, "change", [variant.change for variant in variants])
    rows.insert(1, "baseline", [baseline.split("_")[0] for baseline in baselines])
    accuracy = rows["val accuracy"].astype(float)
    rows.insert(6, "gain", 100 * (accuracy.to_numpy() - accuracy.reindex(baselines).to_numpy()))
    return rows
