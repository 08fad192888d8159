"""Recognize emotions in images, videos and cameras, and write the results as tables, records and annotated images."""

from ferlib.inference.annotate import WRITABLE_SUFFIXES, annotate, write_image
from ferlib.inference.batch import predict_images
from ferlib.inference.inputs import STANDARD_INPUT, InputFile, find_inputs, output_paths
from ferlib.inference.recognizer import DEFAULT_CROP_MARGIN, EmotionRecognizer
from ferlib.inference.results import (
    UNCERTAIN,
    FaceEmotion,
    ImageResult,
    display_path,
    face_columns,
    face_rows,
    image_record,
    to_frame,
)
from ferlib.inference.sinks import CountsSink, CsvSink, JsonlSink, Sink, read_finished
from ferlib.inference.stream import DEFAULT_SMOOTHING, predict_video
from ferlib.inference.tracks import Track, TrackSummary

__all__ = [
    "DEFAULT_CROP_MARGIN",
    "DEFAULT_SMOOTHING",
    "STANDARD_INPUT",
    "UNCERTAIN",
    "WRITABLE_SUFFIXES",
    "CountsSink",
    "CsvSink",
    "EmotionRecognizer",
    "FaceEmotion",
    "ImageResult",
    "InputFile",
    "JsonlSink",
    "Sink",
    "Track",
    "TrackSummary",
    "annotate",
    "display_path",
    "face_columns",
    "face_rows",
    "find_inputs",
    "image_record",
    "output_paths",
    "predict_images",
    "predict_video",
    "read_finished",
    "to_frame",
    "write_image",
]
