"""A study: many trainings of one model with different settings, and more trainings of the best of them."""

import contextlib
import logging
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ferlib.core.errors import ArtifactError, DataError
from ferlib.data import ImageDataset, limit_train
from ferlib.evaluation.studies import DEFAULTS_NOTE
from ferlib.training.tuning.plan import TuningPlan, choose_best, describe_data, describe_difference
from ferlib.training.tuning.queue import TrialQueue, Worker, enqueue_once
from ferlib.training.tuning.storage import JOURNAL, open_storage, quiet_optuna, storage_errors
from ferlib.training.tuning.table import collect_rows
from ferlib.training.tuning.trainer import Clock, OutOfTimeError, TrialTrainer

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger(__name__)

# Trials before the sampler and the pruner use what they have seen.
_SAMPLER_STARTUP, _PRUNER_STARTUP = 10, 8


class TuningStudy:
    """A study in its folder, which contains a run folder per trial.

    Parameters
    ----------
    study_dir : path
        The folder; its name is the study's.
    storage : str, optional
        The URL of a database that several machines share; a journal in the folder by default.
    create : bool
        Whether the study may be new.
    overwrite : bool
        Remove an earlier study of this name, with its run folders.

    Raises
    ------
    ArtifactError
        There is no such study and `create` is not set.
    FerlibError
        The storage cannot be used.
    """

    def __init__(
        self, study_dir: str | Path, storage: str | None = None, *, create: bool = True, overwrite: bool = False
    ) -> None:
        self.study_dir = Path(study_dir)
        self.name = self.study_dir.resolve().name
        self.storage = storage
        if overwrite:
            _remove_folders(self.study_dir)
        self._backend = open_storage(storage, self.study_dir, create=create)
        if not create and self._find(self.name) is None:
            raise ArtifactError(f"There is no study '{self.name}' in this storage.")
        if overwrite:
            self._remove()

    @property
    def settings(self) -> dict[str, Any]:
        """The plan's `TuningPlan.to_json`; empty before the first trial."""
        study = self._find(self.name)
        return {} if study is None else dict(study.user_attrs.get("settings", {}))

    def table(self) -> pd.DataFrame:
        """Return one row per training; see `ferlib.training.tuning.table`."""
        with storage_errors(self.storage):
            study, confirmation = self._find(self.name), self._find(self._confirmation)
            return collect_rows(
                study.study_name if study else self.name,
                {} if study is None else study.user_attrs,
                [] if study is None else study.get_trials(deepcopy=False),
                [] if confirmation is None else confirmation.get_trials(deepcopy=False),
            )

    def run(
        self,
        plan: TuningPlan,
        dataset: ImageDataset,
        *,
        timeout: float | None = None,
        data: str | Path | None = None,
    ) -> bool:
        """Train what is missing of the study, together with other processes that run it; return whether it is complete.

        An interrupted study continues, also after the process was killed.

        Parameters
        ----------
        plan : TuningPlan
        dataset : ImageDataset
            With all training images, and a val split. Trials do not get its test split.
        timeout : float, optional
            Seconds, after which a network's trial stops at the end of its epoch, to be continued later.
        data : path, optional
            Where the dataset was loaded from, to be recorded in the runs.

        Raises
        ------
        ArtifactError
            The study was begun with another plan or other data.
        DataError
            The dataset has no val split.
        """
        if "val" not in dataset.splits:
            raise DataError("Tuning needs a val split: set --val-fraction above 0.")
        deadline = None if timeout is None else time.monotonic() + timeout
        with storage_errors(self.storage), _quiet_tensorflow(), Worker(self.study_dir) as worker:
            queue = self._open_queue(self.name, worker, plan, dataset)
            confirmation = self._open_confirmation(worker, plan)
            trainer = TrialTrainer(plan, self.study_dir, data, deadline)
            try:
                self._search(queue, trainer, dataset)
                if not _is_complete(queue, plan.trials):
                    logger.info("other workers still train trials; the last of them confirms the best settings")
                    return False
                return confirmation is None or self._confirm(queue, confirmation, trainer, dataset)
            except OutOfTimeError:
                return False

    def _search(self, queue: TrialQueue, trainer: TrialTrainer, dataset: ImageDataset) -> None:
        """Train the trials."""
        plan = trainer.plan
        with quiet_optuna():
            queue.study.pruner = _make_pruner(plan)
        rows = dataset.splits != "test"
        limited = dataset.select(rows)
        if plan.train_size is not None:
            split = dataset.info.split
            limited = limit_train(limited, plan.train_size, seed=split.seed if split else plan.training.seed)
        clock = Clock()
        while (trial := queue.claim(plan.trials, may_create=True, make_sampler=_make_sampler)) is not None:
            with quiet_optuna():
                is_first = trial.user_attrs.get("key") == DEFAULTS_NOTE
                values = _draw_known(plan, trial) if is_first else plan.space.draw(trial)
            training, model_options = plan.space.apply({} if is_first else values, plan.training, plan.model_options)
            trainer.train(queue, trial, limited, f"trial-{trial.number:04d}", training, model_options)
            clock.tell(queue, trial.number, plan.trials, f"trial {trial.number}{f', {DEFAULTS_NOTE}' * is_first}")

    def _confirm(
        self, queue: TrialQueue, confirmation: TrialQueue, trainer: TrialTrainer, dataset: ImageDataset
    ) -> bool:
        """Train the best settings and the defaults again, with several seeds; return whether all of them are done."""
        plan = trainer.plan
        best = choose_best(queue.trials(), plan.confirm)
        # One seed at a time, so that an interrupted confirmation compares all settings.
        seeds = [plan.training.seed + number for number in range(plan.confirm_seeds)]
        wanted = {f"{trial.number}/{seed}": {"setting": trial.number, "seed": seed} for seed in seeds for trial in best}
        enqueue_once(confirmation, wanted)
        clock = Clock()
        total = len(wanted)
        while (trial := confirmation.claim(10**6, may_create=False)) is not None:
            number, seed = trial.user_attrs["setting"], trial.user_attrs["seed"]
            setting = next(each for each in queue.trials() if each.number == number)
            training, model_options = plan.options_of(setting)
            training = replace(training, epochs=plan.full_epochs, seed=seed)
            folder = f"confirmed-{number:04d}-seed-{seed}"
            trainer.train(confirmation, trial, dataset, folder, training, model_options, final=True)
            name = DEFAULTS_NOTE if setting.user_attrs.get("key") == DEFAULTS_NOTE else f"settings of trial {number}"
            clock.tell(confirmation, trial.number, total, f"{name}, seed {seed}")
        return _is_complete(confirmation, 0)

    def _remove(self) -> None:
        """Remove the study from a database."""
        import optuna

        for name in (self.name, self._confirmation):
            if self._find(name) is not None:
                optuna.delete_study(study_name=name, storage=self._backend)

    @property
    def _confirmation(self) -> str:
        """The name of the study whose trials are the confirmation's trainings."""
        return f"{self.name} confirmation"

    def _find(self, name: str) -> "optuna.Study | None":
        import optuna

        with quiet_optuna():
            try:
                return optuna.load_study(study_name=name, storage=self._backend)
            except KeyError:
                return None

    def _open_queue(self, name: str, worker: Worker, plan: TuningPlan, dataset: ImageDataset) -> TrialQueue:
        """Return the queue of trials, with the first one if it is new, after a check that it is the same study."""
        import optuna

        settings, data = plan.to_json(), describe_data(dataset)
        with quiet_optuna(), worker.claim_lock():
            study = optuna.create_study(
                storage=self._backend, study_name=name, direction="maximize", load_if_exists=True
            )
            if not study.get_trials(deepcopy=False) and any(_run_folders(self.study_dir)):
                raise ArtifactError(
                    f"{self.study_dir} contains runs of a study that is not in this storage; use --overwrite or "
                    "another --study-dir."
                )
            if "settings" not in study.user_attrs:
                study.set_user_attr("settings", settings)
            if "data" not in study.user_attrs:
                study.set_user_attr("data", data)
        earlier = study.user_attrs
        for what, old, new in (("settings", earlier["settings"], settings), ("data", earlier["data"], data)):
            if old != new:
                raise ArtifactError(
                    f"The study '{name}' was begun with other {what}: {describe_difference(old, new)}. Continue it "
                    f"with the same {what}, or use another --study-dir."
                )
        queue = TrialQueue(study, worker, self._backend)
        enqueue_once(queue, {DEFAULTS_NOTE: {}}, plan.known_defaults)
        return queue

    def _open_confirmation(self, worker: Worker, plan: TuningPlan) -> TrialQueue | None:
        """Return the queue of the confirmation's trainings, None if there is to be none."""
        import optuna

        if not plan.confirm:
            return None
        with quiet_optuna(), worker.claim_lock():
            study = optuna.create_study(
                storage=self._backend, study_name=self._confirmation, direction="maximize", load_if_exists=True
            )
            if "epochs" not in study.user_attrs:
                study.set_user_attr("epochs", plan.full_epochs)
        earlier = study.user_attrs["epochs"]
        if earlier != plan.full_epochs and study.get_trials(deepcopy=False):
            raise ArtifactError(
                f"The confirmation of '{self.name}' was begun with {earlier} epochs, now {plan.full_epochs}: "
                f"continue it with --confirm-epochs {earlier}."
            )
        if earlier != plan.full_epochs:
            study.set_user_attr("epochs", plan.full_epochs)
        return TrialQueue(study, worker, self._backend)


