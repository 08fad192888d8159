"""A PostgreSQL server of its own, on loopback, for the tests of studies that several workers share."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Start a server with an empty database and yield its URL; skip where PostgreSQL is missing."""
    initdb, pg_ctl = _find("initdb"), _find("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("PostgreSQL is not installed: this test needs its programs initdb and pg_ctl")
    account = _unprivileged()
    # Not in pytest's folder, which only its own user may enter.
    with tempfile.TemporaryDirectory(prefix="ferlib-postgresql-") as name:
        folder = Path(name)
        if account:
            os.chown(folder, account["user"], account["group"])

        def run(*command: object) -> None:
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=folder, **account)
            assert done.returncode == 0, done.stdout + done.stderr

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        data = folder / "data"
        run(initdb, "--pgdata", data, "--username", "ferlib", "--auth", "trust", "--encoding", "UTF8", "--no-sync")
        settings = f"-h 127.0.0.1 -p {port} -c unix_socket_directories='' -c fsync=off"
        # A log, because a server that inherited a pipe would keep it open.
        run(pg_ctl, "--pgdata", data, "--log", folder / "log", "--options", settings, "--wait", "start")
        try:
            yield f"postgresql+psycopg://ferlib@127.0.0.1:{port}/postgres"
        finally:
            run(pg_ctl, "--pgdata", data, "--mode", "immediate", "stop")


def _find(program: str) -> str | None:
    """Return the path of one of PostgreSQL's programs; Debian does not put them on the path."""
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    return shutil.which(program) or (str(installed[-1]) if installed else None)


def _unprivileged() -> dict:
    """Return the arguments of `subprocess.run` for a user who is not root, as whom PostgreSQL does not run."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    return pytest.skip("PostgreSQL does not run as root, and there is no other user")
