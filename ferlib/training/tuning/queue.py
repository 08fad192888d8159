"""The trials of a study as a queue for any number of processes: no trial is lost, and none is trained twice.

Three rules hold on one machine. A process takes and gives back trials only while it holds the lock of the study's
folder. A trial names the worker that trains it. A worker holds a lock of its own until it ends, however it ends, so
that the others notice and give its trial back. On other machines, a trial without a sign of life in the database is
enqueued again; see `ferlib.training.tuning.storage`.
"""

import contextlib
import fcntl
import logging
import socket
import threading
import uuid
import zlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ferlib.training.tuning.storage import HEARTBEAT_SECONDS, STALE_SECONDS, quiet_optuna

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

logger = logging.getLogger(__name__)

# How often a trial may end its process, because memory is full for example.
_MAX_ATTEMPTS = 3

_WORKERS, _CLAIM = ".workers", "claim.lock"


class Worker:
    """A process among the others that work on a study in the same folder; a context manager."""

    def __init__(self, study_dir: Path) -> None:
        self.folder = study_dir / _WORKERS
        self.name = f"{socket.gethostname()}-{uuid.uuid4().hex[:12]}"

    def __enter__(self) -> "Worker":
        """Take the worker's lock."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file = self._path(self.name).open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Give the lock back; after an exception, the file tells the others to look for a trial of this worker."""
        if kind is None:
            self._path(self.name).unlink(missing_ok=True)
        self._file.close()

    @contextlib.contextmanager
    def claim_lock(self) -> Iterator[None]:
        """Hold the lock under which the workers of this folder take trials."""
        with (self.folder / _CLAIM).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def is_gone(self, name: str) -> bool:
        """Return whether another worker of this folder has ended without giving its trial back."""
        path = self._path(name)
        try:
            file = path.open("r+")
        except OSError:
            return False  # a worker of another machine
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
            return True

    def forget(self, name: str) -> None:
        """Remove the lock of a worker that is gone."""
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.folder / f"{Path(name).name}.lock"


