"""One training from data set to run folder, whatever the kind of model."""

import hashlib
import importlib.metadata
import inspect
import json
import logging
import platform
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

import numpy as np

from ferlib import __version__
from ferlib.artifacts import (
    CONFIG,
    HISTORY,
    KERAS_MODEL,
    MEMBERS,
    METRICS,
    MODEL_CARD,
    MODEL_FILES,
    SKOPS_MODEL,
    load_classifier,
    read_config,
)
from ferlib.datasets import ImageDataset
from ferlib.errors import ArtifactError, DataError, FerlibError
from ferlib.files import replacing, write_json
from ferlib.images import fit_to_model
from ferlib.models import ModelSpec, get_model
from ferlib.prepare import resample_images
from ferlib.probabilities import scale_logits
from ferlib.progress import track
from ferlib.quiet import start_keras
from ferlib.training.options import TrainingOptions

# What a teacher said about the training pictures, so that a training that is resumed need not ask again.
_TEACHER = "checkpoint/teacher.npy"

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
    tensorboard: bool = False,
    on_epoch: Callable[[list[dict[str, float]]], None] | None = None,
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
    tensorboard : bool
        Also write logs of a network's training for TensorBoard, into ``logs`` in the run's folder.
    on_epoch : callable, optional
        Called with the history, one dict an epoch, after each epoch of a network; `ferlib.evaluation.plots.LiveCurves`
        draws it.

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
    _check_model_options(spec, model_options or {})
    options = options or TrainingOptions(**spec.training)
    model_options = json.loads(json.dumps(model_options or {}))  # as the configuration keeps them
    config = _describe_run(spec, dataset, options, model_options)
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
    if spec.kind == "cnn":
        parameters = _fit_network(
            spec, dataset, run_dir, options, model_options, resume=resume, tensorboard=tensorboard, on_epoch=on_epoch
        )
    elif spec.kind == "bovw":
        parameters = _fit_bovw(spec, dataset, run_dir, options, model_options)
    else:
        parameters = _fit_ensemble(spec, dataset, run_dir, options, model_options)
        config["n_members"] = len(list((run_dir / MEMBERS).glob("[0-9]*")))
    write_json(run_dir / CONFIG, {**config, "parameters": parameters, "status": "finished"})
    # Only now: killed any earlier, the training would have to start again.
    _remove_checkpoint(run_dir)
    return run_dir


def _check_model_options(spec: ModelSpec, model_options: dict[str, Any]) -> None:
    """Raise unless the model's builder knows its options, and each has the type that it is annotated with."""
    taken = {"n_classes", "seed", "dtype", "random_state"}
    parameters = inspect.signature(spec.build).parameters
    known = [name for name in parameters if name not in taken]
    unknown = [name for name in model_options if name not in known]
    if unknown:
        raise FerlibError(f"{spec.name} has no option {', '.join(unknown)}; it has {', '.join(known)}.")
    for name, value in model_options.items():
        if not _fits(value, parameters[name].annotation):
            example = json.dumps(parameters[name].default)
            raise FerlibError(
                f"{spec.name}'s option {name} cannot be {value!r}; it is {example} unless told otherwise."
            )


def _fits(value: Any, annotation: Any) -> bool:
    """Whether a value, which may come from JSON, has a type of those that builders annotate their options with."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is UnionType:
        return any(_fits(value, argument) for argument in arguments)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return False
        repeated = arguments[-1] is Ellipsis
        hints = arguments[:1] * len(value) if repeated else arguments
        return len(value) == len(hints) and all(map(_fits, value, hints))
    if annotation in (int, float):
        return isinstance(value, int | annotation) and not isinstance(value, bool)
    return isinstance(value, origin or annotation)


def _fit_network(
    spec: ModelSpec,
    dataset: ImageDataset,
    run_dir: Path,
    options: TrainingOptions,
    model_options: dict,
    **progress: Any,
) -> int:
    """Train a Keras network into `run_dir`; return its number of parameters."""
    start_keras()
    from ferlib.training.network import train_network

    images, labels = _training_pictures(spec, dataset, options)
    val = dataset.split("val")
    n_classes = len(dataset.class_names)
    one_hot = np.eye(n_classes, dtype=np.float32)
    size = {"image_size": spec.image_size, "channels": spec.channels}
    network = train_network(
        spec,
        (images, _targets(images, one_hot[labels], dataset.class_names, options, run_dir / _TEACHER)),
        (_fit_pictures(spec, val.images), one_hot[val.labels]),
        run_dir,
        options,
        model_options={"n_classes": n_classes, **size, **model_options},
        sample_weight=_sample_weight(labels, options.class_weight),
        **progress,
    )
    return network.count_params()


def _targets(
    images: np.ndarray, one_hot: np.ndarray, class_names: tuple[str, ...], options: TrainingOptions, answers: Path
) -> np.ndarray:
    """Return what a network shall answer, float32 (n, n_classes): the labels, or a blend with what a teacher says."""
    if options.teacher is None:
        return one_hot
    if not answers.exists():
        said = _ask_teacher(images, class_names, options)
        answers.parent.mkdir(exist_ok=True)
        with replacing(answers) as path, path.open("wb") as file:
            np.save(file, said)
    soft = scale_logits(np.load(answers), 1 / options.temperature)
    return (options.distillation * soft + (1 - options.distillation) * one_hot).astype(np.float32)


def _ask_teacher(images: np.ndarray, class_names: tuple[str, ...], options: TrainingOptions) -> np.ndarray:
    """Return the teacher's probabilities for all training pictures, float32 (n, n_classes)."""
    teacher = load_classifier(options.teacher)
    if teacher.class_names != tuple(class_names):
        raise ArtifactError(
            f"{options.teacher} tells apart {', '.join(teacher.class_names)}, not {', '.join(class_names)}."
        )
    batches = [
        teacher.predict_proba(images[start : start + 256])
        for start in track(range(0, len(images), 256), desc="ask the teacher", unit="batch")
    ]
    return np.concatenate(batches)


