"""From a picture, video or camera to faces with emotions, and from those to tables and annotated pictures."""

from ferlib.inference.draw import WRITABLE_SUFFIXES, annotate, write_picture
from ferlib.inference.people import People
from ferlib.inference.plan import STANDARD_INPUT, Source, find_sources, plan_annotated
from ferlib.inference.recognize import DEFAULT_MARGIN, UNCERTAIN, EmotionRecognizer, FaceEmotion, PictureResult
from ferlib.inference.stream import DEFAULT_SMOOTHING, recognize_stream
from ferlib.inference.tables import ResultFiles, display_path, face_rows, picture_record
from ferlib.inference.video import VideoWriter, open_camera, open_video

__all__ = [
    "DEFAULT_MARGIN",
    "DEFAULT_SMOOTHING",
    "STANDARD_INPUT",
    "UNCERTAIN",
    "WRITABLE_SUFFIXES",
    "EmotionRecognizer",
    "FaceEmotion",
    "People",
    "PictureResult",
    "ResultFiles",
    "Source",
    "VideoWriter",
    "annotate",
    "display_path",
    "face_rows",
    "find_sources",
    "open_camera",
    "open_video",
    "picture_record",
    "plan_annotated",
    "recognize_stream",
    "write_picture",
]
