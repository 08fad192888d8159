"""Read videos and cameras, write videos, and show frames in a window."""

from ferlib.video.reader import VIDEO_SUFFIXES, Frame, Video, is_video, open_camera, open_video
from ferlib.video.writer import VIDEO_CODECS, VideoWriter

__all__ = [
    "VIDEO_CODECS",
    "VIDEO_SUFFIXES",
    "Frame",
    "Video",
    "VideoWriter",
    "is_video",
    "open_camera",
    "open_video",
]
