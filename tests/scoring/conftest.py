"""Fixtures of the tests of `ferlib score`."""

import sys
from pathlib import Path

import pytest
from albums import make_album

from ferlib.score import main as score


@pytest.fixture
def album(tmp_path, monkeypatch):
    """The folder `album` in the current folder: 16 files to score, two of which cannot be read."""
    monkeypatch.chdir(tmp_path)
    return make_album(Path("album"))


@pytest.fixture
def run_score(monkeypatch):
    """Return a function that calls the command with one worker unless the arguments say otherwise."""

    def run(*arguments):
        words = list(map(str, arguments))
        return score(words if "--workers" in words else [*words, "--workers", "1"])

    return run


@pytest.fixture
def detector_module(monkeypatch):
    """Write `killer.py` with a detector that ends its process at an image of 90 x 80 pixels."""
    Path("killer.py").write_text(
        "import os\n"
        "from ferlib.faces import Face\n"
        "class Killer:\n"
        "    def detect(self, image):\n"
        "        if image.shape[:2] == (80, 90):\n"
        "            os._exit(1)\n"
        "        return [Face((0, 0, 10, 10), 1.0)]\n"
    )
    yield "killer:Killer"
    sys.modules.pop("killer", None)
