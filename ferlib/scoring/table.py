"""Records as Arrow tables, and their schemas."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ferlib.core.emotions import EMOTIONS
from ferlib.faces.base import LANDMARKS
from ferlib.inference.results import Record

# pyarrow is an extra, and `ferlib --help` needs none of it.
if TYPE_CHECKING:
    import pyarrow as pa


def image_schema(class_names: Sequence[str] = EMOTIONS) -> "pa.Schema":
    """Return the schema of a table with one row per image; `class_names` are the classifier's."""
    import pyarrow as pa

    box = pa.struct([(name, pa.int32()) for name in ("x", "y", "width", "height")])
    point = pa.struct([("x", pa.float32()), ("y", pa.float32())])
    face = pa.struct(
        [
            ("box", box),
            ("confidence", pa.float32()),
            ("landmarks", pa.struct([(name, point) for name in LANDMARKS])),
            ("emotion", pa.string()),
            ("probability", pa.float32()),
            ("probabilities", _probabilities(class_names)),
        ]
    )
    return _schema([("faces", pa.list_(face))])


def video_schema(class_names: Sequence[str] = EMOTIONS) -> "pa.Schema":
    """Return the schema of a table with one row per video; `class_names` are the classifier's."""
    import pyarrow as pa

    point = pa.struct([("time", pa.float64()), ("probabilities", _probabilities(class_names))])
    track = pa.struct(
        [
            ("track_id", pa.int32()),
            ("first", pa.float64()),
            ("last", pa.float64()),
            ("frames", pa.int32()),
            ("probabilities", _probabilities(class_names)),
            ("timeline", pa.list_(point)),
        ]
    )
    return _schema([("frames", pa.int32()), ("seconds", pa.float64()), ("tracks", pa.list_(track))])


def _schema(results: list[tuple[str, Any]]) -> "pa.Schema":
    """Return a schema with some columns between those that all tables have."""
    import pyarrow as pa

    start = [("path", pa.string()), ("sha256", pa.string()), ("width", pa.int32()), ("height", pa.int32())]
    origin = [(name, pa.string()) for name in ("prior", "detector", "model", "ferlib_version")]
    fields = [*start, ("error", pa.string()), *results, *origin]
    return pa.schema([pa.field(name, kind, nullable=name != "path") for name, kind in fields])


def _probabilities(class_names: Sequence[str]) -> "pa.StructType":
    import pyarrow as pa

    return pa.struct([(name, pa.float32()) for name in class_names])


def to_table(records: Iterable[Record], schema: "pa.Schema | None" = None) -> "pa.Table":
    """Return the records of a scorer as a table; `schema` is that of images with the usual emotions if None.

    Boxes become structures of x, y, width and height, landmarks structures of x and y.
    """
    import pyarrow as pa

    rows = [{**record, "faces": _nest(record["faces"])} if record.get("faces") else record for record in records]
    return pa.Table.from_pylist(rows, schema=image_schema() if schema is None else schema)


def _nest(faces: Sequence[Record]) -> list[Record]:
    """Return faces with names instead of positions in their boxes and landmarks."""
    return [
        {
            **face,
            "box": dict(zip(("x", "y", "width", "height"), face["box"], strict=True)),
            "landmarks": face["landmarks"] and {name: {"x": x, "y": y} for name, (x, y) in face["landmarks"].items()},
        }
        for face in faces
    ]
