"""The work of ``ferlib score``: plan it, let an engine do it, and report progress."""

import hashlib
import importlib.util
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ferlib import __version__
from ferlib.core.console import logger, progress_bar
from ferlib.core.errors import FerlibError
from ferlib.core.threads import available_cores
from ferlib.core.words import counted
from ferlib.inference.batch import describe_origin
from ferlib.inference.recognizer import EmotionRecognizer
from ferlib.runs.folder import Run, pretrained_run_dir
from ferlib.scoring.inputs import InputList, check_not_empty
from ferlib.scoring.local import run_local
from ferlib.scoring.options import ScoreOptions
from ferlib.scoring.parts import Done, Parts
from ferlib.scoring.plan import Plan
from ferlib.scoring.storage import OutputFolder, Storage, split_options
from ferlib.scoring.worker import Work

# Where there is no progress bar, a line is logged this often, in seconds.
_LOG_SECONDS = 60.0

# Options that change no row.
_FREE = {"engine", "workers", "address", "update", "retry_errors", "output", "part_size", "batch_size"}


class ScoringJob:
    """One call of ``ferlib score``.

    Parameters
    ----------
    options : ScoreOptions

    Attributes
    ----------
    n_files : int
        Number of files of the whole job.
    done : Done
        What this call has done.
    noun : str
        "image" or "video".

    Raises
    ------
    FerlibError
        A package is missing, the output cannot be written or belongs to another configuration, or there is no input.
    """

    def __init__(self, options: ScoreOptions) -> None:
        _check_packages(options)
        self.options = options
        self.noun = "video" if options.videos else "image"
        *self._inputs, output = split_options([*options.inputs, options.output])[0]
        self._storage = Storage(split_options([*options.inputs, options.output])[1])
        self._output = OutputFolder(output, self._storage)
        # One recognizer here shows that the model can be loaded before processes try.
        recognizer = EmotionRecognizer(**options.recognizer_arguments(), n_threads=1)
        self.work = Work(
            videos=options.videos,
            scorer=options.scorer_arguments(),
            class_names=tuple(recognizer.classifier.class_names),
            origin=describe_origin(recognizer, options.detector),
            store_options=split_options([*options.inputs, options.output])[1],
            root=os.getcwd(),  # noqa: PTH109
        )
        self._output.check()
        self._plan = self._make_plan()
        self._parts = Parts(self._plan, self._output, self.work.schema, retry=options.retry_errors)
        self.n_files = self._plan.n_files
        self.done = Done()

    def run(self) -> None:
        """Score what has not been scored yet."""
        numbers = self._parts.pending()
        n_todo = self._parts.count_pending(numbers)
        n_before = self.n_files - n_todo
        if n_before:
            logger.info("%s of %s are already done", f"{n_before:,}", counted(self.n_files, self.noun))
        if not numbers:
            return
        with _Progress(self.n_files, n_before, self.noun) as progress:
            for done in self._engine()(numbers):
                self.done += done
                progress.advance(done)

    def _engine(self) -> Callable[[list[int]], Iterator[Done]]:
        """Return the function that scores parts."""
        options = self.options
        if options.engine == "local":
            n_workers = options.workers or available_cores()
            return lambda numbers: run_local(self._parts, numbers, self.work, n_workers=n_workers)
        from ferlib.scoring.cluster import run_ray

        return lambda numbers: run_ray(
            self._output.path,
            numbers,
            self.work,
            n_workers=options.workers,
            address=options.address,
            retry=options.retry_errors,
        )

    def _make_plan(self) -> Plan:
        """Return the plan in the output folder, or a new one."""
        configuration = self._describe()
        plan = Plan.read(self._output)
        options = self.options
        if plan is None:
            logger.info("listing the %ss", self.noun)
            plan = Plan.create(self._output, self._list(), configuration, options.rows_per_part)
            check_not_empty(plan.n_files, options.inputs, self.noun)
            return plan
        plan.check(configuration)
        if options.update:
            n_new = plan.add(self._list(plan.all_paths()))
            logger.info("%s added since the last call", counted(n_new, self.noun))
        return plan

    def _list(self, known: Any = ()) -> InputList:
        options = self.options
        return InputList(self._inputs, self._storage, videos=options.videos, column=options.path_column, known=known)

    def _describe(self) -> dict[str, Any]:
        """Return all on which the rows depend."""
        options = asdict(self.options)
        described = {name: value for name, value in options.items() if name not in _FREE}
        run = self.options.run
        described |= {
            "inputs": list(self._inputs),
            "run": None if run is None else Run(run).name,
            "weights": _digest_weights(
                Run(pretrained_run_dir(self.options.model or "default") if run is None else run)
            ),
            "detector_model": None if self.options.detector_model is None else _digest(self.options.detector_model),
            "ferlib_version": __version__,
        }
        return described


def _check_packages(options: ScoreOptions) -> None:
    """Raise a `FerlibError` if a package that the job needs is missing."""
    needed = {"pyarrow": "pyarrow"} | ({"ray": "Ray"} if options.engine == "ray" else {})
    for module, name in needed.items():
        if importlib.util.find_spec(module) is None:
            raise FerlibError(f'ferlib score needs {name}: pip install "ferlib[scale]".')


def _digest_weights(run: Run) -> str:
    """Return a checksum of what prediction loads of a run and its members."""
    runs = [run, *run.members]
    files = [path for item in runs for path in (item.path / "config.json", item.model_file) if path is not None]
    return hashlib.sha256("".join(map(_digest, files)).encode()).hexdigest()[:16]


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise FerlibError(f"{path} cannot be read ({error.strerror}).") from None


class _Progress:
    """A progress bar, or a line every minute where there is none."""

    def __init__(self, n_files: int, n_before: int, noun: str) -> None:
        self._total, self._n, self._noun = n_files, n_before, noun
        self._n_before, self._errors = n_before, 0
        self._started = self._logged = time.monotonic()
        self._bar = progress_bar(
            total=n_files, initial=n_before, unit=noun, unit_scale=n_files > 99_999, smoothing=0.05
        )

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def advance(self, done: Done) -> None:
        """Count what was done."""
        self._n += done.files
        self._errors += done.errors
        self._bar.update(done.files)
        if self._errors:
            self._bar.set_postfix_str(counted(self._errors, "error"), refresh=False)
        now = time.monotonic()
        if self._bar.disable and now - self._logged > _LOG_SECONDS:
            self._logged = now
            rate = (self._n - self._n_before) / (now - self._started)
            logger.info(
                "%s of %s, %.1f %ss/s, %s left, %s",
                f"{self._n:,}",
                counted(self._total, self._noun),
                rate,
                self._noun,
                _duration((self._total - self._n) / rate) if rate else "?",
                counted(self._errors, "error"),
            )


def _duration(seconds: float) -> str:
    """Return a duration in words."""
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours / 24:.1f} days"
