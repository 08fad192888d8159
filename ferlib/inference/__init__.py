"""From a picture to faces with emotions, and from those to tables and annotated pictures."""

from ferlib.inference.draw import WRITABLE_SUFFIXES, annotate, write_picture
from ferlib.inference.plan import Photo, find_photos, plan_annotated
from ferlib.inference.recognize import DEFAULT_MARGIN, EmotionRecognizer, FaceEmotion, PictureResult
from ferlib.inference.tables import (
    count_emotions,
    display_path,
    face_rows,
    picture_record,
    write_counts_csv,
    write_faces_csv,
    write_json_lines,
)

__all__ = [
    "DEFAULT_MARGIN",
    "WRITABLE_SUFFIXES",
    "EmotionRecognizer",
    "FaceEmotion",
    "Photo",
    "PictureResult",
    "annotate",
    "count_emotions",
    "display_path",
    "face_rows",
    "find_photos",
    "picture_record",
    "plan_annotated",
    "write_counts_csv",
    "write_faces_csv",
    "write_json_lines",
    "write_picture",
]
