"""What a treatment of class imbalance does, over several seeds: trainings that differ in nothing else."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ferlib.artifacts import METRICS, read_config, read_metrics
from ferlib.datasets import ImageDataset
from ferlib.models import get_model
from ferlib.prepare import STRATEGIES
from ferlib.training.options import TrainingOptions
from ferlib.training.record import record_metrics
from ferlib.training.run import train_model

#: What a study compares: weights in the loss beside the ways to resample.
TREATMENTS = ("none", "class_weight", *(name for name in STRATEGIES if name != "none"))


def train_study(
    dataset: ImageDataset,
    folder: str | Path,
    model: str,
    *,
    treatments: Sequence[str] = TREATMENTS,
    seeds: Sequence[int] = (0, 1, 2),
    options: TrainingOptions | None = None,
    model_options: dict[str, Any] | None = None,
) -> pd.DataFrame:
    """Train a model once for each treatment and seed, measure it, and return what each treatment does.

    What is done already is not repeated, so that an interrupted study goes on.

    Parameters
    ----------
    dataset : ImageDataset
        Split; only its train split is resampled.
    folder : path
        Where the runs are made, as ``MODEL-TREATMENT-SEED``.
    model : str
    treatments : sequence of str
        Of `TREATMENTS`.
    seeds : sequence of int
        Of the weights, the order, the augmentation and the resampling; the split stays.
    options : TrainingOptions, optional
        The model's own when None.
    model_options : dict, optional
        Keywords of the model's builder.

    Returns
    -------
    DataFrame
        See `tabulate_study`.
    """
    base = options or TrainingOptions(**get_model(model).training)
    for seed in seeds:
        for treatment in treatments:
            weighted = treatment == "class_weight"
            changed = replace(
                base,
                seed=seed,
                resample="none" if weighted else treatment,
                class_weight="balanced" if weighted else "none",
            )
            run_dir = train_model(
                model,
                dataset,
                Path(folder) / f"{model}-{treatment}-{seed}",
                changed,
                model_options=model_options,
                resume=True,
            )
            if not (run_dir / METRICS).exists():
                record_metrics(run_dir, dataset)
    return tabulate_study(folder)


def tabulate_study(folder: str | Path) -> pd.DataFrame:
    """Return the mean of each treatment's figures over the seeds, on the test split.

    Parameters
    ----------
    folder : path
        Where `train_study` made its runs.

    Returns
    -------
    DataFrame
        One row a model and treatment: ``model``, ``treatment``, ``seeds``, and of ``accuracy``, ``macro_f1`` and the
        ``recall`` and ``precision`` of the rarest class (``rarest``) the mean and ``±``, half the width of the 95 %
        interval of that mean by Student's t; not-a-number for a single seed.
    """
    rows = []
    for config_path in sorted(Path(folder).glob("*/config.json")):
        run = config_path.parent
        config, metrics = read_config(run), read_metrics(run).get("test")
        if metrics is None:
            continue
        training = config["training"]
        rarest = min(config["class_names"], key=lambda name: config["data"]["pictures"]["train"][name])
        rows.append(
            {
                "model": config["model"],
                "treatment": "class_weight" if training["class_weight"] != "none" else training["resample"],
                "accuracy": metrics["accuracy"],
                "macro_f1": metrics["macro_f1"],
                "rarest": rarest,
                "recall": metrics["per_class"][rarest]["recall"],
                "precision": metrics["per_class"][rarest]["precision"],
            }
        )
    table = pd.DataFrame(rows, columns=["model", "treatment", "rarest", "accuracy", "macro_f1", "recall", "precision"])
    summary = [
        _summarise(model, treatment, group)
        for (model, treatment), group in table.groupby(["model", "treatment"], sort=False)
    ]
    order = {name: number for number, name in enumerate(TREATMENTS)}
    return pd.DataFrame(sorted(summary, key=lambda row: (row["model"], order[row["treatment"]])))


def _summarise(model: str, treatment: str, group: pd.DataFrame) -> dict:
    """Return one row of the table."""
    from scipy.stats import t

    n = len(group)
    row = {"model": model, "treatment": treatment, "seeds": n, "rarest": group["rarest"].iloc[0]}
    for name in ("accuracy", "macro_f1", "recall", "precision"):
        row[name] = float(group[name].mean())
        row[f"± {name}"] = float(t.ppf(0.975, n - 1) * group[name].std(ddof=1) / np.sqrt(n)) if n > 1 else np.nan
    return row
