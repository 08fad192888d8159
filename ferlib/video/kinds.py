"""Which files are videos: by their content, and by their suffix where the content does not tell."""

from pathlib import Path

import cv2
from PIL import Image

from ferlib.core.decoding import IMAGE_SUFFIXES, ignore_warnings
from ferlib.core.errors import ImageError, VideoError
from ferlib.core.images import read_image
from ferlib.core.signatures import HEAD_BYTES, is_animated, sniff_kind
from ferlib.video.opencv import open_capture

#: Suffixes that are read as videos in a folder, in addition to animated images.
VIDEO_SUFFIXES = frozenset(
    {
        *(".3g2", ".3gp", ".amv", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".h264", ".h265", ".hevc", ".ivf"),
        *(".m1v", ".m2t", ".m2ts", ".m2v", ".m4v", ".mj2", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpe", ".mpeg"),
        *(".mpg", ".mpv", ".mts", ".mxf", ".nut", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".ts", ".vob", ".webm"),
        *(".wmv", ".wtv", ".y4m"),
    }
)

#: Those that files of other kinds also have: TypeScript and others.
AMBIGUOUS_SUFFIXES = frozenset({".dv", ".mpv", ".mts", ".rm", ".ts"})

# Formats of animations, which Pillow reads. They are named because it would otherwise try all it knows.
ANIMATION_FORMATS = ("GIF", "WEBP", "PNG", "AVIF")

# Playlists, which name other files and addresses, and would make the reader open them.
_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"<?xml", b"<MPD", b"[playlist]", b"[Reference]", b"<ASX")


def is_video(path: str | Path) -> bool:
    """Return whether a file is read as a video: a video by its content or suffix, or an animation.

    Animations are GIF, WebP, PNG and AVIF files with several frames. A file of which neither content nor suffix is
    known is a video if OpenCV can open it and Pillow cannot.
    """
    path = Path(path)
    head = read_head(path)
    kind = sniff_kind(head)
    if kind == "image":
        return (head.startswith((b"GIF8", b"RIFF")) or is_animated(head)) and _has_frames(path)
    suffix = path.suffix.lower()
    if kind == "video" or suffix in VIDEO_SUFFIXES:
        return True
    return bool(head) and suffix not in IMAGE_SUFFIXES and _is_unknown_video(path, head)


def has_known_content(path: str | Path) -> bool:
    """Return whether a file is surely an image or a video by its first bytes."""
    return sniff_kind(read_head(path)) is not None


def read_head(path: str | Path) -> bytes:
    """Return the first bytes of a regular file; none if it cannot be read, or of a pipe, which would lose them."""
    try:
        if not Path(path).is_file():
            return b""
        with Path(path).open("rb") as file:
            return file.read(HEAD_BYTES)
    except (OSError, ValueError):
        return b""


def is_animation(path: str | Path) -> bool:
    """Return whether a file is of a format of animations, which Pillow reads."""
    head = read_head(path)
    return head.startswith((b"GIF8", b"\x89PNG")) or head[8:12] in (b"WEBP", b"avif", b"avis")


def refuse_playlists(path: Path) -> None:
    """Raise a `VideoError` for a file that names other files, which a file from a stranger must not make us read."""
    if read_head(path).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(_PLAYLISTS):
        raise VideoError(f"{path}: a playlist, which names other files; name the video itself.")


def _has_frames(path: Path) -> bool:
    """Return whether an image file has several frames; they are not counted, which takes long for hostile files."""
    try:
        with ignore_warnings(), Image.open(path, formats=ANIMATION_FORMATS) as image:
            return bool(getattr(image, "is_animated", False))
    # Pillow raises many kinds of errors for damaged files; reading the file as an image reports them.
    except Exception:
        return False


def _is_unknown_video(path: Path, head: bytes) -> bool:
    """Return whether OpenCV can open a file that is not an image; text is not tried."""
    if not any(byte < 9 for byte in head):
        return False
    try:
        read_image(path, max_pixels=0)
    except ImageError as error:
        if "unknown image format" not in str(error):
            return False
    with open_capture(str(path), cv2.CAP_FFMPEG) as capture:
        return capture is not None
