"""The configuration of a run: what repeats it, and what has to be equal to resume it."""

import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tomli_w

from ferlib import __version__
from ferlib.core.crops import DEFAULT_CROP
from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import ArtifactError, DataError
from ferlib.core.files import write_text
from ferlib.core.options import to_config
from ferlib.data import ImageDataset, SplitInfo
from ferlib.models import ModelSpec
from ferlib.runs.folder import KERAS_MODEL, MODEL_FILES, RUN_OPTIONS, Run
from ferlib.runs.records import RunConfig, RunReference
from ferlib.training.options import TrainingOptions
from ferlib.training.trainer import Trainer

_PACKAGES = ("keras", "numpy", "opencv-python", "scikit-learn", "tensorflow", "jax", "torch")


def describe_run(
    spec: ModelSpec,
    dataset: ImageDataset,
    options: TrainingOptions,
    model_options: Mapping[str, Any],
    trainer: Trainer,
) -> RunConfig:
    """Return the configuration of a run at its start."""
    versions = {"ferlib": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    config = RunConfig(
        model=spec.name,
        kind=spec.kind,
        class_names=dataset.class_names,
        image_size=spec.image_size,
        channels=spec.channels,
        test_time_augmentation=trainer.test_time_augmentation,
        model_options=dict(model_options),
        training=options.to_config(),
        data=dataset.info,
        image_counts=dataset.counts().to_dict(),
        versions=versions,
        backend=trainer.backend,
        n_members=trainer.n_members,
        teacher=_refer_to(options.teacher),
        init_from=_refer_to(options.init_from),
        votes=None if options.votes is None else _hash_votes(options.votes),
        crop=dataset.info.crop or DEFAULT_CROP,
    )
    # As read back from JSON, which has lists for tuples, to be compared with an earlier configuration.
    return RunConfig.from_json(config.to_json())


def write_run_options(
    run: Run, config: RunConfig, options: TrainingOptions, data: str | os.PathLike[str] | None
) -> None:
    """Write ``run.toml``, with which ``ferlib train --config`` repeats a training; `data` is where the dataset is."""
    assert config.data is not None
    split = config.data.split or SplitInfo()
    values = {
        "model": config.model,
        "data": None if data is None else str(Path(data).absolute()),
        "emotions": None if config.class_names == EMOTIONS else list(config.class_names),
        "split_scheme": split.scheme,
        "val_fraction": split.val_fraction,
        "split_seed": split.seed,
        "sample_size": config.data.sample_size,
        "train_size": config.data.train_size,
        "label_order": config.data.label_order,
        "split_folders": config.data.split_folders or None,
        "detect": config.data.detected or None,
        "model_options": {name: "none" if value is None else value for name, value in config.model_options.items()},
        **to_config(options),
    }
    # TOML has no null. Options that are missing have their default, which is None here.
    text = tomli_w.dumps({name: value for name, value in values.items() if value is not None})
    write_text(run.path / RUN_OPTIONS, text)


def require_same_run(old: RunConfig, new: RunConfig, run: Run) -> None:
    """Raise unless a run is resumed with the data and the options that it was started with."""
    earlier, now = _identity(old), _identity(new)
    for part, value in now.items():
        if earlier[part] != value:
            raise ArtifactError(
                f"{run.path} was started with other {part}: {_difference(earlier[part], value)}. Resume it with the "
                f"same {part}, or use another --run-dir."
            )


def _refer_to(run_dir: str | None) -> RunReference | None:
    """Return what identifies another run: its model, and the hashes of its weights or of its members' weights."""
    if run_dir is None:
        return None
    files = sorted(path for name in MODEL_FILES for path in Path(run_dir).rglob(name) if name != KERAS_MODEL)
    hashes = tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
    return RunReference(model=Run(run_dir).config.model, weights_sha256=hashes)


def _hash_votes(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"--votes {path} cannot be read ({error.strerror}).") from None


def _identity(config: RunConfig) -> dict[str, Any]:
    """Return what has to be equal in a resumed run, by a name for error messages."""
    data = config.data
    # The file name may differ: the checksum and the split identify the images.
    source = (data.sha256, data.sample_size, data.split and asdict(data.split)) if data else (None, None, None)
    return {
        "model": config.model,
        "class names": config.class_names,
        "model options": config.model_options,
        # Adds options that are newer than the run, with their defaults.
        "training options": TrainingOptions.from_config(config.training).to_config(),
        "data": dict(zip(("sha256", "sample_size", "split"), source, strict=True))
        | {"image_counts": config.image_counts},
        "teacher": config.teacher,
        "initial weights": config.init_from,
        "votes": config.votes,
    }


def _difference(old: Any, new: Any) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [key for key in new if old.get(key) != new[key]]
        return ", ".join(f"{key} was {old.get(key)!r}, now {new[key]!r}" for key in keys[:3])
    return f"it was {old!r}, now {new!r}"
