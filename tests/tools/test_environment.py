"""Pipfile.lock installs the same packages on every supported Python and names no package index."""

import json
from pathlib import Path

import pytest
from packaging.markers import Marker

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def lock() -> dict:
    return json.loads((ROOT / "Pipfile.lock").read_text(encoding="utf-8"))


def test_lock_names_no_index(lock):
    assert lock["_meta"]["sources"] == []
    assert "://" not in json.dumps(lock)
    assert "[[source]]" not in [line.strip() for line in (ROOT / "Pipfile").read_text().splitlines()]


def test_every_package_is_pinned_with_its_hashes(lock):
    for section in lock.keys() - {"_meta"}:
        for name, entry in lock[section].items():
            assert entry["version"].startswith("=="), name
            assert entry["hashes"], name


def test_both_builds_of_opencv_are_the_same_version(lock):
    # tools/environment.sh replaces one by the other.
    assert lock["headless"]["opencv-python-headless"]["version"] == lock["default"]["opencv-python"]["version"]
    assert lock["headless"]["numpy"]["version"] == lock["default"]["numpy"]["version"]


def test_prediction_alone_has_the_same_versions(lock):
    assert "tensorflow" not in lock["predict"]
    assert all(entry["version"] == lock["default"][name]["version"] for name, entry in lock["predict"].items())


@pytest.mark.parametrize("version", ["3.11.0", "3.12.0", "3.13.0"])
def test_first_release_of_a_python_gets_every_package(lock, version):
    # Debian 12 has Python 3.11.2, where a package that needs 3.11.5 would be skipped without a message.
    release = {"python_version": version.rpartition(".")[0], "python_full_version": version}
    left_out = [
        name
        for section in ("default", "develop", "headless", "predict", "serve", "video")
        for name, entry in lock[section].items()
        if "markers" in entry and not Marker(entry["markers"]).evaluate(release)
    ]
    assert left_out == []
