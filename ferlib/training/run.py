"""One training from data set to run folder, whatever the kind of model."""

import importlib.metadata
import json
import logging
import platform
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from ferlib import __version__
from ferlib.artifacts import CONFIG, HISTORY, METRICS, MODEL_CARD, MODEL_FILES, SKOPS_MODEL, read_config
from ferlib.datasets import ImageDataset
from ferlib.errors import ArtifactError, DataError
from ferlib.files import replacing, write_json
from ferlib.images import fit_to_model
from ferlib.models import ModelSpec, get_model
from ferlib.prepare import resample_images
from ferlib.quiet import start_keras
from ferlib.training.options import TrainingOptions

logger = logging.getLogger(__name__)

# What of a run's data has to be the same for it to be resumed.
_DATA_IDENTITY = ("sha256", "sample_size", "split", "pictures")

_PACKAGES = ("keras", "numpy", "opencv-python", "scikit-learn", "tensorflow", "jax", "torch")


def train_model(
    model: str,
    dataset: ImageDataset,
    run_dir: str | Path,
    options: TrainingOptions | None = None,
    *,
    model_options: dict[str, Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Path:
    """Train a model on a data set's train split, choose by its val split, and leave a run folder.

    The test split is not looked at.

    Parameters
    ----------
    model : str
        A name of `ferlib.models.list_models`.
    dataset : ImageDataset
        With pictures in the splits ``"train"`` and, for a network, ``"val"``.
    run_dir : path
        The folder to make; `ferlib.artifacts` says what it will hold.
    options : TrainingOptions, optional
        The model's own defaults when None.
    model_options : dict, optional
        Keywords of the model's builder.
    resume : bool
        Continue an interrupted training in `run_dir`; a finished one is left as it is.
    overwrite : bool
        Replace a run that is in `run_dir`.

    Returns
    -------
    Path
        The run's folder.

    Raises
    ------
    ArtifactError
        `run_dir` already holds a run and neither `resume` nor `overwrite` is set, or the run to resume was made with
        other data or options.
    DataError
        A split is empty, or the train split holds one class alone.
    """
    spec, run_dir = get_model(model), Path(run_dir)
    options = options or TrainingOptions(**spec.training)
    config = _describe_run(spec, dataset, options, model_options or {})
    if resume and (run_dir / CONFIG).exists():
        earlier = read_config(run_dir)
        _require_same_run(earlier, config, run_dir)
        if earlier["status"] == "finished":
            logger.info("%s is finished already", run_dir)
            _remove_checkpoint(run_dir)
            return run_dir
    elif overwrite or not _holds_work(run_dir):
        _remove_run(run_dir)
    else:
        raise ArtifactError(f"{run_dir} already holds a run; resume or overwrite it, or name another folder.")
    write_json(run_dir / CONFIG, config)
    fit = {"cnn": _fit_network, "bovw": _fit_bovw}[spec.kind]
    fit(spec, dataset, run_dir, options, config["model_options"], resume)
    write_json(run_dir / CONFIG, {**config, "status": "finished"})
    # Only now: killed any earlier, the training would have to start again.
    _remove_checkpoint(run_dir)
    return run_dir


def _fit_network(
    spec: ModelSpec, dataset: ImageDataset, run_dir: Path, options: TrainingOptions, model_options: dict, resume: bool
) -> None:
    """Train a Keras network into `run_dir`."""
    start_keras()
    from ferlib.training.network import train_network

    images, labels = _training_pictures(spec, dataset, options)
    val = dataset.split("val")
    n_classes = len(dataset.class_names)
    one_hot = np.eye(n_classes, dtype=np.float32)
    train_network(
        spec,
        (images, one_hot[labels]),
        (_fit_pictures(spec, val.images), one_hot[val.labels]),
        run_dir,
        options,
        model_options={
            "n_classes": n_classes,
            "image_size": spec.image_size,
            "channels": spec.channels,
            **model_options,
        },
        resume=resume,
    )


def _fit_bovw(
    spec: ModelSpec, dataset: ImageDataset, run_dir: Path, options: TrainingOptions, model_options: dict, resume: bool
) -> None:
    """Fit a scikit-learn pipeline into `run_dir`; it is quick enough to start again where it was interrupted."""
    del resume
    import skops.io

    pipeline = spec.build(random_state=options.seed, **model_options)
    if options.class_weight != "none":
        pipeline[-1].set_params(class_weight=options.class_weight)
    pipeline.fit(*_training_pictures(spec, dataset, options))
    with replacing(run_dir / SKOPS_MODEL) as path:
        skops.io.dump(pipeline, path)


def _training_pictures(
    spec: ModelSpec, dataset: ImageDataset, options: TrainingOptions
) -> tuple[np.ndarray, np.ndarray]:
    """Return the train split as the model wants it, resampled: uint8 (n, H, W, C) and int (n,)."""
    train = dataset.split("train")
    present = np.unique(train.labels)
    if len(present) < 2:
        raise DataError(
            f"All training pictures are {dataset.class_names[present[0]]}; at least two classes are needed."
        )
    images = _fit_pictures(spec, train.images)
    return resample_images(images, train.labels, options.resample, random_state=options.seed)


def _fit_pictures(spec: ModelSpec, images: np.ndarray) -> np.ndarray:
    """Return pictures as prediction would bring them to the model."""
    return fit_to_model(images, image_size=spec.image_size, channels=spec.channels)


def _describe_run(
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
        "flip_averaging": spec.kind == "cnn",
        "model_options": model_options,
        "training": options.to_config(),
        "data": {**dataset.info, "pictures": dataset.counts().to_dict()},
        "versions": versions,
        "status": "training",
    }
    # A run to resume is compared with what JSON kept of it, which knows no tuples.
    return json.loads(json.dumps(config))


def _require_same_run(old: dict[str, Any], new: dict[str, Any], run_dir: Path) -> None:
    """Raise unless a run is resumed with the data and the options that it was started with."""
    for part in ("model", "class_names", "model_options", "training", "data"):
        before, now = old.get(part), new[part]
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


def _holds_work(run_dir: Path) -> bool:
    """Return whether a folder holds a run that somebody would miss; one that failed at its start is none."""
    return any((run_dir / name).exists() for name in (*MODEL_FILES, "checkpoint"))


def _remove_checkpoint(run_dir: Path) -> None:
    """Delete what a training that was stopped would continue from."""
    shutil.rmtree(run_dir / "checkpoint", ignore_errors=True)


def _remove_run(run_dir: Path) -> None:
    """Delete what a training writes, and nothing else that lies in the folder."""
    _remove_checkpoint(run_dir)
    for name in (CONFIG, HISTORY, "history.csv", METRICS, MODEL_CARD, *MODEL_FILES):
        (run_dir / name).unlink(missing_ok=True)
