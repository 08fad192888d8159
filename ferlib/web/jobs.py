"""Video jobs: each is a process of ``ferlib predict`` with limits, and a folder that is removed."""

import asyncio
import contextlib
import json
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ferlib.core.console import logger
from ferlib.core.threads import available_cores
from ferlib.inference.results import Record
from ferlib.web.child import Child, ChildError
from ferlib.web.folders import WorkFolder
from ferlib.web.metrics import Metrics
from ferlib.web.options import ServeOptions
from ferlib.web.problems import ProblemError

#: States after which a job does not change.
FINAL_STATES = frozenset({"done", "failed", "cancelled"})

#: The files of a result.
RESULTS = ("result.jsonl", "result.csv")

_POLL_SECONDS = 0.2
_PROBE_SECONDS = 60.0

# Results of more finished jobs are not kept.
_MAX_FINISHED = 32


@dataclass(eq=False)
class VideoJob:
    """A job and its progress."""

    folder: Path
    arguments: tuple[str, ...]  # options of ``ferlib predict``
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    state: str = "queued"
    frames_done: int = 0
    frames_total: int | None = None
    summary: Record | None = None
    error: str | None = None
    finished: float | None = None  # time.monotonic()
    task: asyncio.Task[None] | None = None

    @property
    def video(self) -> Path:
        """The uploaded file."""
        return self.folder / "video"

    def describe(self) -> dict[str, Any]:
        """Return the job as JSON values."""
        links = {"self": f"/v1/jobs/{self.id}", "events": f"/v1/jobs/{self.id}/events"}
        if self.state in FINAL_STATES:
            links |= {name: f"/v1/jobs/{self.id}/{name}" for name in RESULTS if (self.folder / name).exists()}
        summary = self.summary or {}
        return {
            "id": self.id,
            "state": self.state,
            "created": self.created.isoformat(timespec="seconds"),
            "frames_done": self.frames_done,
            "frames_total": self.frames_total,
            "seconds": summary.get("seconds"),
            "tracks": summary.get("tracks"),
            "error": self.error,
            "links": links,
        }


