"""The engine of many machines: actors of Ray Data, each of which scores whole parts."""

import logging
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ferlib import __version__
from ferlib.core.backend import suppress_native_stderr
from ferlib.core.console import logger
from ferlib.core.errors import FerlibError
from ferlib.core.threads import available_cores
from ferlib.core.words import counted
from ferlib.inference.results import Record
from ferlib.scoring.parts import Done, Parts
from ferlib.scoring.plan import Plan
from ferlib.scoring.storage import OutputFolder
from ferlib.scoring.worker import Work

# More blocks than this would burden the process that distributes them; each block then has several parts.
_MAX_BLOCKS = 10_000

# How long a cluster may take to answer.
_CONNECT_SECONDS = 10.0

# Read by Ray when it is imported or started: it sends no data about its use elsewhere, does not announce a change that
# does not concern actors without a GPU, and does not warn that actors with large arguments depend on this process.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}


def run_ray(
    output: str, numbers: Sequence[int], work: Work, *, n_workers: int | None, address: str | None, retry: bool
) -> Iterator[Done]:
    """Score some parts on a cluster, and yield what was done, part by part.

    The parts of a node that is lost are scored by others. A part that was written before its node was lost is not
    scored again.

    Parameters
    ----------
    output : str
        The output folder, which all nodes can reach.
    numbers : sequence of int
        The parts.
    work : Work
    n_workers : int, optional
        Number of actors; one per CPU of the cluster except one if None.
    address : str, optional
        Address of the cluster; that of RAY_ADDRESS, or a new one on this machine, if None.
    retry : bool
        See `ferlib.scoring.parts.Parts`.

    Raises
    ------
    FerlibError
        The cluster cannot be reached or is too small, or its nodes lack ferlib, a file, or the output folder.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray
    import ray.data

    n_cpus = _connect(address, n_workers)
    try:
        n_actors = min(len(numbers), n_workers or n_cpus - 1, n_cpus - 1)
        if len(numbers) < n_cpus - 1 and not n_workers:
            logger.info(
                "%s for %s: a smaller --part-size would use all of them",
                counted(len(numbers), "part"),
                counted(n_cpus, "CPU"),
            )
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        arguments = {"output": output, "work": _on_nodes(work), "retry": retry, "version": __version__}
        done = ray.data.from_items(
            [{"part": number} for number in numbers], override_num_blocks=min(len(numbers), _MAX_BLOCKS)
        ).map_batches(
            PartScorer,
            fn_constructor_kwargs=arguments,
            batch_size=1,
            batch_format="numpy",
            # Whole CPUs: with halves, none may be left for Ray's own tasks.
            num_cpus=1,
            # Nodes that join later are used too.
            compute=ray.data.ActorPoolStrategy(min_size=n_actors, max_size=n_workers),
        )
        for row in done.iter_rows():
            if row["problem"]:
                raise FerlibError(row["problem"])
            yield Done(row["files"], row["errors"], row["found"])
    except ray.exceptions.RayError as error:
        raise FerlibError(f"Ray: {_last_line(error)}.") from error
    finally:
        ray.shutdown()


def _connect(address: str | None, n_workers: int | None) -> int:
    """Connect to a cluster, or start one on this machine, and return its number of CPUs."""
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None and not os.environ.get("RAY_ADDRESS"):
        # One more than there are workers, for Ray's own tasks.
        options |= {"num_cpus": (n_workers or available_cores()) + 1, "include_dashboard": False}
    _check_address(address or os.environ.get("RAY_ADDRESS", ""))
    try:
        # It says there which level of messages it got from the environment.
        with suppress_native_stderr():
            try:
                ray.init(address=address, **options)
            except Exception as error:
                # Ray gives a new cluster 30 seconds, which are too few where other work takes the processors.
                if "timed out during startup" not in str(error):
                    raise
                ray.shutdown()
                ray.init(address=address, **options)
    # Ray raises several kinds of errors.
    except Exception as error:
        raise FerlibError(
            f"The Ray cluster at {address or 'this machine'} cannot be used ({_last_line(error)})."
        ) from None
    n_cpus = int(ray.cluster_resources().get("CPU", 0))
    if n_cpus < 2:
        ray.shutdown()
        raise FerlibError(
            f"The Ray cluster has {counted(n_cpus, 'CPU')}; it needs one per worker, and one for Ray's own tasks."
        )
    return n_cpus


def _check_address(address: str) -> None:
    """Raise a `FerlibError` if nothing answers at an address, for which Ray would wait for minutes."""
    host, separator, port = address.rpartition(":")
    if not (separator and port.isdecimal()) or "/" in host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise FerlibError(
            f"The Ray cluster at {address} cannot be reached ({error.strerror or error}); "
            "`ray status` on one of its nodes shows whether it runs."
        ) from None


def _on_nodes(work: Work) -> Work:
    """Return work with absolute paths, because nodes have a current folder of their own."""
    scorer = dict(work.scorer)
    for name in ("classifier", "detector_model"):
        if scorer[name] is not None:
            scorer[name] = Path(scorer[name]).resolve()
    return replace(work, scorer=scorer)


def _last_line(error: Exception) -> str:
    """Return the last line of an error, in which Ray names the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1].rstrip(".")[:300]


class PartScorer:
    """Scores parts in an actor; the files are read in a process of its own, which they may end.

    Parameters
    ----------
    output, work, retry
        See `run_ray`.
    version : str
        The version of ferlib on the machine that started the job.
    """

    def __init__(self, output: str, work: Work, *, retry: bool, version: str) -> None:
        self._problem = ""
        self._work = work
        self._pool = work.make_pool(1)
        node = os.uname().nodename if hasattr(os, "uname") else "this node"
        if version != __version__:
            self._problem = f"The node {node} has ferlib {__version__}, the job needs {version}."
            return
        try:
            folder = OutputFolder(output, work.storage())
            plan = Plan.read(folder)
            if plan is None:
                raise FerlibError(
                    f"{output} is not the same folder on the node {node}; use a shared folder or an object store."
                )
            self._parts = Parts(plan, folder, work.schema, retry=retry)
        except FerlibError as error:
            self._problem = str(error)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        """Score the parts whose numbers are in a batch, and return what was done for each."""
        rows = [self._score(int(number)) for number in batch["part"]]
        return {name: [row[name] for row in rows] for name in rows[0]}

    def _score(self, number: int) -> dict[str, Any]:
        """Score one part."""
        done, problem = Done(), self._problem
        try:
            if not problem and not self._parts.is_finished(number):
                records: list[Record] = []
                for finished in self._pool.map(self._work.split(self._parts.paths(number), 1)):
                    records += finished
                self._parts.write(number, records)
                done = Done.of(records)
        except FerlibError as error:
            problem = str(error)
        return {"part": number, "files": done.files, "errors": done.errors, "found": done.found, "problem": problem}
