"""A study: many trainings of one model with different settings, and more trainings of the best of them."""

import contextlib
import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ferlib.core.backend import import_keras
from ferlib.core.errors import ArtifactError, DataError, DivergedError, OptionError
from ferlib.data import ImageDataset
from ferlib.data.splits import limit_train
from ferlib.evaluation.studies import DEFAULTS_NOTE, Metric
from ferlib.models import get_model
from ferlib.runs.folder import Run
from ferlib.training.fit import train_model
from ferlib.training.options import TrainingOptions
from ferlib.training.recipes import default_options
from ferlib.training.tuning.queue import TrialQueue, Worker, enqueue_once
from ferlib.training.tuning.space import SearchSpace
from ferlib.training.tuning.storage import JOURNAL, open_storage, quiet_optuna, storage_errors
from ferlib.training.tuning.table import collect_rows

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1

# Trials before the sampler and the pruner use what they have seen.
_SAMPLER_STARTUP, _PRUNER_STARTUP = 10, 8


@dataclass(frozen=True, kw_only=True)
class TuningPlan:
    """What a study varies and how long it takes.

    Attributes
    ----------
    model : str
        A name of `ferlib.models.list_models`.
    space : SearchSpace
        See `ferlib.training.tuning.space.read_space`.
    training : TrainingOptions
        The options of the first trial; of the others, those that do not vary.
    model_options : mapping
        Those of the model, likewise.
    metric : {"accuracy", "macro_f1"}
        What is maximized, measured on val.
    trials : int
        Trials of the study, by all workers together.
    prune : bool
        Stop a network's trial whose best val accuracy so far is below the median of the others at the same epoch.
    train_size : int, optional
        Training images of a trial; all of them by default.
    confirm, confirm_seeds : int
        How many of the best settings are trained again in full, and with how many seeds; so are the defaults.
    confirm_epochs : int, optional
        Epochs of these trainings; by default those of the model.
    """

    model: str
    space: SearchSpace
    training: TrainingOptions
    model_options: Mapping[str, Any] = field(default_factory=dict)
    metric: Metric = "accuracy"
    trials: int = 40
    prune: bool = True
    train_size: int | None = None
    confirm: int = 3
    confirm_seeds: int = 3
    confirm_epochs: int | None = None

    @property
    def full_epochs(self) -> int:
        """The epochs of the confirmation's trainings."""
        return self.confirm_epochs or default_options(self.model).epochs

    def to_json(self) -> dict[str, Any]:
        """Return what has to be equal when the study is continued."""
        return {
            "schema_version": SCHEMA_VERSION,
            "model": self.model,
            "metric": self.metric,
            "space": self.space.to_json(),
            "training": self.training.to_config(),
            "model_options": {name: to_list(value) for name, value in self.model_options.items()},
            "train_size": self.train_size,
        }


_TAKEN_OVER = "trial %d showed no sign of life for so long that another worker has taken it over"


