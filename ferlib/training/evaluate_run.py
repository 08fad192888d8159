"""Measure finished runs, and find and compare them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ferlib.core.errors import DataError
from ferlib.core.files import write_json
from ferlib.data import ImageDataset
from ferlib.evaluation import best_epoch, evaluate_predictions, measure_robustness
from ferlib.evaluation.calibration import fit_calibration
from ferlib.evaluation.card import write_model_card
from ferlib.models import get_model
from ferlib.runs.classifier import load_classifier
from ferlib.runs.folder import (
    CONFIG,
    MEMBERS,
    MODEL_FILES,
    Run,
    pretrained_run_dir,
    read_config,
    read_history,
    read_metrics,
)
from ferlib.runs.records import Metrics
from ferlib.training.recipes import default_options

#: What the project has tried, and what came of it.
EXPERIMENTS = Path(__file__).parents[2] / "reports" / "experiments.csv"

_COLUMNS = (
    *("model", "data", "options", "parameters", "MB", "epochs", "best epoch", "seconds", "s/epoch", "views"),
    *("val accuracy", "val low", "val high", "val macro_f1", "test accuracy", "test low", "test high", "test macro_f1"),
)
_MEASURES = ("MB", "seconds", "s/epoch", *(name for name in _COLUMNS if name.startswith(("val", "test"))))
_COUNTS = ("parameters", "epochs", "best epoch")


def record_metrics(run_dir: str | Path, dataset: ImageDataset, *, robustness: bool = False) -> dict[str, Metrics]:
    """Calibrate a finished run on val, measure it on val and test, and write what was found into its folder.

    That is the calibration in ``config.json``, ``metrics.json`` and ``model_card.md``.

    Parameters
    ----------
    run_dir : path
    dataset : ImageDataset
        Split as for the training, so that val is what the training chose by.
    robustness : bool
        Also measure the test images shifted, scaled and turned, which takes nine times as long.

    Returns
    -------
    dict
        Split names, those that the data have, to metrics.
    """
    _calibrate(Path(run_dir), dataset)
    classifier = load_classifier(run_dir)
    metrics = {}
    for split in ("val", "test"):
        if split in dataset.splits:
            part = dataset.split(split)
            y_proba = classifier.predict_proba(part.images)
            metrics[split] = evaluate_predictions(part.labels, y_proba, classifier.class_names)
            if robustness and split == "test":
                accuracies = measure_robustness(classifier.predict_proba, part.images, part.labels)
                metrics[split] = replace(metrics[split], robustness=accuracies)
    run = Run(run_dir)
    run.write_metrics(metrics)
    run.write_card(write_model_card(classifier.config, metrics, run.history))
    return metrics


def _calibrate(run_dir: Path, dataset: ImageDataset) -> None:
    """Fit the run's calibration on val, unless the data have none.

    A run whose imbalance was treated gets one temperature: biases that fit val's own shares of the classes would take
    back what the treatment gave the rare ones.
    """
    if "val" not in dataset.splits:
        return
    config = read_config(run_dir)
    config.pop("calibration", None)
    write_json(run_dir / CONFIG, config)
    val = dataset.split("val")
    training = config.get("training", {})
    treated = training.get("resample", "none") != "none" or training.get("class_weight", "none") != "none"
    y_proba = load_classifier(run_dir).predict_proba(val.images)
    calibration = fit_calibration(val.labels, y_proba, per_class=not treated)
    write_json(run_dir / CONFIG, {**config, "calibration": asdict(calibration)})


def find_runs(folder: str | Path, class_names: Sequence[str]) -> list[Path]:
    """Return the finished runs in a folder that tell these classes apart, then the delivered model if it does too.

    Parameters
    ----------
    folder : path
        Holds run folders; may be missing.
    class_names : sequence of str
    """
    candidates = [path.parent for path in sorted(Path(folder).glob("*/config.json"))]
    configs = {run: read_config(run) for run in [*candidates, pretrained_run_dir()]}
    return [
        run
        for run, config in configs.items()
        if config.get("status") == "finished" and tuple(config["class_names"]) == tuple(class_names)
    ]


def tabulate_runs(runs: Sequence[str | Path]) -> pd.DataFrame:
    """Return a table of runs: what was trained on what, how, how long, how large, and how good on val and test.

    Returns
    -------
    DataFrame
        One row a run, by folder name. ``options`` are those that differ from the model's own. ``parameters`` is the
        number of weights, ``MB`` the model as prediction loads it (10^6 bytes), ``seconds`` the time of all epochs, or
        of the fit of a model without epochs, ``s/epoch`` their median. ``val accuracy`` and so on are fractions,
        averaged over the views that ``views`` names, ``low`` and ``high`` the limits of the accuracy's 95 % interval;
        what a run has not recorded is not-a-number.
    """
    rows = {Path(run).name: _describe(Path(run)) for run in runs}
    table = pd.DataFrame.from_dict(rows, orient="index")
    # A column that no run has recorded would else hold objects.
    types = dict.fromkeys(_MEASURES, float) | dict.fromkeys(_COUNTS, "Int64")
    return table.astype({name: types[name] for name in table if name in types})


def read_experiments(path: str | Path = EXPERIMENTS) -> pd.DataFrame:
    """Return the table of experiments that ``python -m ferlib.runs.__main__ --csv`` keeps, by the runs' names.

    Parameters
    ----------
    path : path
        The project's own ``reports/experiments.csv`` unless another is named.

    Returns
    -------
    DataFrame
        As from `tabulate_runs`; empty if the file does not exist.

    Raises
    ------
    DataError
        The file is no such table.
    """
    path = Path(path)
    if not path.exists():
        return pd.DataFrame(columns=_COLUMNS)
    try:
        table = pd.read_csv(path, index_col="run", dtype={"options": str})
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} cannot be read as a table of runs ({error}).") from None
    return table.fillna({"options": ""}).astype(dict.fromkeys(_COUNTS, "Int64"))


def _describe(run: Path) -> dict[str, Any]:
    """Return a run's row of the table."""
    config, history, metrics = read_config(run), read_history(run), read_metrics(run)
    models = [path for folder in [run, *run.rglob(f"{MEMBERS}/*")] if (path := _model_file(folder)) is not None]
    row = {
        "model": config["model"],
        "data": config["data"]["title"],
        "options": describe_options(config),
        "parameters": config.get("parameters"),
        "MB": sum(path.stat().st_size for path in models) / 1e6,
        "epochs": len(history) or None,
        "best epoch": best_epoch(history) if history else None,
        "seconds": sum(epoch["seconds"] for epoch in history) or config.get("seconds"),
        "s/epoch": float(np.median([epoch["seconds"] for epoch in history])) if history else None,
        "views": config.get("test_time_augmentation", "none"),
    }
    for split in ("val", "test"):
        measured = metrics.get(split, {})
        row[f"{split} accuracy"] = measured.get("accuracy")
        row[f"{split} low"], row[f"{split} high"] = measured.get("intervals", {}).get("accuracy", (None, None))
        row[f"{split} macro_f1"] = measured.get("macro_f1")
    return row


