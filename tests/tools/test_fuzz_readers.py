"""Damaged files do not crash the interpreter; ``tools/fuzz_readers.py`` does the same at full size."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "fuzz_readers.py"


@pytest.mark.parametrize(
    ("kind", "count"),
    [("images", 400), ("videos", 60), ("archives", 200), ("tables", 150), ("configurations", 150)],
)
def test_damaged_files_are_read_or_refused(kind, count):
    check(kind, count)


def test_damaged_parquet_files_are_read_or_refused():
    pytest.importorskip("pyarrow")
    check("parquet", 200)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "count"), [("runs", 60), ("keras", 15)])
def test_damaged_run_folders_are_read_or_refused(kind, count):
    check(kind, count)


def check(kind, count):
    command = [sys.executable, TOOL, "--count", str(count), "--kind", kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = dict(part.split() for part in done.stdout.strip().split(", "))
    assert set(counts) <= {"read", "refused"}
    assert sum(map(int, counts.values())) == count
    # The damage is neither too small nor, where most bytes are content, too large.
    assert int(counts["refused"]) > count / 20
    assert kind not in ("images", "videos", "archives", "tables", "parquet") or int(counts["read"]) > count / 20
