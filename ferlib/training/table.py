"""Find finished runs and compare them in one table."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ferlib.core.errors import DataError
from ferlib.evaluation import best_epoch
from ferlib.models import get_model
from ferlib.runs.folder import ASSETS, CONFIG, PRETRAINED, Run, model_title
from ferlib.runs.records import RunConfig
from ferlib.training.options import TrainingOptions
from ferlib.training.recipes import default_options

_COLUMNS = (
    *("model", "data", "options", "parameters", "MB", "epochs", "best epoch", "seconds", "s/epoch", "views"),
    *("val accuracy", "val low", "val high", "val macro_f1", "test accuracy", "test low", "test high", "test macro_f1"),
)
_MEASURES = ("MB", "seconds", "s/epoch", *(name for name in _COLUMNS if name.startswith(("val", "test"))))
_COUNTS = ("parameters", "epochs", "best epoch")


def find_runs(folder: str | os.PathLike[str], class_names: Sequence[str]) -> dict[str, Run]:
    """Return the finished runs in a folder that were trained on some classes, then the pretrained models that fit.

    The keys are the names of the runs' folders; those of pretrained models are ``compact_cnn (pretrained)`` and
    ``fast_cnn (pretrained, fast)``, for example.
    """
    runs = {path.parent.name: Run(path.parent) for path in sorted(Path(folder).glob(f"*/{CONFIG}"))}
    # The default model is the last.
    for name in reversed(PRETRAINED):
        pretrained = Run(ASSETS / name)
        if pretrained.path.exists():
            runs[model_title(pretrained, pretrained.config)] = pretrained
    wanted = ("finished", tuple(class_names))
    return {name: run for name, run in runs.items() if (run.config.status, run.config.class_names) == wanted}


def tabulate_runs(runs: Sequence[str | os.PathLike[str]]) -> pd.DataFrame:
    """Return a table of runs, one row each, indexed by folder name: model, options, training time, size and accuracy.

    ``options`` are those that differ from the model's defaults. ``parameters`` is the number of weights, ``MB`` the
    size of the files that prediction loads (10^6 bytes). ``seconds`` is the training time, ``s/epoch`` the median of
    the epochs. Accuracies are fractions, measured with the test-time augmentation in ``views``; ``low`` and ``high``
    limit their 95 % intervals. Values that a run has not recorded are NaN.
    """
    table = pd.DataFrame.from_dict({Run(run).name: _describe(Run(run)) for run in runs}, orient="index")
    # pandas gives columns without values the type object.
    types = dict.fromkeys(_MEASURES, float) | dict.fromkeys(_COUNTS, "Int64")
    return table.astype({name: types[name] for name in table if name in types})


def read_experiments(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Return the table of runs that ``ferlib runs --output-csv`` writes; empty if the file does not exist.

    Raises
    ------
    DataError
        The file is not such a table.
    """
    path = Path(path)
    if not path.exists():
        return pd.DataFrame(columns=list(_COLUMNS))
    try:
        table = pd.read_csv(path, index_col="run", dtype={"options": str})
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} cannot be read as a table of runs ({error}).") from None
    return table.fillna({"options": ""}).astype(dict.fromkeys(_COUNTS, "Int64"))


def describe_options(config: RunConfig) -> str:
    """Return a run's options that differ from its model's defaults, such as ``epochs=12 augmentation.crop=0.8``."""
    spec = get_model(config.model)
    # The members of an ensemble of finished runs record their own training options.
    training = {} if config.model_options.get("members") else config.training
    # Options that no longer exist are not listed.
    training = {name: value for name, value in training.items() if name in TrainingOptions.__dataclass_fields__}
    if training.get("teacher"):
        training["teacher"] = config.teacher.model if config.teacher else "yes"
    recorded = _flatten({**training, **config.model_options})
    defaults = _flatten({**spec.defaults, **default_options(spec.name).to_config()})
    changed = {name: value for name, value in recorded.items() if value != defaults.get(name)}
    return " ".join(f"{name}={_shorten(value)}" for name, value in changed.items())


def describe_recipe(run: Run) -> list[str]:
    """Return sentences on how a run was trained: its network, data, initial weights, teacher, votes and options."""
    config = run.config
    training, data = config.training, config.data
    counts = sum(config.image_counts.get("train", {}).values())
    start = f"the weights of the run {config.init_from.model}" if config.init_from else "random weights"
    if config.model == "face_resnet" and config.model_options.get("pretrained", True) and not config.init_from:
        start = "the weights of a face-recognition network"
    epochs = count_epochs(run.history) or training.get("epochs")
    lines = [
        f"network: {config.model}, {config.parameters or 0:,} weights, {describe_options(config)}",
        f"data: {counts:,} training images of {data.title if data else 'unknown data'}",
        f"start: {start}",
        f"training: {epochs} epochs of {training.get('optimizer')}, learning rate {training.get('learning_rate')} "
        f"({training.get('schedule')}), batches of {training.get('batch_size')}",
    ]
    if training.get("teacher") or config.teacher:
        weight = training.get("distillation_weight", 0)
        model = config.teacher.model if config.teacher else "a run"
        lines.append(f"teacher: {model}; it has a share of {weight:.0%} in the targets")
    if training.get("votes") or config.votes:
        lines.append("votes: those of ten raters (FER+), learned by a second output")
    return lines


def count_epochs(history: Sequence[Mapping[str, float]]) -> int:
    """Return the number of epochs of a history."""
    return int(history[-1]["epoch"]) if history else 0


def _describe(run: Run) -> dict[str, Any]:
    config, history, metrics = run.config, run.history, run.metrics
    # A history that was recorded elsewhere may have one row for several epochs.
    steps = np.diff([0, *(row["epoch"] for row in history)])
    seconds = [row["seconds"] for row in history]
    row: dict[str, Any] = {
        "model": config.model,
        "data": config.data.title if config.data else None,
        "options": describe_options(config),
        "parameters": config.parameters,
        "MB": sum(path.stat().st_size for path in _model_files(run)) / 1e6,
        "epochs": count_epochs(history) or None,
        "best epoch": best_epoch(history) if history else None,
        "seconds": sum(seconds) or config.seconds,
        "s/epoch": float(np.median(np.divide(seconds, steps))) if seconds else None,
        "views": config.test_time_augmentation,
    }
    for split in ("val", "test"):
        measured = metrics.get(split)
        row[f"{split} accuracy"] = measured and measured.accuracy
        row[f"{split} low"], row[f"{split} high"] = measured.intervals["accuracy"] if measured else (None, None)
        row[f"{split} macro_f1"] = measured and measured.macro_f1
    return row


def _model_files(run: Run) -> list[Path]:
    """Return the files that prediction loads from a run and from its members."""
    own = [run.model_file] if run.model_file else []
    return own + [path for member in run.members for path in _model_files(member)]


def _flatten(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as JSON has them, with ``augmentation.NAME`` for the fields of the augmentation."""
    flat = json.loads(json.dumps(options, default=str))
    if isinstance(flat.get("augmentation"), dict):
        flat |= {f"augmentation.{name}": value for name, value in flat.pop("augmentation").items()}
    elif "augmentation" in flat:
        flat["augmentation"] = "none"
    return flat


def _shorten(value: Any) -> str:
    """Return a value without spaces: numbers with four digits, the names of folders, lists separated by commas."""
    if isinstance(value, str) and "/" in value:
        value = value.split(",")
    if isinstance(value, list):
        return ",".join(Path(item).name if isinstance(item, str) else str(item) for item in value)
    return "none" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value).replace(" ", "")
