import gzip
import json
import os
import re
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import DataError
from ferlib.data import build_manifest, compare_with_fer2013, load_images
from ferlib.data.layouts.fer2013 import FER2013_COUNTS

MAX_MEGABYTES, MAX_SECONDS = 500, 15  # CPU seconds; about 5 on an idle machine


def rows(n):
    """Return n rows of (code, pixels as text, Usage), and their images."""
    images = np.random.default_rng(1).integers(0, 256, (n, 48, 48, 1), dtype=np.uint8)
    usages = ["Training", "PublicTest", "PrivateTest"]
    return [(i % 7, " ".join(map(str, images[i].ravel())), usages[i % 3]) for i in range(n)], images


def write_csv(path, rows, header="emotion,pixels,Usage"):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def test_csv_of_the_competition(tmp_path):
    cells, images = rows(9)
    dataset = load_images(write_csv(tmp_path / "fer2013.csv", cells), test_usage="all")
    assert np.array_equal(dataset.images, images)
    assert dataset.images.flags.writeable
    assert dataset.labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 1]
    assert dataset.class_names == EMOTIONS
    assert dataset.splits.tolist() == ["train", "test", "test"] * 3
    assert dataset.source_splits.tolist() == ["Training", "PublicTest", "PrivateTest"] * 3
    assert dataset.names[:2].tolist() == ["Training_0000000", "PublicTest_0000001"]
    assert (dataset.info.title, dataset.info.path) == ("FER2013", "fer2013.csv")
    assert dataset.split("PrivateTest").names.tolist() == [f"PrivateTest_000000{i}" for i in (2, 5, 8)]


@pytest.mark.parametrize(
    "header", ["emotion, Usage, pixels", "\ufeffEmotion,USAGE,Pixels", '"emotion","Usage","pixels"']
)
def test_header_may_have_spaces_and_any_case(tmp_path, header):
    cells, images = rows(4)
    swapped = [(emotion, usage, f" {pixels}") for emotion, pixels, usage in cells]
    dataset = load_images(write_csv(tmp_path / "icml_face_data.csv", swapped, header), test_usage="all")
    assert np.array_equal(dataset.images, images)
    assert dataset.source_splits[1] == "PublicTest"


def test_windows_line_ends_and_empty_lines(tmp_path):
    cells, images = rows(3)
    path = write_csv(tmp_path / "fer2013.csv", cells)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    assert np.array_equal(load_images(path, test_usage="all").images, images)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        pytest.param(lambda text: text.encode("utf-8-sig"), "fer2013.csv", id="byte-order mark"),
        pytest.param(lambda text: text.encode("utf-16"), "fer2013.csv", id="UTF-16"),
        pytest.param(lambda text: text.replace(",", ";").encode(), "fer2013.csv", id="semicolons"),
        pytest.param(lambda text: text.replace(",", "\t").encode(), "fer2013.tsv", id="tabs"),
        pytest.param(lambda text: re.sub(r"^(\d),", r"\1.0,", text, flags=re.M).encode(), "fer2013.csv", id="floats"),
        pytest.param(
            lambda text: text.replace("PublicTest", "publictest").encode(), "fer2013.csv", id="usage in lower case"
        ),
        pytest.param(lambda text: re.sub(r"(\d)(?= \d)", r"\1.0", text).encode(), "fer2013.csv", id="pixels as floats"),
        pytest.param(lambda text: gzip.compress(text.encode()), "fer2013.csv.gz", id="gzip"),
        pytest.param(lambda text: text.encode(), "fer2013.txt", id="another suffix"),
    ],
)
def test_forms_of_the_file(tmp_path, change, name):
    cells, images = rows(9)
    text = write_csv(tmp_path / "plain.csv", cells).read_text()
    (tmp_path / name).write_bytes(change(text))
    dataset = load_images(tmp_path / name, test_usage="all")
    assert np.array_equal(dataset.images, images)
    assert dataset.labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 1]
    assert dataset.source_splits.tolist() == ["Training", "PublicTest", "PrivateTest"] * 3


def test_the_competitions_tar_is_read(tmp_path):
    cells, images = rows(6)
    write_csv(tmp_path / "fer2013.csv", cells)
    for name in ("fer2013.tar.gz", "fer2013.tar", "renamed.csv"):
        with tarfile.open(tmp_path / name, "w:gz" if name.endswith("gz") else "w") as archive:
            archive.add(tmp_path / "fer2013.csv", "fer2013/fer2013.csv")
            archive.addfile(tarfile.TarInfo("fer2013/README"))
        assert np.array_equal(load_images(tmp_path / name, test_usage="all").images, images)


