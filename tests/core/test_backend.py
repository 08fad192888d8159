"""ONNX Runtime keeps its data to itself."""

import os
import subprocess
import sys
from pathlib import Path

HOPPER = Path(__file__).parents[2] / "docs" / "images" / "grace_hopper.jpg"


def test_prediction_leaves_nothing_behind(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    # Where these are set, ONNX Runtime collects nothing anyway.
    for name in ("CI", "ORT_RUNNING_UNIT_TESTS"):
        environment.pop(name, None)
    folders = {"TMPDIR": tmp_path / "temporary", "HOME": tmp_path / "home", "XDG_CACHE_HOME": tmp_path / "cache"}
    for folder in folders.values():
        folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "ferlib", "predict", str(HOPPER)],
        env=environment | {name: str(folder) for name, folder in folders.items()},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "face 1" in done.stdout
    # The telemetry keeps an identifier of the machine and a session in these folders.
    assert set(tmp_path.rglob("*")) == set(folders.values())