def describe_options(config: dict[str, Any]) -> str:
    """Return in one line the options of a run that are not its model's own, as ``epochs=12 augmentation.crop=1``."""
    spec = get_model(config["model"])
    # Of an ensemble of finished runs, each member's own configuration says how it was trained.
    training = {} if config.get("model_options", {}).get("members") else config.get("training", {})
    recorded = _flatten({**training, **config.get("model_options", {})})
    default = _flatten({**spec.defaults, **default_options(spec.name).to_config()})
    if recorded.get("teacher"):
        # Where the teacher's folder lay says nothing to a reader.
        recorded["teacher"] = config.get("teacher", {}).get("model", "yes")
    if not training:
        recorded.pop("augmentation")
    changed = {name: value for name, value in recorded.items() if value != default.get(name)}
    return " ".join(f"{name}={_shorten(value)}" for name, value in changed.items())


def _flatten(options: dict[str, Any]) -> dict[str, Any]:
    """Return options as JSON has them, those of the augmentation beside the others."""
    options = json.loads(json.dumps(options, default=str))
    augmentation = options.pop("augmentation", None)
    if isinstance(augmentation, dict):
        options |= {f"augmentation.{name}": value for name, value in augmentation.items()}
    else:
        options["augmentation"] = "none"
    return options


def _shorten(value: Any) -> str:
    """Return a value without blanks: a fraction with four digits, of a folder its name."""
    if isinstance(value, str) and "/" in value:
        value = value.split(",")
    if isinstance(value, list):
        return ",".join(Path(item).name if isinstance(item, str) else str(item) for item in value)
    return "none" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value).replace(" ", "")


def _model_file(folder: Path) -> Path | None:
    """Return the file that prediction loads from a run's folder; an ensemble's has none of its own."""
    return next((folder / name for name in MODEL_FILES if (folder / name).exists()), None)