class OutOfTimeError(Exception):
    """The time of a study is over; the same call continues it."""


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
            trainer = _Trainer(plan, self.study_dir, data, deadline)
            try:
                self._search(queue, trainer, dataset)
                if not _is_complete(queue, plan.trials):
                    logger.info("other workers still train trials; the last of them confirms the best settings")
                    return False
                return confirmation is None or self._confirm(queue, confirmation, trainer, dataset)
            except OutOfTimeError:
                return False

    def _search(self, queue: TrialQueue, trainer: "_Trainer", dataset: ImageDataset) -> None:
        """Train the trials."""
        plan = trainer.plan
        with quiet_optuna():
            queue.study.pruner = _make_pruner(plan)
        rows = dataset.splits != "test"
        limited = dataset.select(rows)
        if plan.train_size is not None:
            split = dataset.info.split
            limited = limit_train(limited, plan.train_size, seed=split.seed if split else plan.training.seed)
        clock = _Clock()
        while (trial := queue.claim(plan.trials, may_create=True, make_sampler=_make_sampler)) is not None:
            with quiet_optuna():
                is_first = trial.user_attrs.get("key") == DEFAULTS_NOTE
                values = _draw_known(plan, trial) if is_first else plan.space.draw(trial)
            training, model_options = plan.space.apply({} if is_first else values, plan.training, plan.model_options)
            trainer.train(queue, trial, limited, f"trial-{trial.number:04d}", training, model_options)
            clock.tell(queue, trial.number, plan.trials, f"trial {trial.number}{f', {DEFAULTS_NOTE}' * is_first}")

    def _confirm(self, queue: TrialQueue, confirmation: TrialQueue, trainer: "_Trainer", dataset: ImageDataset) -> bool:
        """Train the best settings and the defaults again, with several seeds; return whether all of them are done."""
        plan = trainer.plan
        best = choose_best(queue.trials(), plan.confirm)
        # One seed at a time, so that an interrupted confirmation compares all settings.
        seeds = [plan.training.seed + number for number in range(plan.confirm_seeds)]
        wanted = {f"{trial.number}/{seed}": {"setting": trial.number, "seed": seed} for seed in seeds for trial in best}
        enqueue_once(confirmation, wanted)
        clock = _Clock()
        total = len(wanted)
        while (trial := confirmation.claim(10**6, may_create=False)) is not None:
            number, seed = trial.user_attrs["setting"], trial.user_attrs["seed"]
            setting = next(each for each in queue.trials() if each.number == number)
            training, model_options = self._options(plan, setting)
            training = replace(training, epochs=plan.full_epochs, seed=seed)
            folder = f"confirmed-{number:04d}-seed-{seed}"
            trainer.train(confirmation, trial, dataset, folder, training, model_options, final=True)
            name = DEFAULTS_NOTE if setting.user_attrs.get("key") == DEFAULTS_NOTE else f"settings of trial {number}"
            clock.tell(confirmation, trial.number, total, f"{name}, seed {seed}")
        return _is_complete(confirmation, 0)

    def _options(self, plan: TuningPlan, trial: "FrozenTrial") -> tuple[TrainingOptions, dict[str, Any]]:
        """Return the options of a trial."""
        if trial.user_attrs.get("key") == DEFAULTS_NOTE:
            return plan.training, dict(plan.model_options)
        values = plan.space.recall(trial.params)
        return plan.space.apply(values, plan.training, plan.model_options)

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
            if "settings" not in study.user_attrs:
                study.set_user_attr("settings", settings)
            if "data" not in study.user_attrs:
                study.set_user_attr("data", data)
        earlier = study.user_attrs
        for what, old, new in (("settings", earlier["settings"], settings), ("data", earlier["data"], data)):
            if old != new:
                raise ArtifactError(
                    f"The study '{name}' was begun with other {what}: {_difference(old, new)}. Continue it with the "
                    f"same {what}, or use another --study-dir."
                )
        queue = TrialQueue(study, worker, self._backend)
        known = plan.space.defaults(get_model(plan.model), plan.training, plan.model_options)
        enqueue_once(queue, {DEFAULTS_NOTE: {}}, known)
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


