"""Gather the members of an ensemble, training those that are missing."""

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ferlib.core.errors import ArtifactError
from ferlib.data import ImageDataset
from ferlib.models import ModelSpec
from ferlib.models.ensemble import Member
from ferlib.runs.folder import CONFIG, HISTORY, HISTORY_CSV, MEMBERS, METRICS, OUT_OF_FOLD, Run
from ferlib.runs.records import TestTimeAugmentation
from ferlib.training.options import TrainingOptions
from ferlib.training.trainer import FitResult

logger = logging.getLogger(__name__)


@dataclass
class EnsembleTrainer:
    """Trainer of ensembles.

    Members that are finished runs are copied; the others are trained by `train_member`, which is called like
    `ferlib.training.train_model`.
    """

    spec: ModelSpec
    options: TrainingOptions
    model_options: Mapping[str, Any]
    train_member: Callable[..., Run]
    test_time_augmentation: TestTimeAugmentation = "none"
    backend: None = None

    def __post_init__(self) -> None:
        """Choose the members."""
        self.members: list[Member] = self.spec.build(seed=self.options.seed, **self.model_options)

    @property
    def n_members(self) -> int:
        """The number of members."""
        return len(self.members)

    def fit(self, dataset: ImageDataset, run: Run, *, resume: bool) -> FitResult:  # noqa: ARG002
        """Copy or train every member; members that are finished are kept. See `Trainer.fit`."""
        parameters = []
        for number, member in enumerate(self.members):
            folder = run.path / MEMBERS / f"{number}-{member.name}"
            if member.run_dir is None:
                logger.info("member %d of %d: %s", number + 1, len(self.members), folder.name)
                options = replace(self.options, seed=member.seed)
                self.train_member(member.name, dataset, folder, options, model_options=member.options, resume=True)
            else:
                _copy_run(Run(member.run_dir), folder, dataset.class_names)
            parameters.append(Run(folder).config.parameters)
        known = [count for count in parameters if count is not None]
        return FitResult(parameters=sum(known) if len(known) == len(self.members) else None)


def _copy_run(source: Run, folder: Path, class_names: tuple[str, ...]) -> None:
    """Copy the files of a finished run that prediction and readers need."""
    config = source.config
    if config.class_names != tuple(class_names):
        raise ArtifactError(
            f"{source.path} was trained on the classes {', '.join(config.class_names)}, "
            f"not on {', '.join(class_names)}."
        )
    model = source.model_file
    if config.status != "finished" or (model is None and not source.members):
        raise ArtifactError(f"{source.path} has no trained model; finish its training with --resume.")
    # A name with a leading dot marks an unfinished copy.
    temporary = folder.with_name(f".{folder.name}")
    for leftover in (temporary, folder):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir(parents=True)
    for path in (source.path / name for name in (CONFIG, HISTORY, HISTORY_CSV, METRICS, OUT_OF_FOLD)):
        if path.exists():
            shutil.copyfile(path, temporary / path.name)
    if model is not None:
        shutil.copyfile(model, temporary / model.name)
    if source.members:
        shutil.copytree(source.path / MEMBERS, temporary / MEMBERS)
    temporary.rename(folder)
