"""One training from data set to run folder, whatever the kind of model."""

import json
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ferlib.core.backend import import_keras
from ferlib.core.errors import ArtifactError, DataError
from ferlib.core.files import atomic_write, write_json
from ferlib.core.images import fit_to_model
from ferlib.data import ImageDataset
from ferlib.models import ModelSpec, get_model
from ferlib.preprocessing import resample_images
from ferlib.runs.classifier import load_classifier
from ferlib.runs.folder import (
    CONFIG,
    HISTORY,
    MEMBERS,
    METRICS,
    MODEL_FILES,
    OUT_OF_FOLD,
    SKOPS_MODEL,
    read_config,
)
from ferlib.training.options import TrainingOptions
from ferlib.training.out_of_fold import write_out_of_fold
from ferlib.training.recipes import default_options
from ferlib.training.run_config import describe_run, has_artifacts, remove_checkpoint, remove_run, require_same_run
from ferlib.training.targets import append_votes, blend_with_teacher

# What a teacher said about the training images.
_TEACHER = "checkpoint/teacher.npy"

logger = logging.getLogger(__name__)


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
        With images in the splits ``"train"`` and, for a network, ``"val"``.
    run_dir : path
        The folder to make; `ferlib.runs.folder` says what it will hold.
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
        Called with the history, one dict an epoch, after each epoch of a network; `ferlib.plots.LiveCurves`
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
    spec.check_options(model_options or {})
    options = options or default_options(model)
    model_options = json.loads(json.dumps(model_options or {}))  # as the configuration keeps them
    config = describe_run(spec, dataset, options, model_options)
    if resume and (run_dir / CONFIG).exists():
        earlier = read_config(run_dir)
        require_same_run(earlier, config, run_dir)
        if earlier["status"] == "finished":
            logger.info("%s is finished already", run_dir)
            remove_checkpoint(run_dir)
            return run_dir
    elif overwrite or not has_artifacts(run_dir):
        remove_run(run_dir)
    else:
        raise ArtifactError(f"{run_dir} already holds a run; resume or overwrite it, or name another folder.")
    _warn_of_seen_images(config, options)
    write_json(run_dir / CONFIG, config)
    if spec.kind == "cnn":
        parameters = _fit_network(
            spec, dataset, run_dir, options, model_options, resume=resume, tensorboard=tensorboard, on_epoch=on_epoch
        )
    elif spec.kind == "bovw":
        started = time.perf_counter()
        parameters = _fit_bovw(spec, dataset, run_dir, options, model_options)
        config["seconds"] = round(time.perf_counter() - started, 1)
    else:
        parameters = _fit_ensemble(spec, dataset, run_dir, options, model_options)
        config["n_members"] = len(list((run_dir / MEMBERS).glob("[0-9]*")))
    write_json(run_dir / CONFIG, {**config, "parameters": parameters, "status": "finished"})
    # Only now: killed any earlier, the training would have to start again.
    remove_checkpoint(run_dir)
    return run_dir


def _warn_of_seen_images(config: dict[str, Any], options: TrainingOptions) -> None:
    """Say so if a run that this one learns from knows images that this one will be measured on."""
    for other in filter(None, (options.teacher, options.init_from)):
        data = read_config(other)["data"]
        if data["sha256"] == config["data"]["sha256"] and data["split"] != config["data"]["split"]:
            logger.warning(
                "%s was trained on another split of the same images: it may know some of val and test, and accuracy "
                "measured on them says nothing",
                other,
            )


def _fit_network(
    spec: ModelSpec,
    dataset: ImageDataset,
    run_dir: Path,
    options: TrainingOptions,
    model_options: dict,
    **progress: Any,
) -> int:
    """Train a Keras network into `run_dir`; return its number of parameters."""
    import_keras()
    from ferlib.training.keras_trainer import train_network

    images, labels = _training_images(spec, dataset, options)
    val = dataset.split("val")
    n_classes = len(dataset.class_names)
    one_hot = np.eye(n_classes, dtype=np.float32)
    size = {"image_size": spec.image_size, "channels": spec.channels}
    targets = blend_with_teacher(images, one_hot[labels], dataset.class_names, options, run_dir / _TEACHER)
    network = train_network(
        spec,
        (images, append_votes(targets, dataset.split("train").names, dataset.class_names, options)),
        (_fit_images(spec, val.images), one_hot[val.labels]),
        run_dir,
        options,
        model_options={"n_classes": n_classes, **size, **model_options},
        sample_weight=_sample_weight(labels, options.class_weight),
        **progress,
    )
    return network.count_params()


def _sample_weight(labels: np.ndarray, class_weight: str) -> np.ndarray:
    """Return each image's weight in the loss, float32 (n,), 1 on average."""
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
    images, labels = _training_images(spec, dataset, options)
    pipeline.fit(images, labels)
    with atomic_write(run_dir / SKOPS_MODEL) as path:
        skops.io.dump(pipeline, path)
    if hasattr(pipeline[-1], "loo_proba_"):
        # A class without a training image has no column in scikit-learn.
        probabilities = np.zeros((len(pipeline[-1].kept_), len(dataset.class_names)))
        probabilities[:, pipeline.classes_] = pipeline[-1].loo_proba_
        write_out_of_fold(run_dir, images[pipeline[-1].kept_], probabilities)


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
    for name in (CONFIG, HISTORY, METRICS, OUT_OF_FOLD, *model):
        if (source / name).exists():
            shutil.copyfile(source / name, new / name)
    if (source / MEMBERS).is_dir():
        shutil.copytree(source / MEMBERS, new / MEMBERS)
    new.rename(folder)


def _training_images(spec: ModelSpec, dataset: ImageDataset, options: TrainingOptions) -> tuple[np.ndarray, np.ndarray]:
    """Return the train split as the model wants it, resampled: uint8 (n, H, W, C) and int (n,)."""
    train = dataset.split("train")
    present = np.unique(train.labels)
    if len(present) < 2:
        raise DataError(f"All training images are {dataset.class_names[present[0]]}; at least two classes are needed.")
    images = _fit_images(spec, train.images)
    return resample_images(images, train.labels, options.resample, random_state=options.seed)


def _fit_images(spec: ModelSpec, images: np.ndarray) -> np.ndarray:
    """Return images as prediction would bring them to the model."""
    return fit_to_model(images, image_size=spec.image_size, channels=spec.channels)
