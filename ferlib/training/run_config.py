"""What a run is, so that it can be repeated and resumed, and what lies in its folder."""

import hashlib
import importlib.metadata
import json
import platform
import shutil
from pathlib import Path
from typing import Any

from ferlib import __version__
from ferlib.core.backend import import_keras
from ferlib.core.errors import ArtifactError, DataError
from ferlib.data import ImageDataset
from ferlib.models import ModelSpec
from ferlib.runs.folder import (
    CONFIG,
    HISTORY,
    KERAS_MODEL,
    MEMBERS,
    METRICS,
    MODEL_CARD,
    MODEL_FILES,
    OUT_OF_FOLD,
    read_config,
)
from ferlib.training.options import TrainingOptions

# What of a run's data has to be the same for it to be resumed.
_DATA_IDENTITY = ("sha256", "sample_size", "split", "pictures")

_PACKAGES = ("keras", "numpy", "opencv-python", "scikit-learn", "tensorflow", "jax", "torch")


def describe_run(
    spec: ModelSpec, dataset: ImageDataset, options: TrainingOptions, model_options: dict[str, Any]
) -> dict[str, Any]:
    """Return everything that is needed to repeat a run, as JSON can hold it."""
    versions = {"ferlib": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    config = {
        "model": spec.name,
        "kind": spec.kind,
        "class_names": list(dataset.class_names),
        "image_size": list(spec.image_size),
        "channels": spec.channels,
        # Mirror images show the same emotion; a network gains about a point from looking at both.
        "test_time_augmentation": "flip" if spec.kind == "cnn" else "none",
        "model_options": model_options,
        "training": options.to_config(),
        "data": {**dataset.info.to_json(), "pictures": dataset.counts().to_dict()},
        "versions": versions,
        "status": "training",
    }
    if spec.kind == "cnn":
        config["backend"] = import_keras().backend.backend()
    if options.teacher is not None:
        config["teacher"] = _describe_other_run(options.teacher)
    if options.init_from is not None:
        config["init_from"] = _describe_other_run(options.init_from)
    if options.votes is not None:
        config["votes"] = _describe_votes(options.votes)
    # A run to resume is compared with what JSON kept of it, which knows no tuples.
    return json.loads(json.dumps(config))


def _describe_other_run(run_dir: str) -> dict[str, Any]:
    """Return what tells a run from another: its model, and the hashes of its weights or of its members'."""
    files = sorted(path for name in MODEL_FILES for path in Path(run_dir).rglob(name) if name != KERAS_MODEL)
    return {
        "model": read_config(run_dir)["model"],
        "weights_sha256": [hashlib.sha256(path.read_bytes()).hexdigest() for path in files],
    }


def _describe_votes(path: str) -> dict[str, str]:
    """Return what tells a file of votes from another."""
    try:
        return {"sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest()}
    except OSError as error:
        raise DataError(f"The votes in {path} cannot be read: {error.strerror}.") from None


def require_same_run(old: dict[str, Any], new: dict[str, Any], run_dir: Path) -> None:
    """Raise unless a run is resumed with the data and the options that it was started with."""
    for part in ("model", "class_names", "model_options", "training", "data", "teacher", "init_from", "votes"):
        before, now = old.get(part), new.get(part)
        if part == "training" and isinstance(before, dict):
            # Options that are younger than the run had no effect on it.
            before = TrainingOptions.from_config(before).to_config()
        if part == "data" and isinstance(before, dict):
            # The same bytes dealt the same way are the same data, whatever their file is called.
            before, now = ({key: data.get(key) for key in _DATA_IDENTITY} for data in (before, now))
        if before != now:
            raise ArtifactError(
                f"{run_dir} was started with other {part.replace('_', ' ')}: "
                f"it has {_difference(before, now)}. Resume with the same, or name another folder."
            )


def _difference(old: Any, new: Any) -> str:
    """Say in a few words where two parts of a configuration differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [key for key in new if old.get(key) != new[key]]
        return ", ".join(f"{key} {old.get(key)!r} instead of {new[key]!r}" for key in keys[:3])
    return f"{old!r} instead of {new!r}"


def has_artifacts(run_dir: Path) -> bool:
    """Return whether a folder holds a run that somebody would miss; one that failed at its start is none."""
    return any(any(run_dir.glob(name)) for name in (*MODEL_FILES, MEMBERS, "checkpoint/last-*"))


def remove_checkpoint(run_dir: Path) -> None:
    """Delete what a training that was stopped would continue from."""
    shutil.rmtree(run_dir / "checkpoint", ignore_errors=True)


def remove_run(run_dir: Path) -> None:
    """Delete what a training writes, and nothing else that lies in the folder."""
    remove_checkpoint(run_dir)
    for folder in (MEMBERS, "logs"):
        shutil.rmtree(run_dir / folder, ignore_errors=True)
    for name in (CONFIG, HISTORY, "history.csv", METRICS, MODEL_CARD, OUT_OF_FOLD, *MODEL_FILES):
        (run_dir / name).unlink(missing_ok=True)