def test_private_test_is_left_out_unless_asked_for(tmp_path):
    path = write_csv(tmp_path / "fer2013.csv", rows(9)[0])
    dataset = load_images(path)
    assert dataset.source_splits.tolist() == ["Training", "PublicTest"] * 3
    assert "test is PublicTest. Left out: 3 images of PrivateTest, the final test." in dataset.info.notes
    assert set(load_images(path, test_usage="PrivateTest").split("test").source_splits) == {"PrivateTest"}
    assert len(load_images(path, test_usage="all").split("test")) == 6
    # Someone who has nothing but PrivateTest means it.
    only = write_csv(tmp_path / "blind.csv", [row for row in rows(9)[0] if row[2] != "PublicTest"])
    assert set(load_images(only).split("test").source_splits) == {"PrivateTest"}


def test_labels_of_other_columns_are_not_guessed(tmp_path):
    path = write_csv(tmp_path / "faces.csv", [row[:2] for row in rows(7)[0]], "label,pixels")
    with pytest.raises(DataError, match="say which with --label-order"):
        load_images(path)
    dataset = load_images(path, label_order="affectnet")
    assert [EMOTIONS[label] for label in dataset.labels][:3] == ["neutral", "happy", "sad"]


def test_other_classes_by_number_are_left_out_with_counts(tmp_path):
    cells = [(code, pixels, usage) for code, (_, pixels, usage) in enumerate(rows(9)[0])]
    path = write_csv(tmp_path / "ckextended.csv", cells[:8])
    with pytest.raises(DataError, match="'fer2013' has 7 classes, numbered 0 to 6, but the data have the numbers"):
        load_images(path)
    dataset = load_images(path, label_order="angry,disgust,fear,happy,sad,surprise,neutral,contempt", test_usage="all")
    assert dataset.labels.tolist() == list(range(7))
    assert "The label '7 (contempt)' is not one of the seven emotions: 1 image left out." in dataset.info.notes


def test_csv_without_usage_is_all_train(tmp_path):
    cells, _ = rows(3)
    dataset = load_images(write_csv(tmp_path / "train.csv", [row[:2] for row in cells], "emotion,pixels"))
    assert set(dataset.splits) == {"train"}
    assert dataset.source_splits is None
    assert "train.csv has no Usage column: all images are train." in dataset.info.notes


def test_csv_with_labels_and_usage_is_preferred(tmp_path):
    cells, images = rows(4)
    with zipfile.ZipFile(tmp_path / "challenge.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, header, columns in (
            ("test.csv", "pixels", [1]),
            ("train.csv", "emotion,pixels", [0, 1]),
            ("set/icml_face_data.csv", "emotion, Usage, pixels", [0, 2, 1]),
        ):
            lines = [",".join(str(row[column]) for column in columns) for row in cells]
            archive.writestr(name, "\n".join([header, *lines]))
        archive.writestr("example_submission.csv", "id,emotion\n1,2\n")
    dataset = load_images(tmp_path / "challenge.zip")
    assert np.array_equal(dataset.images, images[[0, 1, 3]])
    assert dataset.source_splits.tolist() == ["Training", "PublicTest", "Training"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((0, "1 2 3", "Training"), "3 pixels, expected 2,304"),
        ((0, " ".join(["0"] * 2305), "Training"), "2,305 pixels"),
        ((0, "", "Training"), "pixels"),
        ((0, " ".join(["0"] * 2303 + ["256"]), "Training"), "must be from 0 to 255"),
        ((0, " ".join(["0"] * 2303 + ["-1"]), "Training"), "must be from 0 to 255"),
        ((0, " ".join(["0"] * 2303 + ["x"]), "Training"), "must be integers"),
        ((0, " ".join(["0"] * 2304 + ["x"]), "Training"), "must be integers"),
        (("", " ".join(["0"] * 2304), "Training"), "there is no label"),
        ((0,), "1 columns"),
    ],
)
def test_unreadable_line_is_left_out_and_named(tmp_path, row, message, caplog):
    cells, images = rows(2)
    path = write_csv(tmp_path / "fer2013.csv", [*cells, row])
    dataset = load_images(path)
    assert np.array_equal(dataset.images, images)
    assert re.search(rf"left out: fer2013\.csv, line 4: .*{message}", caplog.text)
    assert "Left out as unreadable: 1 of 3 images. fer2013.csv, line 4: " in "".join(dataset.info.notes)
    with pytest.raises(DataError, match=rf"--strict.*1 of 3 images.*line 4: .*{message}"):
        load_images(path, strict=True)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((7, " ".join(["0"] * 2304), "Training"), "the data have the numbers 0, 1, 7"),
        (("hapy", " ".join(["0"] * 2304), "Training"), "'hapy' .1 image. is not an emotion; did you mean happy"),
        ((0, " ".join(["0"] * 2304), "Other"), "'Other' is not a Usage"),
    ],
)
def test_unknown_labels_and_usages_are_an_error(tmp_path, row, message):
    path = write_csv(tmp_path / "fer2013.csv", [*rows(2)[0], row])
    with pytest.raises(DataError, match=message):
        load_images(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"pixels\n1 2 3\n", "no column 'emotion'"),
        (b"emotion,pixels,Usage\n", "no images"),
        (b"emotion,pixels,Usage\n0,\xff\xfe,Training\n", "no images that can be read"),
        (b"emotion,pixels,Usage\n0," + b"1" * 200_000 + b",Training\n", "cannot be read as a CSV"),
        (b"id,label\n1,2\n", "not in a known layout"),
    ],
)
def test_unusable_csv_is_an_error(tmp_path, content, message):
    path = tmp_path / "fer2013.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_images(path)


