"""The table of `ferlib score`, as its readers see it."""

import contextlib
import io
import re
from pathlib import Path

import pyarrow.parquet as pq

from ferlib.core.emotions import EMOTIONS
from ferlib.inference import BatchScorer
from ferlib.scoring import image_schema, to_table, video_schema

PAGE = Path(__file__).parents[2].joinpath("docs/scale.md").read_text(encoding="utf-8")


def test_the_columns_are_those_of_the_documentation():
    section = PAGE.split("## The table")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    documented = [name for cell in cells for name in re.findall(r"`([\w.\[\]]+)`", cell)]
    face = image_schema().field("faces").type.value_type
    columns = [name for name in documented if "[]" not in name]
    assert columns == image_schema().names
    assert {name.removeprefix("faces[].") for name in documented if "[]" in name} == {field.name for field in face}
    assert {"frames", "seconds", "tracks"} == set(video_schema().names) - set(image_schema().names)


def test_records_of_a_scorer_become_rows(album):
    scorer = BatchScorer(detector="none")
    files = [(str(path), path.read_bytes()) for path in sorted(album.glob("[!.]*.*g"))]
    table = to_table(scorer(files))
    assert table.schema == image_schema()
    assert table["path"].to_pylist() == [path for path, _ in files]
    face = table["faces"][1].as_py()[0]
    assert list(face["probabilities"]) == list(EMOTIONS)
    assert face["box"] == {"x": 0, "y": 0, "width": 48, "height": 48}


def test_other_classes_have_columns_of_their_own():
    face = image_schema(("glad", "grim")).field("faces").type.value_type
    assert [field.name for field in face.field("probabilities").type] == ["glad", "grim"]


def test_the_example_with_pandas_runs(album, run_score):
    run_score(album, "--output", "scores", "--detector", "none")
    block = re.search(r"^```python\n(import pandas.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)[1]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(block, {})
    counts = [int(number) for number in re.findall(r"^\w+ +(\d+) +0\.\d+", printed.getvalue(), flags=re.MULTILINE)]
    assert sum(counts) == 14


def test_readers_of_a_folder_see_the_parts_alone(album, run_score):
    run_score(album, "--output", "scores", "--detector", "none", "--part-size", "7")
    assert pq.read_table("scores").num_rows == 16
