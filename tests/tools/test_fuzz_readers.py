"""Damaged images and videos do not crash the interpreter; ``tools/fuzz_readers.py`` does the same at full size."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "fuzz_readers.py"


@pytest.mark.parametrize(("what", "count"), [("images", 400), ("videos", 60)])
def test_damaged_files_are_read_or_refused(what, count):
    done = subprocess.run(
        [sys.executable, TOOL, "--count", str(count), "--kind", what], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts = dict(part.split() for part in done.stdout.strip().split(", "))
    # Both occur: the damage is neither too small nor too large.
    assert set(counts) == {"read", "refused"}
    assert sum(map(int, counts.values())) == count
    assert min(map(int, counts.values())) > count / 20
