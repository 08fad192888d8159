"""The files of the container, and the container itself where buildah is installed."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from locked_requirements import requirements

from ferlib.__main__ import COMMANDS

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_context_has_what_is_copied():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = set()
    for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE):
        copied |= set(line.split()[:-1])
    assert copied <= kept
    assert all((ROOT / name).exists() for name in kept)
    # setuptools reads these besides the package.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {project["readme"], *project["license-files"], "pyproject.toml", "ferlib"} <= copied


def test_command_and_entry_point_exist():
    assert 'ENTRYPOINT ["ferlib"]' in DOCKERFILE
    (command,) = re.findall(r'^CMD \["(\w+)",', DOCKERFILE, re.MULTILINE)
    assert command in COMMANDS


def test_image_installs_locked_packages_with_hashes():
    lines = requirements(("predict", "headless", "serve")).splitlines()
    packages = [line.split("==")[0] for line in lines if not line.startswith(" ")]
    assert {"fastapi", "numpy", "onnxruntime", "opencv-python-headless", "uvicorn"} <= set(packages)
    assert not {"opencv-python", "tensorflow", "keras"} & set(packages)
    assert len(packages) == len(set(packages))
    assert sum(line.strip().startswith("--hash=sha256:") for line in lines) >= len(packages)


@pytest.mark.long
def test_container_works():
    if shutil.which("buildah") is None or shutil.which("mmdebstrap") is None:
        pytest.skip("buildah and mmdebstrap are not installed")
    done = subprocess.run([ROOT / "tools" / "container_test.sh"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("the container works\n")
