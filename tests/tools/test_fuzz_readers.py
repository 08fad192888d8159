"""Damaged images and videos never end the interpreter; ``tools/mutate.py`` does the same at full size."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "fuzz_readers.py"


@pytest.mark.parametrize(("what", "count"), [("pictures", 400), ("videos", 60)])
def test_every_damaged_file_gives_an_image_or_a_sentence(what, count):
    options = ["--videos"] if what == "videos" else []
    done = subprocess.run(
        [sys.executable, TOOL, "--count", str(count), *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts = dict(part.split() for part in done.stdout.strip().split(", "))
    # Both happen, so that the damage is neither too mild nor too much.
    assert set(counts) == {"read", "refused"}
    assert sum(map(int, counts.values())) == count
    assert min(map(int, counts.values())) > count / 20
