"""The few packages of the category ``predict`` are enough for prediction: proved where there are no others."""

import importlib.metadata
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import matplotlib
import pytest

ROOT = Path(__file__).parents[1]
HOPPER = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"


@pytest.fixture(scope="module")
def small_python(tmp_path_factory) -> Path:
    """A Python whose environment holds what Pipfile.lock lists for prediction, ferlib, and nothing else."""
    folder = tmp_path_factory.mktemp("small")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    scheme = {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", vars=scheme))
    locked = json.loads((ROOT / "Pipfile.lock").read_text(encoding="utf-8"))["predict"]
    for name in locked:
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            # Without a desktop's libraries the same OpenCV is installed without windows.
            distribution = importlib.metadata.distribution(f"{name}-headless")
        for top in {file.parts[0] for file in distribution.files if file.parts[0] not in ("..", "__pycache__")}:
            link = packages / top
            if not link.exists():
                link.symlink_to(Path(distribution.locate_file(top)).resolve())
    (packages / "ferlib.pth").write_text(f"{ROOT}\n")
    return folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"


def run(python, *arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [python, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_there_is_no_training_framework_and_no_pandas(small_python):
    for package in ("tensorflow", "keras", "mtcnn", "pandas", "sklearn", "matplotlib", "scipy"):
        assert run(small_python, "-c", f"import {package}").returncode == 1, package


def test_a_photograph_is_read_with_every_output(small_python, tmp_path):
    names = {"--output-image": "a.png", "--output-csv": "f.csv", "--counts-csv": "c.csv", "--output-json": "r.json"}
    outputs = [word for option, name in names.items() for word in (option, tmp_path / name)]
    done = run(small_python, "-m", "ferlib.predict", HOPPER, *outputs)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{HOPPER}: face 1, box [178, 110, 173, 220], ")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names.values())
    here = run(sys.executable, "-m", "ferlib.predict", HOPPER)
    assert here.stdout == done.stdout


def test_a_video_is_read_and_a_timeline_says_what_it_lacks(small_python, tmp_path):
    code = (
        "import sys; from ferlib.core.images import read_image; from ferlib.inference import VideoWriter\n"
        "photo = read_image(sys.argv[1])[:400]\n"
        "with VideoWriter(sys.argv[2], rate=10) as writer:\n"
        "    for number in range(5): writer.write(photo, number / 10)"
    )
    assert run(small_python, "-c", code, HOPPER, tmp_path / "v.mp4").returncode == 0
    done = run(small_python, "-m", "ferlib.predict", tmp_path / "v.mp4", "--output-video", tmp_path / "drawn.mp4")
    assert done.returncode == 0, done.stderr
    assert "5 frames" in done.stdout
    assert (tmp_path / "drawn.mp4").exists()
    done = run(small_python, "-m", "ferlib.predict", tmp_path / "v.mp4", "--timeline", tmp_path / "t.png")
    assert done.returncode == 1
    assert "the timeline needs Matplotlib" in done.stderr
    assert "Traceback" not in done.stderr
    assert "5 frames" in done.stdout
