"""Which files a job scores."""

import logging
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ferlib.core.errors import DataError
from ferlib.scoring.inputs import InputList
from ferlib.scoring.storage import Storage


def listed(*inputs, **options):
    return list(InputList(list(map(str, inputs)), Storage(), **options))


def test_a_folder_gives_its_images_in_order_and_counts_the_others(album, caplog):
    Image.new("L", (5, 5)).save("album/no suffix", format="PNG")
    Path("album/text").write_text("hello")
    caplog.set_level(logging.INFO)
    paths = listed("album")
    assert paths == sorted(paths, key=lambda path: path.split("/"))
    assert len(paths) == 17
    assert "album/no suffix" in paths
    assert "2 files were left out (1 .md, 1 without suffix)" in caplog.text


def test_videos_are_listed_instead_of_images(album):
    Path("album/clip.MP4").touch()
    assert listed("album", videos=True) == ["album/clip.MP4"]


def test_outputs_inside_the_input_are_left_out(album, run_score):
    run_score(album, "--output", "album/scores", "--detector", "none")
    Image.new("L", (5, 5)).save("album/scores/figure.png")
    assert not [path for path in listed("album") if "scores" in path]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_that_are_not_text_are_left_out(album, caplog):
    caplog.set_level(logging.INFO)
    Path(os.fsdecode(b"album/\xff.png")).write_bytes(b"")
    assert len(listed("album")) == 16
    assert "1 with a name that is not UTF-8" in caplog.text


@pytest.mark.parametrize("kind", ["txt", "csv", "tsv", "parquet"])
def test_lists_name_each_file_once_relative_to_their_folder(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    Path("lists").mkdir()
    entries = ["b.png", "sub/ü, 1.png", "/abs/c.png", "s3://bucket/a b?.png", "b.png"]
    path = Path("lists", f"images.{kind}")
    if kind == "txt":
        path.write_text("\ufeff" + "\r\n".join([*entries, "", ""]), encoding="utf-8")
    elif kind == "parquet":
        pq.write_table(pa.table({"n": range(6), "path": [*entries, None]}), path)
    else:
        separator = "," if kind == "csv" else "\t"
        lines = [f'{number}{separator}"{entry}"' for number, entry in enumerate(entries)]
        path.write_text("\n".join([f"n{separator}file", *lines]), encoding="utf-8")
    assert listed(path) == ["lists/b.png", "lists/sub/ü, 1.png", "/abs/c.png", "s3://bucket/a b?.png"]


def test_a_column_can_be_named(tmp_path):
    (tmp_path / "a.csv").write_text("file,image\nx.png,y.png\n")
    assert listed(tmp_path / "a.csv", column="image") == [f"{tmp_path}/y.png"]
    with pytest.raises(DataError, match=r"a\.csv has no column photo; --path-column names one of file, image\.$"):
        listed(tmp_path / "a.csv", column="photo")


def test_a_list_that_cannot_be_read_is_one_sentence(tmp_path):
    (tmp_path / "a.parquet").write_text("not Parquet")
    (tmp_path / "a.csv").write_bytes(b"path\n\xff\xfe")
    with pytest.raises(DataError, match=r"a\.parquet cannot be read as a list \([^\n]+\)\.$"):
        listed(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.csv cannot be read as a list \([^\n]+\)\.$"):
        listed(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"b\.csv: there is no such file\.$"):
        listed(tmp_path / "b.csv")


def test_patterns_and_several_inputs_name_each_file_once(album):
    assert len(listed("album/*.png", "album/hopper.jpg", "album")) == 16
    assert listed("album/hopper.jpg") == ["album/hopper.jpg"]
