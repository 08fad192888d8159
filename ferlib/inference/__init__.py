"""Recognize emotions in images, videos and cameras, and write the results as tables, records and annotated images."""

from ferlib.inference.annotate import annotate, write_image
from ferlib.inference.batch import BatchScorer, predict_images, tabulate
from ferlib.inference.recognizer import EmotionRecognizer
from ferlib.inference.results import UNCERTAIN, FaceEmotion, ImageResult, to_frame
from ferlib.inference.sinks import CountsSink, CsvSink, JsonSink
from ferlib.inference.stream import predict_video
from ferlib.inference.tracks import TrackSummary

__all__ = [
    "UNCERTAIN",
    "BatchScorer",
    "CountsSink",
    "CsvSink",
    "EmotionRecognizer",
    "FaceEmotion",
    "ImageResult",
    "JsonSink",
    "TrackSummary",
    "annotate",
    "predict_images",
    "predict_video",
    "tabulate",
    "to_frame",
    "write_image",
]