class Jobs:
    """All jobs of the service."""

    def __init__(self, options: ServeOptions, metrics: Metrics) -> None:
        cores = available_cores()
        self._options = options
        self._metrics = metrics
        self.n_running_max = options.jobs or max(1, cores // 2)
        self._threads = max(1, cores // self.n_running_max)
        self._slots = asyncio.Semaphore(self.n_running_max)
        self._folder = WorkFolder()
        self._jobs: dict[str, VideoJob] = {}
        self._n_arriving = 0

    def count(self, state: str) -> int:
        """Return the number of jobs in a state."""
        return sum(job.state == state for job in self._jobs.values())

    def find(self, job_id: str) -> VideoJob:
        """Return a job; a `ProblemError` if there is none (status 404)."""
        self._forget_old()
        job = self._jobs.get(job_id)
        if job is None:
            raise ProblemError(404, "There is no such job; results are kept for a limited time.", reason="job")
        return job

    @contextlib.asynccontextmanager
    async def create(self, arguments: tuple[str, ...]) -> AsyncIterator[VideoJob]:
        """Yield a new job, whose file `VideoJob.video` the block writes; then it starts.

        Raises
        ------
        ProblemError
            Too many jobs wait (status 503), or the folder cannot be made (status 507).
        """
        self._forget_old()
        n_unfinished = self._n_arriving + sum(job.state not in FINAL_STATES for job in self._jobs.values())
        if n_unfinished >= self.n_running_max + self._options.max_waiting_jobs:
            raise ProblemError(
                503, "Too many videos wait; try again later.", reason="busy", headers={"Retry-After": "30"}
            )
        self._n_arriving += 1
        try:
            job_id = secrets.token_urlsafe(16)
            try:
                job = VideoJob(self._folder.make(job_id), arguments, job_id)
            except OSError:
                raise ProblemError(507, "There is no space left for videos.", reason="disk") from None
            try:
                yield job
            except BaseException:
                shutil.rmtree(job.folder, ignore_errors=True)
                raise
        finally:
            self._n_arriving -= 1
        self._jobs[job.id] = job
        job.task = asyncio.create_task(self._run(job))

    async def delete(self, job: VideoJob) -> None:
        """Kill a job that has not finished, which then is cancelled; forget a finished one. Its files are removed."""
        if job.state in FINAL_STATES:
            self._jobs.pop(job.id, None)
        elif job.task is not None:
            job.task.cancel()
            await asyncio.wait([job.task])
        shutil.rmtree(job.folder, ignore_errors=True)

    async def close(self) -> None:
        """Kill all jobs and remove all files."""
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._folder.close()

    def _forget_old(self) -> None:
        """Remove the results that have been kept long enough, and the oldest if there are many."""
        finished = sorted((job for job in self._jobs.values() if job.finished), key=lambda job: -(job.finished or 0))
        oldest = time.monotonic() - self._options.keep_seconds
        for number, job in enumerate(finished):
            if number >= _MAX_FINISHED or (job.finished or 0) < oldest:
                del self._jobs[job.id]
                shutil.rmtree(job.folder, ignore_errors=True)

    async def _run(self, job: VideoJob) -> None:
        """Wait for a slot, process the video and note the final state."""
        state = "failed"
        try:
            async with self._slots:
                job.state = "running"
                async with asyncio.timeout(self._options.max_job_seconds):
                    await self._process(job)
            state = "done"
        except asyncio.CancelledError:
            state = "cancelled"
        except TimeoutError:
            job.error = "It took more time than allowed."
        except ChildError as error:
            job.error = str(error)
        except OSError as error:
            job.error = f"A file cannot be written ({error.strerror})."
        except Exception:
            logger.exception("error in a video job")
            job.error = "The service has a fault; it was logged."
        finally:
            for path in job.folder.glob("video*"):
                path.unlink(missing_ok=True)
            job.state, job.finished = state, time.monotonic()
            self._metrics.jobs.labels(state).inc()
            logger.info("video job %s after %d frames", state, job.frames_done)
            asyncio.get_running_loop().call_later(self._options.keep_seconds + 1, self._forget_old)

    async def _process(self, job: VideoJob) -> None:
        """Run the two processes of a job."""
        video = job.video.rename(job.video.with_suffix(_suffix(job.video)))
        seconds = self._options.max_job_seconds
        async with Child(("-m", "ferlib.web.probe", video.name), job.folder, max_seconds=_PROBE_SECONDS) as child:
            if not await child.wait(_PROBE_SECONDS):
                raise ChildError("The file takes too long to open.")
            self._check(job, json.loads(await child.check()))
        words = ("-m", "ferlib", "predict", video.name, "--quiet", "--threads", str(self._threads), *job.arguments)
        outputs = ("--output-json", RESULTS[0], "--output-csv", RESULTS[1])
        progress = _Progress(job)
        async with Child((*words, *outputs), job.folder, max_seconds=seconds * self._threads) as child:
            while not await child.wait(_POLL_SECONDS):
                progress.update()
                if progress.seconds > self._options.max_video_seconds:
                    raise ChildError(f"The video is longer than {self._options.max_video_seconds:g} seconds.")
            progress.update()
            await child.check()

    def _check(self, job: VideoJob, stated: dict[str, Any]) -> None:
        """Refuse a video that states to be too large or too long."""
        height, width = stated["size"]
        limits = self._options
        if height * width > limits.max_video_pixels:
            raise ChildError(
                f"The video has {width} x {height} pixels; the limit is {limits.max_video_pixels:,} pixels."
            )
        job.frames_total = stated["frames"]
        if (job.frames_total or 0) / stated["rate"] > limits.max_video_seconds:
            raise ChildError(f"The video is longer than {limits.max_video_seconds:g} seconds.")


class _Progress:
    """Reads the records that a job has written since the last time."""

    def __init__(self, job: VideoJob) -> None:
        self._job = job
        self._offset = 0
        self.seconds = 0.0

    def update(self) -> None:
        """Count new frames, and take the summary when it comes."""
        path = self._job.folder / RESULTS[0]
        path = path if path.exists() else path.with_name(path.name + ".part")
        try:
            with path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return
        complete = data[: data.rfind(b"\n") + 1]
        self._offset += len(complete)
        lines = complete.splitlines()
        last: Record | None = None
        for number, line in enumerate(lines):
            # Only the last frame and what follows the frames have to be parsed.
            if number < len(lines) - 1 and b'"frame":' in line[:200]:
                self._job.frames_done += 1
                continue
            record = json.loads(line)
            if "frame" in record:
                self._job.frames_done += 1
                last = record
            elif "tracks" in record:
                self._job.summary = record
        if last is not None:
            self.seconds = last["time"]


def _suffix(path: Path) -> str:
    """Return the suffix by which the reader tells animated images from videos."""
    with path.open("rb") as file:
        start = file.read(12)
    if start.startswith((b"GIF87a", b"GIF89a")):
        return ".gif"
    return ".webp" if start[:4] == b"RIFF" and start[8:] == b"WEBP" else ".mp4"
