"""Train a model of any family: from a dataset to a finished run."""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import partial
from typing import Any

from ferlib.core.backend import import_keras
from ferlib.core.errors import ArtifactError
from ferlib.data import ImageDataset
from ferlib.models import get_model
from ferlib.runs.folder import CONFIG, Run
from ferlib.runs.records import RunConfig
from ferlib.training.ensemble_trainer import EnsembleTrainer
from ferlib.training.measure import measure_run
from ferlib.training.options import TrainingOptions
from ferlib.training.recipes import default_options
from ferlib.training.run_config import describe_run, require_same_run, write_run_options
from ferlib.training.sklearn_trainer import SklearnTrainer
from ferlib.training.trainer import Trainer

logger = logging.getLogger(__name__)


def train_model(
    model: str,
    dataset: ImageDataset,
    run_dir: str | os.PathLike[str],
    options: TrainingOptions | None = None,
    *,
    model_options: Mapping[str, Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    robustness: bool = False,
    tensorboard: bool = False,
    export: bool = True,
    data: str | os.PathLike[str] | None = None,
    on_epoch: Callable[[list[dict[str, float]]], None] | None = None,
) -> Run:
    """Train a model, calibrate it on val, measure it on val and test, and save it as a self-contained run folder.

    The epoch and the calibration are chosen on the val split; the test split is only measured.

    Parameters
    ----------
    model : str
        A name of `ferlib.models.list_models`.
    dataset : ImageDataset
        With a train split and, for a network, a val split.
    run_dir : path
        The run folder; `ferlib.runs.folder` lists its files.
    options : TrainingOptions, optional
        `ferlib.training.recipes.default_options` of the model when None.
    model_options : mapping, optional
        Arguments of the model's builder.
    resume, overwrite : bool
        Continue or replace the training in `run_dir` if there is one. A finished run is returned unchanged.
    robustness : bool
        Also measure the test accuracy on shifted, scaled and rotated images, which takes nine times as long.
    tensorboard, export : bool
        Write TensorBoard logs of a network; export it to ONNX, the format that prediction prefers.
    data : path, optional
        Where the dataset was loaded from, to be recorded in ``run.toml``.
    on_epoch : callable, optional
        Called with the history after each epoch of a network; `ferlib.plots.LiveCurves` plots it. An exception that it
        raises ends the training, which `resume` continues.

    Raises
    ------
    ArtifactError
        `run_dir` contains a run and neither `resume` nor `overwrite` is set, or the run to resume was started with
        other data or options.
    DataError
        A required split is empty, or the train split has a single class.
    OptionError
        A model option is unknown or has a wrong value.
    """
    spec, run = get_model(model), Run(run_dir)
    model_options = dict(model_options or {})
    spec.check_options(model_options)
    options = options or default_options(model)
    train_member = partial(train_model, export=export, on_epoch=on_epoch)
    trainer: Trainer
    if spec.kind == "cnn":
        import_keras()
        from ferlib.training.keras_trainer import KerasTrainer

        trainer = KerasTrainer(spec, options, model_options, tensorboard=tensorboard, export=export, on_epoch=on_epoch)
    elif spec.kind == "bovw":
        trainer = SklearnTrainer(spec, options, model_options)
    else:
        trainer = EnsembleTrainer(spec, options, model_options, train_member)
    config = describe_run(spec, dataset, options, model_options, trainer)
    if resume and (run.path / CONFIG).exists():
        earlier = run.config
        require_same_run(earlier, config, run)
        if earlier.status == "finished":
            logger.info("%s is already finished", run.path)
            run.remove_checkpoint()
            return run
    elif overwrite or not run.has_artifacts():
        run.remove()
    else:
        raise ArtifactError(f"{run.path} already contains a run; use --resume, --overwrite or another --run-dir.")
    warn_about_leaks(config, options)
    run.write_config(config)
    write_run_options(run, config, options, data)
    result = trainer.fit(dataset, run, resume=resume)
    results = {field.name: getattr(result, field.name) for field in fields(result)}
    measure_run(run, replace(config, **results, status="finished"), dataset, robustness=robustness)
    # Last, because an interrupted training continues from it.
    run.remove_checkpoint()
    return run


def warn_about_leaks(config: RunConfig, options: TrainingOptions) -> None:
    """Warn if a teacher or the initial weights were trained on images of this run's val or test split."""
    for other in filter(None, (options.teacher, options.init_from)):
        theirs, ours = Run(other).config.data, config.data
        if theirs and ours and theirs.sha256 == ours.sha256 and theirs.split != ours.split:
            logger.warning(
                "%s was trained on another split of the same images: it may have been trained on images of val or "
                "test, so the accuracy measured on them is not meaningful",
                other,
            )
