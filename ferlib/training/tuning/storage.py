"""Where a study is stored: a journal file on one machine, or a database that many machines share."""

import contextlib
import fcntl
import logging
import os
import re
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ferlib.core.errors import ArtifactError, FerlibError, OptionError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

#: The journal in a study's folder.
JOURNAL = "study.journal"

# How often a database is opened, a second apart, if another worker is creating its tables.
_TRIES = 5

# Seconds between signs of life of a trial in a database, and without one until it is given to another machine.
HEARTBEAT_SECONDS, STALE_SECONDS = 60, 240

logger = logging.getLogger(__name__)


def is_database(storage: str | None) -> bool:
    """Return whether a storage is the URL of a database."""
    return storage is not None and "://" in storage


def hide_password(text: str) -> str:
    """Return text with ``***`` in place of passwords in URLs."""
    return re.sub(r"(://[^/@\s:]*):[^/@\s]*@", r"\1:***@", text)


def open_storage(storage: str | None, study_dir: Path, *, create: bool = True) -> "BaseStorage":
    """Return a study's storage.

    Parameters
    ----------
    storage : str or None
        The URL of a database, such as ``postgresql+psycopg://host/name``; None for the journal in `study_dir`.
    study_dir : Path
    create : bool
        Make the journal if it is missing.

    Raises
    ------
    ArtifactError
        The journal is missing and `create` is not set, or it is damaged.
    OptionError
        The URL is wrong.
    FerlibError
        The database cannot be reached.
    """
    with quiet_optuna():
        from optuna.storages import JournalStorage, RDBStorage
        from optuna.storages.journal import JournalFileBackend

        if not is_database(storage):
            journal = study_dir / JOURNAL
            if not create and not journal.exists():
                raise ArtifactError(f"There is no study in {study_dir}: it has no {JOURNAL}.")
            try:
                study_dir.mkdir(parents=True, exist_ok=True)
                lock: Any = _FileLock(journal)
                _remove_unfinished_line(journal, lock)
                return JournalStorage(JournalFileBackend(str(journal), lock_obj=lock))
            except OSError as error:
                raise FerlibError(f"{journal} cannot be written ({error.strerror}).") from error
            except (ValueError, LookupError) as error:
                raise ArtifactError(f"{journal} is damaged ({error}).") from error
        assert storage is not None
        from optuna.storages import RetryHeartbeatStaleTrialCallback
        from sqlalchemy.exc import (
            ArgumentError,
            IntegrityError,
            NoSuchModuleError,
            ProgrammingError,
            SQLAlchemyError,
        )
        from sqlalchemy.pool import NullPool

        def connect() -> RDBStorage:
            return RDBStorage(
                storage,
                # Minutes pass between two connections, and none is left open.
                engine_kwargs={"poolclass": NullPool},
                heartbeat_interval=HEARTBEAT_SECONDS,
                grace_period=STALE_SECONDS,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
            )

        shown = hide_password(storage)
        try:
            for _ in range(_TRIES - 1):
                # Another worker may create the tables of a new database at the same time.
                with contextlib.suppress(IntegrityError, ProgrammingError):
                    return connect()
                time.sleep(1)
            return connect()
        except (ArgumentError, NoSuchModuleError, ValueError):
            raise OptionError(
                f"--storage: expected a URL such as postgresql+psycopg://host/name, got {shown!r}."
            ) from None
        except ImportError:
            if "psycopg:" in storage:
                raise FerlibError('The package psycopg is not installed: pip install "ferlib[tune]".') from None
            raise OptionError(
                f"--storage {shown}: the driver is not installed; the extra tune has that of postgresql+psycopg://."
            ) from None
        except SQLAlchemyError as error:
            reason = hide_password(str(getattr(error, "orig", None) or error)).strip().splitlines()[0]
            raise FerlibError(f"--storage {shown} cannot be used ({reason}).") from None


class _FileLock:
    """The lock of a journal; the system releases it when its process ends, unlike Optuna's own."""

    def __init__(self, journal: Path) -> None:
        self._path = journal.with_suffix(".lock")
        self._file: Any = None

    def acquire(self) -> bool:
        """Wait for the lock and take it."""
        self._file = self._path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        """Give the lock back."""
        self._file.close()


def _remove_unfinished_line(journal: Path, lock: _FileLock) -> None:
    """Remove the end of a journal that a full disk or a power failure has cut off."""
    lock.acquire()
    try:
        if journal.exists() and (data := journal.read_bytes()) and not data.endswith(b"\n"):
            logger.warning("the last line of %s is incomplete and was removed", journal)
            os.truncate(journal, data.rfind(b"\n") + 1)
    finally:
        lock.release()


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Suppress Optuna's messages, and its warnings about interfaces that it calls experimental."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.filterwarnings("ignore", message="Heartbeat of storage", category=UserWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)


@contextlib.contextmanager
def storage_errors(storage: str | None) -> Iterator[None]:
    """Raise as one sentence that a storage cannot be reached any more."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        cause: Any = error.__cause__ or error
        reason = hide_password(str(getattr(cause, "orig", None) or cause)).strip().splitlines()[0]
        shown = hide_password(storage or JOURNAL)
        raise FerlibError(f"--storage {shown} cannot be reached ({reason}); the same command continues.") from error
