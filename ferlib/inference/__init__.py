"""From an image, video or camera to faces with emotions, and from those to tables and annotated images."""

from ferlib.inference.annotate import WRITABLE_SUFFIXES, annotate, write_image
from ferlib.inference.inputs import STANDARD_INPUT, Source, find_sources, plan_annotated
from ferlib.inference.recognizer import DEFAULT_MARGIN, UNCERTAIN, EmotionRecognizer, FaceEmotion, ImageResult
from ferlib.inference.sinks import ResultFiles, display_path, face_rows, image_record
from ferlib.inference.stream import DEFAULT_SMOOTHING, recognize_stream
from ferlib.inference.tracks import People
from ferlib.video.reader import VideoWriter, open_camera, open_video

__all__ = [
    "DEFAULT_MARGIN",
    "DEFAULT_SMOOTHING",
    "STANDARD_INPUT",
    "UNCERTAIN",
    "WRITABLE_SUFFIXES",
    "EmotionRecognizer",
    "FaceEmotion",
    "ImageResult",
    "People",
    "ResultFiles",
    "Source",
    "VideoWriter",
    "annotate",
    "display_path",
    "face_rows",
    "find_sources",
    "image_record",
    "open_camera",
    "open_video",
    "plan_annotated",
    "recognize_stream",
    "write_image",
]
