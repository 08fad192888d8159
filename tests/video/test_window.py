"""The window, on a virtual screen (Debian's packages xvfb and xdotool); skipped without them."""

import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from ferlib.video import VideoWriter
from ferlib.video.window import has_display

pytestmark = pytest.mark.skipif(
    not (shutil.which("Xvfb") and shutil.which("xdotool")), reason="no virtual screen here (xvfb, xdotool)"
)


@pytest.fixture
def screen(monkeypatch):
    """The environment's display is a virtual screen."""
    read, write = os.pipe()
    # Without -noreset the server restarts whenever its last client leaves, and refuses connections meanwhile.
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1024x768x24", "-noreset"]
    server = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as numbers:
        monkeypatch.setenv("DISPLAY", f":{numbers.readline().strip()}")
    yield
    server.terminate()
    server.wait()


def xdotool(*words):
    return subprocess.run(["xdotool", *words], capture_output=True, text=True, check=False).stdout.split()


def wait_for_window(name, process, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        if found := xdotool("search", "--onlyvisible", "--name", name):
            return found[-1]
        time.sleep(0.1)
    process.kill()
    raise AssertionError(f"no window {name}: {process.communicate()}")


@pytest.fixture
def long_video(tmp_path):
    with VideoWriter(tmp_path / "long.avi", rate=30) as writer:
        for number in range(3000):
            writer.write(np.full((120, 160, 3), number % 200, np.uint8), number / 30)
    return tmp_path / "long.avi"


@pytest.mark.usefixtures("screen")
@pytest.mark.parametrize("key", ["q", "Escape"])
def test_a_key_ends_a_video_in_a_window(long_video, key, tmp_path):
    assert has_display()
    outputs = ["--output-csv", tmp_path / "faces.csv", "--output-json", tmp_path / "faces.jsonl"]
    command = [sys.executable, "-m", "ferlib.predict", long_video, "--detector", "none", "--show", *outputs]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(list(map(str, command)), **pipes) as process:
        try:
            window, widths = wait_for_window("long.avi", process), set()
            while process.poll() is None:
                geometry = xdotool("getwindowgeometry", "--shell", window)
                widths.update(word for word in geometry if word.startswith("WIDTH"))
                if "WIDTH=160" in widths:
                    # A key pressed before the window has the focus is lost.
                    xdotool("windowfocus", window)
                    xdotool("key", key)
                time.sleep(0.3)
            assert "WIDTH=160" in widths  # a frame in its own size
            out, err = process.communicate()
        finally:
            process.kill()
    assert process.returncode == 0, err
    # The frames until then are written, and no others were processed.
    rows = (tmp_path / "faces.csv").read_text().splitlines()
    assert f"{len(rows) - 1:,} frames" in out
    assert 1 < len(rows) < 3001
    frames = [json.loads(line) for line in (tmp_path / "faces.jsonl").read_text().splitlines()]
    assert len([frame for frame in frames if "faces" in frame]) == len(rows) - 1
