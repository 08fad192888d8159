import os
import shutil
from pathlib import Path

import pytest
from kaggle_server import start_python, zip_bytes

from ferlib.core.errors import DataError
from ferlib.data.kaggle import DEFAULT_DATASET, dataset_path
from ferlib.data.locate import default_data_dir, describe_source, locate_data, manifest_path
from ferlib.synthetic.generate import write_synthetic


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch, home):
    """Remove archives and credentials from the environment."""
    for name in [name for name in os.environ if name.startswith(("KAGGLE", "XDG", "FER2013"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))


@pytest.fixture
def faces(tmp_path):
    """A small zip of drawn faces."""
    return write_synthetic(tmp_path / "faces.zip", train_size=14, test_size=7)


def _put(faces, data_dir, name, *, manifest=True, age=0):
    """Put a file into raw as the download command does, with an older date."""
    path = data_dir / "raw" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(faces, path)
    if manifest:
        manifest_path(path).write_text("{}")
    for part in filter(Path.exists, (path, manifest_path(path))):
        os.utime(part, (1_700_000_000 - age, 1_700_000_000 - age))
    return path


def test_sources_are_tried_in_order(faces, tmp_path, monkeypatch):
    data_dir = tmp_path / "data"
    kept = _put(faces, data_dir, "expw.zip")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "never sent: what is in raw comes before")
    assert locate_data(data_dir=data_dir) == kept
    archive = shutil.copyfile(faces, tmp_path / "mine.zip")
    monkeypatch.setenv("FER2013_ARCHIVE", str(archive))
    assert locate_data(data_dir=data_dir) == archive
    assert locate_data("", data_dir=data_dir) == archive
    assert locate_data(str(faces), data_dir=data_dir) == faces


def test_newest_file_in_raw_is_used(faces, tmp_path):
    _put(faces, tmp_path, "fer2013.zip", age=60)
    table = _put(faces, tmp_path, "other.csv", age=30)
    _put(faces, tmp_path, "synthetic.zip", age=40)
    assert locate_data(data_dir=tmp_path) == table
    assert locate_data(data_dir=tmp_path) == table
    manifest_path(tmp_path / "raw" / "fer2013.zip").touch()
    assert locate_data(data_dir=tmp_path) == tmp_path / "raw" / "fer2013.zip"


def test_unfinished_files_are_ignored(faces, tmp_path):
    for name in ("fer2013.zip.partial", ".fer2013-x1y2.zip", "notes.zip"):
        _put(faces, tmp_path, name, manifest=False)
    sample = _put(faces, tmp_path, "synthetic.zip", manifest=False)
    assert locate_data(data_dir=tmp_path) == sample
    fetched = dataset_path(DEFAULT_DATASET, tmp_path)
    shutil.copyfile(faces, fetched)
    assert locate_data(data_dir=tmp_path) == fetched


@pytest.mark.slow
def test_faces_are_drawn_if_there_are_no_data(tmp_path):
    path = locate_data(data_dir=tmp_path / "data")
    assert path == tmp_path / "data" / "raw" / "synthetic.zip"
    assert describe_source(path).startswith("SYNTHETIC")
    drawn = path.stat().st_mtime_ns
    assert locate_data(data_dir=tmp_path / "data") == path
    assert path.stat().st_mtime_ns == drawn


def test_fer2013_is_downloaded_if_there_are_credentials(kaggle_server, environment, tmp_path):
    kaggle_server.files[DEFAULT_DATASET] = zip_bytes(1000)
    code = "import sys; from ferlib.data.locate import locate_data; print(locate_data(data_dir=sys.argv[1]))"
    process = start_python(["-c", code, str(tmp_path / "data")], environment)
    output, errors = process.communicate(timeout=120)
    assert output.strip() == str(tmp_path / "data" / "raw" / "fer2013.zip"), errors


def test_kaggle_is_not_used_if_downloads_are_forbidden(faces, tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", "never sent")
    sample = _put(faces, tmp_path, "synthetic.zip", manifest=False)
    assert locate_data(data_dir=tmp_path, allow_download=False) == sample


def test_missing_path_is_an_error_that_names_the_variable(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"^/nowhere/fer2013\.zip: no such file"):
        locate_data("/nowhere/fer2013.zip", data_dir=tmp_path)
    monkeypatch.setenv("FER2013_ARCHIVE", "/nowhere/fer2013.zip")
    with pytest.raises(DataError, match=r"^FER2013_ARCHIVE: /nowhere/fer2013\.zip"):
        locate_data(data_dir=tmp_path)


def test_data_folder_is_that_of_the_project(tmp_path, monkeypatch):
    (tmp_path / "project" / "notebooks").mkdir(parents=True)
    (tmp_path / "project" / "Pipfile").touch()
    monkeypatch.chdir(tmp_path / "project" / "notebooks")
    assert default_data_dir() == tmp_path / "project" / "data"
    monkeypatch.chdir(tmp_path)
    assert default_data_dir() == Path("data")


def test_drawn_faces_are_described_as_synthetic(faces, tmp_path):
    shutil.unpack_archive(faces, tmp_path / "unpacked" / "deeper")
    for path in (faces, tmp_path / "unpacked"):
        assert describe_source(path).startswith("SYNTHETIC faces, drawn by ferlib")
    (tmp_path / "unpacked" / "deeper" / "SYNTHETIC.txt").unlink()
    assert describe_source(tmp_path / "unpacked") == "Data of unpacked (folder, 21 files)."
    with pytest.raises(DataError, match="no such file or folder"):
        describe_source(tmp_path / "nothing")


@pytest.mark.real_data
def test_real_data_are_not_described_as_synthetic(fer2013_archive):
    assert "SYNTHETIC" not in describe_source(fer2013_archive)
