import gzip
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

import ferlib
from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import ArchiveError, DataError, OptionError
from ferlib.data import load_images
from ferlib.data.archive import open_tree
from ferlib.data.locate import locate_data
from ferlib.data.raw import add_archive
from ferlib.download import main
from ferlib.synthetic.generate import draw_faces, write_synthetic


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """A zip of drawn faces."""
    return write_synthetic(tmp_path_factory.mktemp("faces") / "faces.zip", train_size=70, test_size=21)


@pytest.fixture
def folder(faces, tmp_path):
    """The same images as a folder, without the note that they are drawn."""
    path = tmp_path / "my faces"
    shutil.unpack_archive(faces, path)
    (path / "SYNTHETIC.txt").unlink()
    return path


@pytest.fixture
def table(tmp_path):
    """A CSV like the competition's, with spaces in its header."""
    images = draw_faces(np.arange(14) % 7, seed=1).reshape(14, -1)
    lines = [
        f"{row % 7},{'Training' if row < 7 else 'PublicTest'},{' '.join(map(str, image))}"
        for row, image in enumerate(images)
    ]
    path = tmp_path / "icml_face_data.csv"
    path.write_text("\n".join(["emotion, Usage, pixels", *lines]) + "\n")
    return path


def _download(source, data_dir, *options):
    return main(["--archive", str(source), "--data-dir", str(data_dir), *options])


def test_zip_is_copied_and_counted(faces, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("FER2013_ARCHIVE", raising=False)
    assert _download(faces, tmp_path) == 0
    copy = tmp_path / "raw" / "synthetic.zip"
    assert copy.read_bytes() == faces.read_bytes()
    assert locate_data(data_dir=tmp_path) == copy
    manifest = json.loads((tmp_path / "raw" / "synthetic.manifest.json").read_text())
    with open_tree(copy) as tree:
        assert manifest["sha256"] == tree.sha256()
    assert manifest["synthetic"] is True
    assert sum(manifest["counts"]["train"].values()) == 70
    output = capsys.readouterr().out
    assert output.startswith("SYNTHETIC faces (")
    assert re.search(r"^all +70 +21 +91$", output, re.MULTILINE)
    for emotion in EMOTIONS:
        train, test = manifest["counts"]["train"][emotion], manifest["counts"]["test"][emotion]
        assert re.search(rf"^{emotion} +{train} +{test} +{train + test}$", output, re.MULTILINE)
    assert str(copy) in output
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["synthetic.manifest.json", "synthetic.zip"]


def test_folder_is_packed_into_a_zip(folder, tmp_path):
    (folder / "model.keras").write_bytes(b"not data")
    (folder / ".hidden").write_bytes(b"not data")
    path, dataset = add_archive(folder, data_dir=tmp_path / "data")
    assert path == tmp_path / "data" / "raw" / "my-faces.zip"
    with open_tree(path) as tree, open_tree(folder) as before:
        assert set(before.names) - set(tree.names) == {"model.keras"}
        assert all(tree.read(name) == before.read(name) for name in tree.names)
    again = load_images(path)
    np.testing.assert_array_equal(again.images, dataset.images)
    np.testing.assert_array_equal(again.labels, dataset.labels)
    first = path.read_bytes()
    add_archive(folder, data_dir=tmp_path / "data", force=True)
    assert path.read_bytes() == first


def test_tar_is_packed_and_its_label_order_remembered(folder, tmp_path, capsys):
    for code, emotion in enumerate(EMOTIONS):
        for split in ("train", "test"):
            (folder / split / emotion).rename(folder / split / str(code + 1))
    (folder / "train" / "1" / "broken.png").write_bytes(b"hm")
    with tarfile.open(tmp_path / "my.tar.gz", "w:gz") as archive:
        archive.add(folder, "faces")
    with pytest.raises(DataError, match="--label-order"):
        _download(tmp_path / "my.tar.gz", tmp_path / "data")
    order = ",".join(EMOTIONS)
    with pytest.raises(DataError, match="--strict"):
        _download(tmp_path / "my.tar.gz", tmp_path / "data", "--label-order", order, "--strict")
    assert _download(tmp_path / "my.tar.gz", tmp_path / "data", "--label-order", order) == 0
    assert re.search(r"^all +70 +21 +91$", capsys.readouterr().out, re.MULTILINE)
    # Later commands need no option.
    assert len(load_images(tmp_path / "data" / "raw" / "my.zip").split("test")) == 21


def test_compressed_table_is_copied_decompressed(table, tmp_path):
    (tmp_path / "fer2013.csv.gz").write_bytes(gzip.compress(table.read_bytes()))
    assert _download(tmp_path / "fer2013.csv.gz", tmp_path / "data") == 0
    assert (tmp_path / "data" / "raw" / "fer2013.csv").read_bytes() == table.read_bytes()


def test_csv_is_copied_unchanged(table, tmp_path, capsys):
    assert _download(table, tmp_path / "data") == 0
    assert (tmp_path / "data" / "raw" / "fer2013.csv").read_bytes() == table.read_bytes()
    output = capsys.readouterr().out
    assert "Training has 1 images of angry; FER2013 was published with 3,995." in output


def test_other_dataset_is_only_replaced_by_force(faces, tmp_path):
    other = write_synthetic(tmp_path / "other.zip", train_size=70, test_size=21, seed=1)
    path, _ = add_archive(faces, data_dir=tmp_path)
    assert add_archive(faces, data_dir=tmp_path)[0] == path
    with pytest.raises(DataError, match=r"synthetic\.zip already exists with other data"):
        add_archive(other, data_dir=tmp_path)
    assert path.read_bytes() == faces.read_bytes()
    add_archive(other, data_dir=tmp_path, force=True)
    assert path.read_bytes() == other.read_bytes()
    assert add_archive(path, data_dir=tmp_path)[0] == path
    assert path.read_bytes() == other.read_bytes()


def test_drawn_faces_are_kept_and_counted(tmp_path, capsys):
    write_synthetic(tmp_path / "raw" / "synthetic.zip", train_size=14, test_size=7)
    assert main(["--synthetic", "--data-dir", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "raw" / "synthetic.manifest.json").read_text())["n_images"] == 21
    assert capsys.readouterr().out.startswith("SYNTHETIC")


@pytest.mark.parametrize("kind", ["damaged", "other"])
def test_invalid_archive_writes_nothing(faces, tmp_path, kind):
    bad = tmp_path / "in" / "bad.zip"
    bad.parent.mkdir()
    data = faces.read_bytes()
    if kind == "damaged":
        middle = len(data) // 2
        bad.write_bytes(data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :])
    else:
        with zipfile.ZipFile(bad, "w") as archive:
            archive.writestr("report.txt", b"1")
    with pytest.raises(DataError if kind == "other" else ArchiveError, match=r"bad\.zip"):
        _download(bad, tmp_path / "data")
    assert sorted(tmp_path.rglob("*")) == [bad.parent, bad]


