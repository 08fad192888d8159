"""What a treatment of class imbalance does, over several seeds: trainings that differ in nothing else."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ferlib.core.errors import DataError
from ferlib.data import ImageDataset
from ferlib.preprocessing import STRATEGIES
from ferlib.runs.folder import METRICS, read_config, read_metrics
from ferlib.training.evaluate_run import record_metrics
from ferlib.training.fit import train_model
from ferlib.training.options import TrainingOptions
from ferlib.training.recipes import default_options

#: What a study compares: weights in the loss beside the ways to resample.
TREATMENTS = ("none", "class_weight", *(name for name in STRATEGIES if name != "none"))

#: What the project's own study measured.
STUDY = Path(__file__).parents[2] / "reports" / "resampling.csv"

#: The figures of a run that `summarize_study` averages.
FIGURES = ("accuracy", "macro_f1", "recall", "precision")

_COLUMNS = ("model", "treatment", "seed", "epochs", "rarest", *FIGURES)


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
    """Train a model once for each treatment and seed, and return what each training came to.

    Every network is given as many steps as without a treatment: resampling changes how long an epoch is, so it gets
    fewer or more of them. What is done already is not repeated, so that an interrupted study goes on.

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
        See `collect_study`.
    """
    base = options or default_options(model)
    sizes = dataset.counts()["train"].to_numpy()
    for seed in seeds:
        for treatment in treatments:
            weighted = treatment == "class_weight"
            epochs = _same_steps(base.epochs, sizes, treatment)
            changed = replace(
                base,
                seed=seed,
                epochs=epochs,
                warmup_epochs=base.warmup_epochs * epochs / base.epochs,
                # Stopping early would give some fewer steps than others.
                patience=epochs,
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
    return collect_study(folder)


def _same_steps(epochs: int, sizes: np.ndarray, treatment: str) -> int:
    """Return how many epochs of a resampled train split have as many steps as these of the split itself."""
    sizes = sizes[sizes > 0]
    resampled = {"none": sizes.sum(), "class_weight": sizes.sum(), "random_under": len(sizes) * sizes.min()}
    return max(1, round(epochs * sizes.sum() / resampled.get(treatment, len(sizes) * sizes.max())))


def collect_study(folder: str | Path) -> pd.DataFrame:
    """Return what each training of a study came to on the test split.

    Parameters
    ----------
    folder : path
        Where `train_study` made its runs.

    Returns
    -------
    DataFrame
        One row a run: ``model``, ``treatment``, ``seed``, ``epochs``, ``rarest`` (the class with the fewest training
        images), ``accuracy``, ``macro_f1``, and that class's ``recall`` and ``precision``.
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
                "seed": training["seed"],
                "epochs": training["epochs"],
                "rarest": rarest,
                "accuracy": metrics["accuracy"],
                "macro_f1": metrics["macro_f1"],
                "recall": metrics["per_class"][rarest]["recall"],
                "precision": metrics["per_class"][rarest]["precision"],
            }
        )
    order = {name: number for number, name in enumerate(TREATMENTS)}
    rows.sort(key=lambda row: (row["model"], order[row["treatment"]], row["seed"]))
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def read_study(path: str | Path = STUDY) -> pd.DataFrame:
    """Return the rows of `collect_study` that were written as CSV; none if the file does not exist.

    Raises
    ------
    DataError
        The file is no such table.
    """
    path = Path(path)
    if not path.exists():
        return pd.DataFrame(columns=list(_COLUMNS))
    try:
        return pd.read_csv(path)[list(_COLUMNS)]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is no table of a study ({error}).") from None


def summarize_study(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what each treatment does on average over the seeds.

    Parameters
    ----------
    rows : DataFrame
        As from `collect_study`.

    Returns
    -------
    DataFrame
        One row a model and treatment: ``model``, ``treatment``, ``seeds``, ``rarest``, and of each of `FIGURES` the
        mean and, as ``± accuracy`` and so on, half the width of the 95 % interval of that mean by Student's t;
        not-a-number for a single seed.
    """
    from scipy.stats import t

    summary = []
    for (model, treatment), group in rows.groupby(["model", "treatment"], sort=False):
        n = len(group)
        row = {"model": model, "treatment": treatment, "seeds": n, "rarest": group["rarest"].iloc[0]}
        for name in FIGURES:
            row[name] = float(group[name].mean())
            row[f"± {name}"] = float(t.ppf(0.975, n - 1) * group[name].std(ddof=1) / np.sqrt(n)) if n > 1 else np.nan
        summary.append(row)
    return pd.DataFrame(summary)