@settings(max_examples=25, deadline=None)
@given(st.sets(st.sampled_from(EMOTIONS), min_size=2), st.randoms(use_true_random=False))
def test_subset_of_emotions_keeps_their_order(csv_of_21, wanted, random):
    shuffled = random.sample(sorted(wanted), len(wanted))
    dataset = load_images(csv_of_21, emotions=[name.upper() for name in shuffled])
    assert dataset.class_names == tuple(name for name in EMOTIONS if name in wanted)
    expected = [EMOTIONS[i % 7] for i in range(21) if EMOTIONS[i % 7] in wanted]
    assert [dataset.class_names[label] for label in dataset.labels] == expected
    assert [int(name.split("_")[1]) for name in dataset.names] == [i for i in range(21) if EMOTIONS[i % 7] in wanted]


@settings(max_examples=25, deadline=None)
@given(st.tuples(st.integers(1, 70), st.integers(1, 70)), st.sampled_from([1, 3]))
def test_image_size_and_channels_give_the_shape(csv_of_21, image_size, channels):
    dataset = load_images(csv_of_21, image_size=image_size, channels=channels, sample_size=3)
    assert dataset.images.shape == (3, *image_size, channels)
    assert dataset.images.dtype == np.uint8


@pytest.fixture(scope="module")
def csv_of_21(tmp_path_factory):
    cells = [(emotion, pixels, "Training") for emotion, pixels, _ in rows(21)[0]]
    return write_csv(tmp_path_factory.mktemp("csv") / "fer2013.csv", cells)


@pytest.mark.real_data
def test_fer2013_has_the_published_counts(fer2013):
    dataset, manifest = fer2013, build_manifest(fer2013)
    assert dataset.images.shape[1:] == (48, 48, 1)
    assert compare_with_fer2013(manifest) == []
    for usage in ("Training", "PublicTest"):
        assert tuple(manifest["source_counts"][usage].values()) == FER2013_COUNTS[usage]
    assert (len(dataset.split("Training")), len(dataset.split("PublicTest"))) == (28709, 3589)
    assert dataset.info.notes == ()


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_fer2013_loads_in_500_megabytes_of_memory(fer2013, fer2013_archive, tmp_path):
    rows = [
        (fer2013.labels[i], " ".join(map(str, image.ravel().tolist())), fer2013.source_splits[i])
        for i, image in enumerate(fer2013.images)
    ]
    for path in (fer2013_archive, write_csv(tmp_path / "fer2013.csv", rows)):
        measured = measure(path)
        assert measured["pixels_sha256"] == build_manifest(fer2013)["pixels_sha256"]
        assert measured["megabytes"] < MAX_MEGABYTES
        assert measured["seconds"] < MAX_SECONDS
    (tmp_path / "fer2013.csv").unlink()


def measure(path):
    """Return the memory and time that a new process needs to load a dataset."""
    script = r"""
        import json, pathlib, re, sys, time
        from ferlib.data import build_manifest, load_images
        start = time.process_time()
        dataset = load_images(sys.argv[1])
        seconds = time.process_time() - start
        # Not ru_maxrss, which a new process inherits from the one that started it.
        peak = re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path("/proc/self/status").read_text())
        megabytes = int(peak[1]) / 1024
        print(json.dumps(build_manifest(dataset) | {"seconds": seconds, "megabytes": megabytes}))
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout)