def test_processed_dataset_is_not_raw_data(faces, tmp_path):
    load_images(faces).save(tmp_path / "saved.npz")
    with pytest.raises(DataError, match="not a raw one"):
        _download(tmp_path / "saved.npz", tmp_path / "data")


def test_error_is_one_line(tmp_path):
    command = [
        sys.executable,
        "-m",
        "ferlib.download",
        "--archive",
        str(tmp_path / "no.zip"),
        "--data-dir",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=Path(ferlib.__file__).parents[1], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {tmp_path / 'no.zip'}: no such file or folder.\n"


def test_help_shows_examples(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    assert "--archive ~/Downloads/archive.zip" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "fer2013"], "--dataset: expected owner/name"),
        (["--synthetic", "--archive", "x.zip"], "Only one of --dataset, --archive and --synthetic"),
        (["--archiv", "x.zip"], "--archiv"),
    ],
)
def test_wrong_option_is_an_error(arguments, message):
    with pytest.raises(OptionError, match=message):
        main(arguments)


@pytest.mark.real_data
def test_fer2013_has_the_published_counts(fer2013_archive, tmp_path, capsys):
    assert _download(fer2013_archive, tmp_path) == 0
    assert (tmp_path / "raw" / "fer2013.zip").stat().st_size == fer2013_archive.stat().st_size
    output = capsys.readouterr().out
    assert "are those that FER2013 was published with" in output
    assert re.search(r"^all +28,709 +3,589 +32,298$", output, re.MULTILINE)


@pytest.mark.real_data
def test_expw_file_is_named_expw(expw_archive, tmp_path, capsys):
    assert _download(expw_archive, tmp_path) == 0
    assert (tmp_path / "raw" / "expw.zip").is_file()
    assert "1,610" in capsys.readouterr().out
