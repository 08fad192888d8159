"""Start the real command on a free port of this machine."""

import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx


@dataclass
class Service:
    """A running service."""

    process: subprocess.Popen
    url: str
    log_file: Path
    folder: Path

    @property
    def port(self) -> int:
        """The port."""
        return int(self.url.rpartition(":")[2])

    @property
    def log(self) -> str:
        """The log so far."""
        return self.log_file.read_text(encoding="utf-8")

    def client(self, **options: Any) -> httpx.Client:
        """Return a client, a context manager."""
        return httpx.Client(base_url=self.url, timeout=60, **options)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(30)


@contextlib.contextmanager
def run_service(
    *options: str, environment: dict[str, str] | None = None, max_file_size: int | None = None
) -> Iterator[Service]:
    """Yield a service that is ready; it cannot write files of more than `max_file_size` bytes."""

    def limit() -> None:
        if max_file_size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_size, max_file_size))

    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        log_file = Path(folder) / "log.txt"
        temporary = Path(folder) / "temporary"
        temporary.mkdir()
        log = stack.enter_context(log_file.open("wb"))
        variables = {name: value for name, value in os.environ.items() if name != "FERLIB_API_KEY"}
        process = subprocess.Popen(
            [sys.executable, "-m", "ferlib", "serve", "--port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            preexec_fn=limit,
            env=variables | {"TMPDIR": str(temporary)} | (environment or {}),
        )
        try:
            line = process.stdout.readline()
            found = re.search(r"https?://\S+", line)
            assert found, log_file.read_text()
            service = Service(process, found[0], log_file, temporary)
            if found[0].startswith("http:"):
                wait_until_ready(service)
            yield service
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def wait_until_ready(service: Service) -> None:
    """Wait until the networks are loaded."""
    with service.client() as client:
        for _ in range(600):
            if client.get("/health/ready").status_code == 200:
                return
            time.sleep(0.1)
    raise AssertionError(f"not ready: {service.log}")
