"""The lists of dependencies agree, and prediction works where nothing else is installed."""

import dataclasses
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import matplotlib
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
HOPPER = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"

#: Extras whose packages are in [packages] of the Pipfile; each other extra is a category of the Pipfile with its name.
DEFAULT_EXTRAS = ("train", "notebooks")
#: The Pipfile installs OpenCV with windows, for the webcam, and below 5, for the Haar detector.
PIPFILE_OPENCV = {"opencv-python": "<5,>=4.10"}
#: Bounded only so that the lock installs on Debian 12's Python 3.11.2.
PIPFILE_ONLY = {"soupsieve"}


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def pipfile() -> dict[str, dict[str, str]]:
    return tomllib.loads((ROOT / "Pipfile").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def lock() -> dict:
    return json.loads((ROOT / "Pipfile.lock").read_text(encoding="utf-8"))


def _bounds(requirements: list[str]) -> dict[str, str]:
    """Return the version bound of each package."""
    parsed = [Requirement(text) for text in requirements]
    return {canonicalize_name(item.name): str(item.specifier) for item in parsed if item.name != "ferlib"}


def _with_pipfile_opencv(bounds: dict[str, str]) -> dict[str, str]:
    """Return bounds with the build and the bound of OpenCV that the Pipfile has."""
    return {name: bound for name, bound in bounds.items() if name != "opencv-python-headless"} | PIPFILE_OPENCV


def _pipfile_bounds(section: dict[str, str | dict]) -> dict[str, str]:
    # A package with extras is a table.
    section = {name: bound if isinstance(bound, str) else bound["version"] for name, bound in section.items()}
    return _bounds([name + ("" if bound == "*" else bound) for name, bound in section.items()])


def test_pipfile_lists_the_packages_of_pyproject(project, pipfile):
    extras = project["optional-dependencies"]
    every = project["dependencies"] + [item for name in DEFAULT_EXTRAS for item in extras[name]]
    packages = _pipfile_bounds(pipfile["packages"])
    assert {name: bound for name, bound in packages.items() if name not in PIPFILE_ONLY} == _with_pipfile_opencv(
        _bounds(every)
    )
    assert _pipfile_bounds(pipfile["predict"]) == _with_pipfile_opencv(_bounds(project["dependencies"]))
    for extra in extras.keys() - set(DEFAULT_EXTRAS):
        assert _pipfile_bounds(pipfile.get(extra, {})) == _bounds(extras[extra]), extra


def test_lock_satisfies_the_pipfile(pipfile, lock):
    sections = {"default": "packages", "develop": "dev-packages"}
    for section in lock.keys() - {"_meta"}:
        locked = {canonicalize_name(name): entry["version"] for name, entry in lock[section].items()}
        for name, bound in _pipfile_bounds(pipfile[sections.get(section, section)]).items():
            assert Requirement(name + bound).specifier.contains(locked[name].removeprefix("==")), name


def _linked_environment(folder: Path, lock: dict) -> list[str]:
    """Return the command `ferlib` of an environment of links to what Pipfile.lock lists for prediction."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    scheme = {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", vars=scheme))
    for name in lock["predict"]:
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            # Without a desktop's libraries the build of OpenCV without windows is installed.
            distribution = importlib.metadata.distribution(f"{name}-headless")
        for top in {file.parts[0] for file in distribution.files if file.parts[0] not in ("..", "__pycache__")}:
            link = packages / top
            if not link.exists():
                link.symlink_to(Path(distribution.locate_file(top)).resolve())
    (packages / "ferlib.pth").write_text(f"{ROOT}\n")
    return [str(folder / "bin" / "python"), "-m", "ferlib"]


def _wheel_environment(folder: Path, opencv: str) -> list[str]:
    """Return the command `ferlib` of an environment with a wheel of the package and its dependencies."""

    def pip(*arguments: object) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "pip", "--quiet", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    folder.mkdir()
    if pip("download", "--no-deps", "--dest", folder / "probe", "tqdm").returncode:
        pytest.skip("no package index can be reached")
    # A copy, because setuptools adds whatever an earlier build left in the folder build.
    source = folder / "source"
    shutil.copytree(ROOT / "ferlib", source / "ferlib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    built = pip("wheel", "--no-deps", "--wheel-dir", folder, source)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("ferlib-*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    done = pip("--python", folder / "venv" / "bin" / "python", "install", wheel, f"opencv-python-headless{opencv}")
    assert done.returncode == 0, done.stderr
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    assert (packages / "ferlib" / "py.typed").exists()
    size = sum(path.stat().st_size for path in packages.rglob("*") if path.is_file())
    assert size < 400e6, f"{size / 1e6:.0f} MB"
    return [str(folder / "venv" / "bin" / "ferlib")]


@dataclasses.dataclass(frozen=True)
class Installation:
    """An environment with the dependencies of prediction alone."""

    command: list[str]
    folder: Path
    opencv: str

    def ferlib(self, *arguments: object) -> "subprocess.CompletedProcess[str]":
        """Run the command `ferlib`."""
        return self._run(*self.command, *arguments)

    def python(self, code: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
        """Run Python code."""
        return self._run(Path(self.command[0]).with_name("python"), "-c", code, *arguments)

    def _run(self, *words: object) -> "subprocess.CompletedProcess[str]":
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        options = {"capture_output": True, "text": True, "check": False, "env": environment, "cwd": self.folder}
        return subprocess.run(list(map(str, words)), **options)


@pytest.fixture(
    scope="module",
    params=[
        "links",
        pytest.param("<5", marks=[pytest.mark.wheel, pytest.mark.slow], id="wheel-opencv4"),
        pytest.param(">=5", marks=[pytest.mark.wheel, pytest.mark.slow], id="wheel-opencv5"),
    ],
)
def installed(request, tmp_path_factory, lock) -> Installation:
    folder = tmp_path_factory.mktemp("installed") / "environment"
    if request.param == "links":
        command = _linked_environment(folder, lock)
    else:
        command = _wheel_environment(folder, request.param)
    return Installation(command, folder, request.param)


def test_other_packages_are_missing(installed):
    names = ("tensorflow", "keras", "mtcnn", "pandas", "sklearn", "matplotlib", "scipy")
    done = installed.python(f"from importlib.util import find_spec; print([n for n in {names} if find_spec(n)])")
    assert done.stdout == "[]\n", done.stderr


def test_photograph_with_every_output(installed, tmp_path):
    names = {"--output-image": "a.png", "--output-csv": "f.csv", "--output-counts": "c.csv", "--output-json": "r.json"}
    outputs = [word for option, name in names.items() for word in (option, tmp_path / name)]
    done = installed.ferlib("predict", HOPPER, *outputs)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{HOPPER}: face 1, box [178, 110, 173, 220], neutral")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names.values())
    if installed.opencv == "links":
        command = [sys.executable, "-m", "ferlib", "predict", HOPPER]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == done.stdout


def test_python_interface(installed):
    code = (
        "import sys; from ferlib import EmotionRecognizer\n"
        "print([face.emotion for face in EmotionRecognizer().recognize(sys.argv[1])])"
    )
    done = installed.python(code, HOPPER)
    assert (done.stdout, done.stderr) == ("['neutral']\n", "")


def test_haar_needs_opencv_4(installed):
    done = installed.ferlib("predict", HOPPER, "--detector", "haar")
    if installed.opencv == ">=5":
        assert done.returncode == 1
        assert re.fullmatch(
            r".*OpenCV 5\S* has no Haar cascades; install OpenCV below version 5, or use mtcnn\.\n", done.stderr
        )
    else:
        assert done.returncode == 0, done.stderr
        assert "face 1" in done.stdout


def test_video(installed, tmp_path):
    code = (
        "import sys; from ferlib.core.images import read_image; from ferlib.video import VideoWriter\n"
        "photo = read_image(sys.argv[1])[:400]\n"
        "with VideoWriter(sys.argv[2], rate=10) as writer:\n"
        "    for number in range(5): writer.write(photo, number / 10)"
    )
    video = tmp_path / "v.mp4"
    assert installed.python(code, HOPPER, video).returncode == 0
    done = installed.ferlib("predict", video, "--output-video", tmp_path / "annotated.mp4")
    assert done.returncode == 0, done.stderr
    assert "5 frames" in done.stdout
    assert (tmp_path / "annotated.mp4").exists()
    done = installed.ferlib("predict", video, "--output-timeline", tmp_path / "timeline.png")
    assert done.returncode == 1
    assert "needs Matplotlib" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (("train", "--help"), "train"),
        (("tune", "--help"), "train"),
        (("evaluate", "--help"), "train"),
        (("serve",), "serve"),
    ],
)
def test_missing_packages_are_one_sentence(installed, words, extra):
    done = installed.ferlib(*words)
    assert done.returncode == 1
    assert re.fullmatch(rf'error: The package \w+ is not installed: pip install "ferlib\[{extra}\]"\.\n', done.stderr)
