"""Whether the file of a video is cut off: whether its parts end after the end of the file.

Headers are no proof. The number of frames that they state counts frames that an edit leaves out, or follows from the
length of the sound.
"""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

# Parts that are looked at, so that a damaged file cannot keep the reader busy.
_MAX_PARTS = 100_000

# Identifiers of Matroska's first two elements.
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
# Identifier of the first object of ASF (WMV).
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")


def is_cut_off(path: str | Path) -> bool:
    """Return whether an MP4, QuickTime, AVI, Matroska, WebM or ASF file ends inside one of its parts.

    Other containers, such as MPEG transport streams, consist of packets and have no end that could be missing.
    """
    try:
        size = Path(path).stat().st_size
        with Path(path).open("rb") as file:
            head = file.read(16)
            file.seek(0)
            ends = _find_parts(head)(file, size)
            return any(end > size for end, _ in zip(ends, range(_MAX_PARTS), strict=False))
    except (OSError, struct.error):
        return False


def _find_parts(head: bytes) -> Callable[[BinaryIO, int], Iterator[int]]:
    """Return the function that yields the ends of a container's parts, in bytes."""
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
        return _boxes
    if head[:4] in (b"RIFF", b"RIFX"):
        return _riff_chunks
    if head[:4] == _EBML:
        return _segments
    return _asf_objects if head == _ASF else _no_parts


def _no_parts(file: BinaryIO, size: int) -> Iterator[int]:  # noqa: ARG001
    """Yield nothing, for containers without lengths."""
    return iter(())


def _boxes(file: BinaryIO, size: int) -> Iterator[int]:
    """Yield the ends of the boxes of MP4 and QuickTime (ISO/IEC 14496-12)."""
    start = 0
    while start + 8 <= size:
        file.seek(start)
        length, kind = struct.unpack(">I4s", file.read(8))
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8))
        # A length of 0 means until the end of the file; what is not a box is no part of the video.
        if length < 8 or not kind.isalnum():
            return
        start += length
        yield start


def _riff_chunks(file: BinaryIO, size: int) -> Iterator[int]:
    """Yield the ends of the RIFF chunks of AVI; large files have several."""
    start = 0
    while start + 8 <= size:
        file.seek(start)
        kind, length = struct.unpack("<4sI", file.read(8))
        # Recorders write the length at the end; until then it is 0 or the largest number.
        if kind != b"RIFF" or length in (0, 0xFFFFFFFF):
            return
        start += 8 + length + length % 2
        # Some writers do not write the byte that makes the length even.
        yield start - length % 2


def _segments(file: BinaryIO, size: int) -> Iterator[int]:  # noqa: ARG001
    """Yield the ends of the first two elements of Matroska and WebM (RFC 9559): the header and the segment."""
    start = 0
    for identifier in (_EBML, _SEGMENT):
        file.seek(start)
        data = file.read(12)
        if not data.startswith(identifier) or len(data) < 5 or not data[4]:
            return
        # The number of leading zeros tells the number of bytes of the length (RFC 8794, section 4).
        n_bytes = 9 - data[4].bit_length()
        bits = int.from_bytes(data[4 : 4 + n_bytes], "big") & ((1 << 7 * n_bytes) - 1)
        if bits == (1 << 7 * n_bytes) - 1:  # unknown, in streams
            return
        start += 4 + n_bytes + bits
        yield start


def _asf_objects(file: BinaryIO, size: int) -> Iterator[int]:
    """Yield the ends of the objects of ASF."""
    start = 0
    while start + 24 <= size:
        file.seek(start)
        (length,) = struct.unpack("<16xQ", file.read(24))
        if length < 24:
            return
        start += length
        yield start
