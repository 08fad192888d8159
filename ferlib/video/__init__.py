"""Read videos and cameras, write videos, and show frames in a window."""

from ferlib.video.camera import hide_credentials, open_camera
from ferlib.video.kinds import AMBIGUOUS_SUFFIXES, VIDEO_SUFFIXES, has_known_content, is_video
from ferlib.video.reader import Frame, Video, open_video
from ferlib.video.writer import VIDEO_CODECS, VideoWriter

__all__ = [
    "AMBIGUOUS_SUFFIXES",
    "VIDEO_CODECS",
    "VIDEO_SUFFIXES",
    "Frame",
    "Video",
    "VideoWriter",
    "has_known_content",
    "hide_credentials",
    "is_video",
    "open_camera",
    "open_video",
]