@contextlib.contextmanager
def _quiet_tensorflow() -> Iterator[None]:
    """Suppress TensorFlow's warning that one process builds many networks, which is what a study does."""
    tensorflow = logging.getLogger("tensorflow")

    def is_other(record: logging.LogRecord) -> bool:
        return "retracing" not in record.getMessage()

    # A filter, because TensorFlow sets the level itself when it is imported.
    tensorflow.addFilter(is_other)
    try:
        yield
    finally:
        tensorflow.removeFilter(is_other)


def _remove_folders(study_dir: Path) -> None:
    """Remove what a study has written into its folder, and nothing else."""
    (study_dir / JOURNAL).unlink(missing_ok=True)
    for folder in _run_folders(study_dir):
        shutil.rmtree(folder)


def _run_folders(study_dir: Path) -> list[Path]:
    """Return the folders of a study's trainings."""
    return [*study_dir.glob("trial-[0-9]*"), *study_dir.glob("confirmed-[0-9]*")]


def _is_complete(queue: TrialQueue, n_trials: int) -> bool:
    """Return whether enough trials have ended and none is left."""
    trials = queue.trials()
    return len(trials) >= n_trials and all(trial.state.is_finished() for trial in trials)


def _draw_known(plan: TuningPlan, trial: "optuna.Trial") -> dict[str, Any]:
    """Record the defaults that the space contains as the values of the first trial."""
    known = plan.known_defaults
    return {each.name: each.suggest(trial) for each in plan.space.parameters if each.name in known}


def _make_sampler(seed: int) -> Any:
    from optuna.samplers import TPESampler

    return TPESampler(
        seed=seed,
        multivariate=True,
        group=True,
        # Trials that other workers train count as bad ones, so that not all draw the same.
        constant_liar=True,
        n_startup_trials=_SAMPLER_STARTUP,
    )


def _make_pruner(plan: TuningPlan) -> Any:
    from optuna.pruners import MedianPruner, NopPruner

    if not plan.prune:
        return NopPruner()
    # Early epochs rank badly, because the learning rate falls at the end.
    return MedianPruner(n_startup_trials=_PRUNER_STARTUP, n_warmup_steps=plan.training.epochs // 3)