def _sample_weight(labels: np.ndarray, class_weight: str) -> np.ndarray:
    """Return each picture's weight in the loss, float32 (n,), 1 on average."""
    if class_weight == "none":
        return np.ones(len(labels), np.float32)
    from sklearn.utils.class_weight import compute_sample_weight

    return compute_sample_weight("balanced", labels).astype(np.float32)


def _fit_bovw(
    spec: ModelSpec, dataset: ImageDataset, run_dir: Path, options: TrainingOptions, model_options: dict
) -> None:
    """Fit a scikit-learn pipeline into `run_dir`; it is quick enough to start again where it was interrupted."""
    import skops.io

    pipeline = spec.build(random_state=options.seed, **model_options)
    if options.class_weight != "none":
        pipeline[-1].set_params(class_weight=options.class_weight)
    pipeline.fit(*_training_pictures(spec, dataset, options))
    with replacing(run_dir / SKOPS_MODEL) as path:
        skops.io.dump(pipeline, path)


def _fit_ensemble(
    spec: ModelSpec,
    dataset: ImageDataset,
    run_dir: Path,
    options: TrainingOptions,
    model_options: dict,
) -> int | None:
    """Gather the members of an ensemble in `run_dir`, training those that are not given as finished runs.

    An interrupted gathering goes on with the member where it stopped. Returns the members' number of parameters, if
    all of them have one.
    """
    members = spec.build(seed=options.seed, **model_options)
    folders = [run_dir / MEMBERS / f"{number}-{member.name}" for number, member in enumerate(members)]
    for member, folder in zip(members, folders, strict=True):
        if member.run_dir is None:
            own = replace(options, seed=member.seed)
            logger.info("member %s of %d", folder.name, len(members))
            train_model(member.name, dataset, folder, own, model_options=member.options, resume=True)
        else:
            _copy_member(Path(member.run_dir), folder, dataset.class_names)
    parameters = [read_config(folder).get("parameters") for folder in folders]
    return None if None in parameters else sum(parameters)


def _copy_member(source: Path, folder: Path, class_names: tuple[str, ...]) -> None:
    """Copy of a finished run what prediction and a reader need."""
    member = load_classifier(source)
    if member.class_names != tuple(class_names):
        raise ArtifactError(f"{source} tells apart {', '.join(member.class_names)}, not {', '.join(class_names)}.")
    new = folder.with_name(f".{folder.name}")
    for leftover in (new, folder):
        shutil.rmtree(leftover, ignore_errors=True)
    new.mkdir(parents=True)
    model = [name for name in MODEL_FILES if (source / name).exists()][:1]
    for name in (CONFIG, HISTORY, METRICS, *model):
        if (source / name).exists():
            shutil.copyfile(source / name, new / name)
    if (source / MEMBERS).is_dir():
        shutil.copytree(source / MEMBERS, new / MEMBERS)
    new.rename(folder)


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
        "test_time_augmentation": "flip" if spec.kind == "cnn" else "none",
        "model_options": model_options,
        "training": options.to_config(),
        "data": {**dataset.info, "pictures": dataset.counts().to_dict()},
        "versions": versions,
        "status": "training",
    }
    if spec.kind == "cnn":
        config["backend"] = start_keras().backend.backend()
    if options.teacher is not None:
        config["teacher"] = _describe_teacher(options.teacher)
    # A run to resume is compared with what JSON kept of it, which knows no tuples.
    return json.loads(json.dumps(config))


def _describe_teacher(run_dir: str) -> dict[str, Any]:
    """Return what tells a teacher from another: its model, the runs that it is made of, and their weights' hashes."""
    files = sorted(path for name in MODEL_FILES for path in Path(run_dir).rglob(name) if name != KERAS_MODEL)
    return {
        "model": read_config(run_dir)["model"],
        "weights_sha256": [hashlib.sha256(path.read_bytes()).hexdigest() for path in files],
    }


def _require_same_run(old: dict[str, Any], new: dict[str, Any], run_dir: Path) -> None:
    """Raise unless a run is resumed with the data and the options that it was started with."""
    for part in ("model", "class_names", "model_options", "training", "data", "teacher"):
        before, now = old.get(part), new.get(part)
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
    return any(any(run_dir.glob(name)) for name in (*MODEL_FILES, MEMBERS, "checkpoint/last-*"))


def _remove_checkpoint(run_dir: Path) -> None:
    """Delete what a training that was stopped would continue from."""
    shutil.rmtree(run_dir / "checkpoint", ignore_errors=True)


def _remove_run(run_dir: Path) -> None:
    """Delete what a training writes, and nothing else that lies in the folder."""
    _remove_checkpoint(run_dir)
    for folder in (MEMBERS, "logs"):
        shutil.rmtree(run_dir / folder, ignore_errors=True)
    for name in (CONFIG, HISTORY, "history.csv", METRICS, MODEL_CARD, *MODEL_FILES):
        (run_dir / name).unlink(missing_ok=True)