class TrialQueue:
    """The trials of one study, of which this process trains one at a time.

    Parameters
    ----------
    study : optuna.Study
    worker : Worker
    storage : optuna.storages.BaseStorage
        That of the study.
    """

    def __init__(self, study: "optuna.Study", worker: Worker, storage: Any) -> None:
        self.study = study
        self.worker = worker
        self._storage = storage
        self._study_id = storage.get_study_id_from_name(study.study_name)
        # Only databases have signs of life.
        self._has_heartbeat = hasattr(storage, "record_heartbeat")

    def trials(self) -> "list[FrozenTrial]":
        """Return the trials in the order of their numbers; those that were replaced are left out."""
        from optuna.trial import TrialState

        return [trial for trial in self.study.get_trials(deepcopy=False) if trial.state != TrialState.FAIL]

    def claim(self, limit: int, *, may_create: bool, make_sampler: Any = None) -> "optuna.Trial | None":
        """Return a trial to train, an interrupted one first, or None if there is none.

        Parameters
        ----------
        limit : int
            The number of trials of the study that are or will be trained.
        may_create : bool
            Whether a new trial may be made if none waits.
        make_sampler : callable, optional
            Called with a random seed; returns the sampler of a new trial.
        """
        with quiet_optuna(), self.worker.claim_lock():
            self._recover()
            while True:
                trial = self._take(limit, may_create=may_create, make_sampler=make_sampler)
                if trial is None or self._is_mine(trial, limit, may_create=may_create):
                    return trial

    def _take(self, limit: int, *, may_create: bool, make_sampler: Any) -> "optuna.Trial | None":
        """Return the next trial with this worker's name on it; see `claim`."""
        from optuna.trial import TrialState

        trials = self.trials()
        waiting = [trial for trial in trials if trial.state == TrialState.WAITING]
        if len(trials) - len(waiting) >= limit or not (waiting or may_create):
            return None
        for each in waiting:
            # They may have waited for longer than a trial may be without a sign of life.
            self._sign_of_life(each.number)
        if make_sampler is not None:
            self.study.sampler = make_sampler(self._seed(len(trials)))
        trial = self.study.ask()
        self._sign_of_life(trial.number)
        trial.set_user_attr("worker", self.worker.name)
        return trial

    def _is_mine(self, trial: "optuna.Trial", limit: int, *, may_create: bool) -> bool:
        """Return whether to train a trial; if another machine took the same one at the same moment, the first does."""
        from optuna.trial import TrialState

        key = trial.user_attrs.get("key")
        earlier = [each for each in self.trials() if each.number < trial.number and each.state != TrialState.WAITING]
        is_twice = key is not None and any(each.user_attrs.get("key") == key for each in earlier)
        if len(earlier) < limit and not is_twice and (may_create or key is not None):
            return True
        self.study.tell(trial, state=TrialState.FAIL)
        return False

    def release(self, trial: "optuna.Trial") -> None:
        """Give a trial back, to be continued later."""
        with quiet_optuna(), self.worker.claim_lock():
            self._put_back(trial.number)

    @contextlib.contextmanager
    def alive(self, trial: "optuna.Trial") -> Iterator[None]:
        """Show signs of life of a trial while the block runs."""
        if not self._has_heartbeat:
            yield
            return
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(HEARTBEAT_SECONDS):
                # The training goes on without a connection, which `tell` needs again.
                with contextlib.suppress(Exception):
                    self._sign_of_life(trial.number)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _recover(self) -> None:
        """Enqueue the trials whose workers are gone."""
        from optuna.storages import fail_stale_trials
        from optuna.trial import TrialState

        gone = set()
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            name = trial.user_attrs.get("worker", "")
            # Without a name, the worker ended between taking and signing it, or is doing so on another machine.
            if self._is_orphan(trial) if not name else self.worker.is_gone(name):
                attempts = trial.user_attrs.get("attempts", 0) + 1
                if attempts > _MAX_ATTEMPTS:
                    logger.warning("trial %d ended its process %d times and is given up", trial.number, attempts)
                    self._give_up(trial.number)
                else:
                    logger.info("trial %d was interrupted and is continued", trial.number)
                    self._put_back(trial.number, attempts)
                gone.add(name)
        for name in gone - {""}:
            self.worker.forget(name)
        if self._has_heartbeat:
            fail_stale_trials(self.study)

    def _is_orphan(self, trial: "FrozenTrial") -> bool:
        if not self._has_heartbeat or trial.datetime_start is None:
            return True
        return (datetime.now() - trial.datetime_start).total_seconds() > STALE_SECONDS

    def _put_back(self, number: int, attempts: int = 0) -> None:
        """Set a trial's state to waiting; its settings and its folder stay."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        identifier = self._identify(number)
        with contextlib.suppress(UpdateFinishedTrialError):
            self._sign_of_life(number)
            self._storage.set_trial_user_attr(identifier, "worker", "")
            self._storage.set_trial_user_attr(identifier, "attempts", attempts)
            self._storage.set_trial_state_values(identifier, state=TrialState.WAITING)

    def _give_up(self, number: int) -> None:
        from optuna.trial import TrialState

        self._storage.set_trial_user_attr(self._identify(number), "note", "ended its process")
        self._storage.set_trial_state_values(self._identify(number), state=TrialState.PRUNED)

    def _identify(self, number: int) -> int:
        return int(self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number))

    def _sign_of_life(self, number: int) -> None:
        if self._has_heartbeat:
            self._storage.record_heartbeat(self._identify(number))

    def _seed(self, n_trials: int) -> int:
        """Return a seed for the next trial; machines that draw at the same time get different ones."""
        base = int(self.study.user_attrs["settings"]["training"]["seed"]) if "settings" in self.study.user_attrs else 0
        machine = zlib.crc32(socket.gethostname().encode()) if self._has_heartbeat else 0
        # Seeds that are close to each other would give similar numbers.
        return int(np.random.SeedSequence([base, n_trials, machine]).generate_state(1)[0])


def enqueue_once(
    queue: TrialQueue, keys: Mapping[str, Mapping[str, Any]], params: Mapping[str, Any] | None = None
) -> None:
    """Enqueue a trial for each key that the study lacks, with these attributes and values of its parameters."""
    with quiet_optuna(), queue.worker.claim_lock():
        known = {trial.user_attrs.get("key") for trial in queue.trials()}
        for key, attributes in keys.items():
            if key not in known:
                queue.study.enqueue_trial(dict(params or {}), user_attrs={"key": key, **attributes})
