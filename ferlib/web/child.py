"""Processes with limits, which open the videos that clients send."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import ferlib
from ferlib.web.access import KEY_VARIABLE

#: Limits of a process: address space and size of a file in bytes.
MAX_MEMORY, MAX_FILE_SIZE = 6_000_000_000, 500_000_000

# How much of the messages of a process is kept.
_END_BYTES = 10_000

_LIMITED = Path(__file__).with_name("limited.py")

# FFmpeg would follow a playlist to other files and to addresses. Only containers of video are opened, and only files.
_CONTAINERS = (
    "mov",
    "mp4",
    "m4a",
    "3gp",
    "3g2",
    "mj2",
    "matroska",
    "webm",
    "avi",
    "mpeg",
    "mpegts",
    "asf",
    "flv",
    "ogg",
)
_FFMPEG_OPTIONS = f"protocol_whitelist;file|format_whitelist;{','.join(_CONTAINERS)}"

_KILLED = {
    signal.SIGXCPU: "It took more processor time than allowed.",
    signal.SIGXFSZ: "Its result is larger than allowed.",
}


class ChildError(Exception):
    """A process failed; the message is one sentence for the client."""


class Child:
    """A Python process in a folder, with limits; its group is killed at the end of the context.

    Parameters
    ----------
    arguments : sequence of str
        What follows ``python``.
    folder : Path
        The working directory, also for temporary files.
    max_seconds : float
        Limit of processor time.
    """

    def __init__(self, arguments: Sequence[str], folder: Path, *, max_seconds: float) -> None:
        limits = (MAX_MEMORY, round(max_seconds) + 1, MAX_FILE_SIZE)
        self._command = [sys.executable, "-I", "-S", str(_LIMITED), *map(str, limits), sys.executable, "-P", *arguments]
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> "Child":
        """Start the process."""
        process = self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self._folder,
            env=_environment(self._folder),
            start_new_session=True,
        )
        # Pipes work on a full disk too.
        assert process.stdout is not None
        assert process.stderr is not None
        self._output = asyncio.create_task(_read_end(process.stdout))
        self._errors = asyncio.create_task(_read_end(process.stderr))
        return self

    async def __aexit__(self, *error: object) -> None:
        """Kill the process and those that it started."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await asyncio.gather(self._process.wait(), self._output, self._errors)

    async def wait(self, seconds: float) -> bool:
        """Wait for the end, at most some seconds; return whether it has ended."""
        assert self._process is not None
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), seconds)
        return self._process.returncode is not None

    async def check(self) -> str:
        """Return the output of a process that has ended with success.

        Raises
        ------
        ChildError
            It has failed or was killed.
        """
        assert self._process is not None
        status = self._process.returncode
        if status == 0:
            return await self._output
        if status is not None and status < 0:
            raise ChildError(_KILLED.get(signal.Signals(-status), f"The process was killed (signal {-status})."))
        lines = (await self._errors).splitlines()
        if any("MemoryError" in line or "bad_alloc" in line or "Failed to allocate" in line for line in lines):
            raise ChildError("It needs more memory than allowed.")
        for line in reversed(lines):
            if line.startswith("error: "):
                raise ChildError(line.removeprefix("error: "))
        raise ChildError(f"The process failed with status {status}.")


async def _read_end(stream: asyncio.StreamReader) -> str:
    """Return the end of what a process writes."""
    end = b""
    while part := await stream.read(_END_BYTES):
        end = (end + part)[-_END_BYTES:]
    return end.decode("utf-8", "replace")


def _environment(folder: Path) -> dict[str, str]:
    """Return the environment of a process: this one's, without the key."""
    environment = {name: value for name, value in os.environ.items() if name != KEY_VARIABLE}
    root = str(Path(ferlib.__file__).parents[1])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH"))))
    return environment | {
        "TMPDIR": str(folder),
        "OPENCV_FFMPEG_CAPTURE_OPTIONS": _FFMPEG_OPTIONS,
        # One arena per core would count against the limit of address space.
        "MALLOC_ARENA_MAX": "2",
    }