@dataclass(frozen=True)
class _Trainer:
    """Trains the trials of a study and its confirmation, each into a run folder."""

    plan: TuningPlan
    study_dir: Path
    data: str | Path | None
    deadline: float | None

    def train(
        self,
        queue: TrialQueue,
        trial: "optuna.Trial",
        dataset: ImageDataset,
        folder: str,
        training: TrainingOptions,
        model_options: Mapping[str, Any],
        *,
        final: bool = False,
    ) -> None:
        """Train one trial, or continue it, and record its result; if it is `final`, it is exported and not pruned."""
        import optuna
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        # A trial that another machine lost keeps the name of its folder.
        folder = trial.user_attrs.get("folder", folder)
        trial.set_user_attr("folder", folder)
        run = Run(self.study_dir / folder)
        reported = set(queue.study.get_trials(deepcopy=False)[trial.number].intermediate_values)

        def on_epoch(history: list[dict[str, float]]) -> None:
            for row in history:
                if (epoch := int(row["epoch"])) not in reported:
                    trial.report(row["val_accuracy"], epoch)
                    reported.add(epoch)
            if len(history) >= training.epochs:
                return
            if self.plan.prune and not final and trial.should_prune():
                raise optuna.TrialPruned
            self._check_time()

        started = time.monotonic()
        state = TrialState.COMPLETE
        note = {DEFAULTS_NOTE: DEFAULTS_NOTE}.get(trial.user_attrs.get("key", ""), "")
        try:
            self._check_time()
            with queue.alive(trial):
                train_model(
                    self.plan.model,
                    dataset,
                    run,
                    training,
                    model_options=model_options,
                    resume=True,
                    export=final,
                    data=self.data,
                    on_epoch=on_epoch,
                )
        except optuna.TrialPruned:
            state = TrialState.PRUNED
        except (DivergedError, OptionError) as error:
            # The sampler learns from a trial that is pruned, not from one that failed.
            state, note = TrialState.PRUNED, str(error)
            logger.warning("trial %d: %s", trial.number, error)
        except UpdateFinishedTrialError:
            logger.warning(_TAKEN_OVER, trial.number)
            return
        except BaseException:
            queue.release(trial)
            raise
        finally:
            if get_model(self.plan.model).kind == "cnn":
                import_keras().utils.clear_session()
        self._record(queue, trial, run, state, note, time.monotonic() - started)

    def _check_time(self) -> None:
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise OutOfTimeError

    def _record(
        self, queue: TrialQueue, trial: "optuna.Trial", run: Run, state: Any, note: str, seconds: float
    ) -> None:
        """Write a trial's result to the study."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        value = None
        history = run.history if (run.path / "config.json").exists() else []
        attributes: dict[str, Any] = {
            "note": note,
            "epochs": len(history) or None,
            "seconds": round(sum(row["seconds"] for row in history) or seconds, 1),
        }
        if state == TrialState.COMPLETE:
            for split, metrics in run.metrics.items():
                attributes |= {f"{split}_accuracy": metrics.accuracy, f"{split}_macro_f1": metrics.macro_f1}
            value = attributes[f"val_{self.plan.metric}"]
            attributes["train_images"] = sum(run.config.image_counts["train"].values())
        else:
            run.remove_checkpoint()
            if history:
                attributes["val_accuracy"] = max(row["val_accuracy"] for row in history)
        with quiet_optuna():
            try:
                for name, attribute in attributes.items():
                    trial.set_user_attr(name, attribute)
                queue.study.tell(trial, value, state=state)
            except UpdateFinishedTrialError:
                logger.warning(_TAKEN_OVER, trial.number)


class _Clock:
    """Tells the progress and the time left."""

    def __init__(self) -> None:
        self._started, self._done = time.monotonic(), 0

    def tell(self, queue: TrialQueue, number: int, total: int, name: str) -> None:
        """Write a line about a trial that ended."""
        from optuna.trial import TrialState

        self._done += 1
        trials = queue.trials()
        ended = [each for each in trials if each.state.is_finished()]
        running = sum(each.state == TrialState.RUNNING for each in trials)
        left = (time.monotonic() - self._started) / self._done * max(0, total - len(ended)) / (1 + running)
        values = [each.value for each in ended if each.state == TrialState.COMPLETE and each.value is not None]
        trial = next((each for each in ended if each.number == number), None)
        if trial is None:
            return
        result = "pruned" if trial.state == TrialState.PRUNED else f"{trial.value:.2%}"
        best = f", best {max(values):.2%}" if values else ""
        rest = f", about {describe_seconds(left)} left" if total > len(ended) else ""
        logger.info("%s: %s%s (%d of %d%s)", name, result, best, len(ended), total, rest)


def choose_best(trials: "list[FrozenTrial]", n: int) -> "list[FrozenTrial]":
    """Return the trial with the defaults and the `n` best others, by their value on val; the defaults come first."""
    from optuna.trial import TrialState

    finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    defaults = [trial for trial in finished if trial.user_attrs.get("key") == DEFAULTS_NOTE]
    others = [trial for trial in finished if trial not in defaults]
    return defaults[:1] + sorted(others, key=lambda trial: (-(trial.value or 0), trial.number))[:n]


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
    for folder in (*study_dir.glob("trial-[0-9]*"), *study_dir.glob("confirmed-[0-9]*")):
        shutil.rmtree(folder)


def describe_data(dataset: ImageDataset) -> dict[str, Any]:
    """Return what identifies the images of a study and their split."""
    info = dataset.info
    counts = {name: int((dataset.splits == name).sum()) for name in np.unique(dataset.splits)}
    return {
        "title": info.title,
        "sha256": info.sha256,
        "class_names": list(dataset.class_names),
        "sample_size": info.sample_size,
        "split": info.split and info.split.to_json(),
        "counts": counts,
    }


def describe_seconds(seconds: float) -> str:
    """Return a duration in words, such as ``1 h 5 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{rest} s"


def to_list(value: Any) -> Any:
    """Return a value as it is read back from JSON."""
    return list(value) if isinstance(value, tuple) else value


def _is_complete(queue: TrialQueue, n_trials: int) -> bool:
    """Return whether enough trials have ended and none is left."""
    trials = queue.trials()
    return len(trials) >= n_trials and all(trial.state.is_finished() for trial in trials)


def _draw_known(plan: TuningPlan, trial: "optuna.Trial") -> dict[str, Any]:
    """Record the defaults that the space contains as the values of the first trial."""
    known = plan.space.defaults(get_model(plan.model), plan.training, plan.model_options)
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


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return the first differences of two mappings in words."""
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    first = names[0]
    before, now = old.get(first), new.get(first)
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        return f"{first}.{_difference(before, now)}"
    return f"{first} was {before!r}, now {now!r}"
