"""What the first bytes of a file say about its kind."""

import re
from typing import Literal

# Brands of HEIC photographs and their relatives (ISO/IEC 23008-12); "mif1" and "msf1" are also those of AVIF.
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})

_IMAGES = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n|GIF8|BM....\0\0\0\0|II\*\0|MM\0\*|RIFF....WEBP|\0\0\0\x0cjP  |\xff\x4f\xff\x51"
    rb"|P[1-7fFyY]\s|8BPS|qoif|\0\0[\1\2]\0[^\0]\0|DDS |icns|\x01\xda[\0\1][\1\2]|\x59\xa6\x6a\x95",
    re.DOTALL,
)
_VIDEOS = re.compile(
    rb"\x1a\x45\xdf\xa3|RIFF....AVI |RIFX....AVI |....(?:ftyp|moov|mdat|wide|pnot)|FLV\x01|\0\0\x01[\xba\xb3]|OggS"
    rb"|0&\xb2\x75\x8e\x66\xcf\x11|\.RMF|YUV4MPEG2|DKIF|\x06\x0e\x2b\x34|nut/multimedia|\0\0\0?\x01[\x67\x27\x40\x42\x09]",
    re.DOTALL,
)
# Packets of MPEG transport streams have 188 bytes, and 192 with a time of arrival.
_TRANSPORT = re.compile(rb"\x47.{187}\x47|.{4}\x47.{191}\x47", re.DOTALL)

# Contents that are often found under the name of an image.
_OTHERS = (
    (rb"%PDF", "a PDF document"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "PostScript, which is a program and is not run"),
    (rb"(?i)\s*(?:<!doctype html|<html|<head|<body)", "a web page"),
    (rb"(?i)\s*(?:<\?xml.*?)?<svg", "an SVG drawing"),
    (rb"version https://git-lfs", "a Git LFS pointer instead of the file"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL"),
    (rb"PK[\3\5]", "a zip archive"),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!", "a compressed archive"),
    (rb"ID3|\xff\xfb|fLaC|RIFF....WAVE|....ftypM4[AB] ", "a sound file"),
    (rb"\0+\Z", "only zeros"),
)

#: Bytes from the start of a file that are enough for the functions of this module.
HEAD_BYTES = 512


def sniff_kind(head: bytes) -> Literal["image", "video"] | None:
    """Return what the start of a file, `HEAD_BYTES` long, is surely the start of, or None."""
    if head[4:8] == b"ftyp" and _brands(head) & (_HEIC_BRANDS | _AVIF_BRANDS):
        return "image"
    if _IMAGES.match(head):
        return "image"
    return "video" if _VIDEOS.match(head) or _TRANSPORT.match(head) else None


def is_heic(head: bytes) -> bool:
    """Return whether a file is an HEIC image (and not AVIF, which Pillow reads)."""
    return head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS and not _brands(head) & _AVIF_BRANDS


def is_animated(head: bytes) -> bool:
    """Return whether the start of a file is that of an animated PNG or AVIF."""
    is_png = head.startswith(b"\x89PNG") and b"acTL" in head[33:]
    return is_png or (head[4:8] == b"ftyp" and head[8:12] == b"avis")


def describe_content(head: bytes) -> str:
    """Return what the start of a file that is not an image shows it to be, as "a web page", or ""."""
    for pattern, words in _OTHERS:
        if re.match(pattern, head, re.DOTALL):
            return words
    if is_heic(head):
        return "HEIC, damaged or of a kind that pillow-heif does not read"
    return "a video" if sniff_kind(head) == "video" else ""


def _brands(head: bytes) -> set[bytes]:
    """Return the brands in the first box of an ISO base media file."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return {head[8:12], *(head[i : i + 4] for i in range(16, end, 4))}
