"""An album of images, and what its table must contain."""

import json
from pathlib import Path

import matplotlib.cbook
import numpy as np
import pytest
from PIL import Image

from ferlib.predict import main as predict
from ferlib.synthetic.generate import draw_faces

HOPPER = Path(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))


def make_album(folder, n_faces=12):
    """Write drawn faces, a photograph, an image without a face, and files that cannot be read."""
    (folder / "more").mkdir(parents=True)
    for number, face in enumerate(draw_faces(np.arange(n_faces) % 7, seed=3)):
        place = folder / "more" if number % 3 else folder
        Image.fromarray(face.squeeze()).save(place / f"face {number:03d}.png")
    photo = Image.open(HOPPER)
    photo.resize((photo.width // 4, photo.height // 4)).save(folder / "hopper.jpg")
    Image.new("L", (90, 80), 128).save(folder / "nothing.png")
    (folder / "damaged.jpg").write_text("not an image")
    (folder / "more" / "empty.png").touch()
    (folder / "notes.md").write_text("not listed")
    (folder / ".hidden.png").write_text("not listed")
    return folder


def read_rows(folder):
    """Return the rows of an output folder, in order."""
    import pyarrow.dataset as ds

    files = sorted(str(path) for path in Path(folder).glob("part-*.parquet"))
    return ds.dataset(files).to_table().to_pylist()


def split_faces(faces):
    """Return the boxes and emotions of the faces of a row or of a record of `ferlib predict`, and their numbers."""
    words, numbers = [], []
    for face in faces or ():
        words.append((_values(face["box"]), face["emotion"], list(face["probabilities"])))
        numbers += [face["confidence"], face["probability"], *face["probabilities"].values()]
        for name, point in (face["landmarks"] or {}).items():
            words.append(name)
            # Pixels, which are rounded to tenths.
            numbers += [value / 1e4 for value in _values(point)]
    return words, numbers


def _values(item):
    return list(item.values() if isinstance(item, dict) else item)


def assert_rows_are_those_of_predict(rows, album, tmp_path, *options):
    """Compare each row with the record that `ferlib predict` writes, and with the file itself."""
    output = tmp_path / "predicted.json"
    assert predict([str(album), "--output-json", str(output), "--quiet", *options]) == 1
    expected = {record["file"]: record for record in json.loads(output.read_text(encoding="utf-8"))}
    assert {row["path"] for row in rows} == set(expected)
    assert len(rows) == len(expected)
    for row in rows:
        record = expected[row["path"]]
        for name in ("width", "height", "error", "prior", "detector", "model"):
            assert row[name] == record.get(name) or (name in ("prior", "detector", "model") and row["error"]), name
        assert (row["faces"] is None) == ("error" in record)
        (words, numbers), (expected_words, expected_numbers) = map(split_faces, (row["faces"], record.get("faces")))
        assert words == expected_words
        # Batches of another size differ after the sixth digit.
        assert numbers == pytest.approx(expected_numbers, abs=2e-5)
