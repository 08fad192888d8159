"""Files of every kind that people hand over are decoded, or refused by a name that says what they are."""

import io
import os
import re
import struct
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import matplotlib.cbook
import numpy as np
import pytest
from PIL import Image, features

from ferlib.core.decoding import IMAGE_SUFFIXES
from ferlib.core.errors import ImageError
from ferlib.core.images import as_image, decode_image, read_image

HOPPER = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
HOPPER_BYTES = Path(HOPPER).read_bytes()
UNSAFE = {"EPS", "WMF", "BUFR", "GRIB", "HDF5"}


@pytest.fixture(scope="module")
def photo():
    """A photograph of 256 x 300 pixels."""
    with Image.open(HOPPER) as image:
        return image.resize((256, 300))


def encode(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def writable_formats():
    Image.init()
    return sorted((set(Image.SAVE) & set(Image.OPEN)) - {"WMF", "BUFR", "GRIB", "HDF5"})


@pytest.mark.filterwarnings("ignore:IM image format:DeprecationWarning")
@pytest.mark.parametrize("kind", writable_formats())
def test_what_pillow_reads_is_read(photo, kind):
    for mode in ("RGB", "L", "P", "1"):
        try:
            data = encode(photo.convert(mode), kind)
        except (OSError, ValueError):
            continue
        break
    else:
        pytest.skip(f"Pillow cannot write a plain {kind}")
    if kind in UNSAFE:
        with pytest.raises(ImageError, match="unknown image format"):
            decode_image(data)
    else:
        assert decode_image(data).std() > 20


def test_every_suffix_of_a_readable_format_is_searched_for():
    Image.init()
    refused = {"PDF", "PALM", "FITS", "MPEG", "IPTC", *UNSAFE}
    readable = {suffix for suffix, kind in Image.EXTENSION.items() if kind not in {*refused, "HEIF"}}
    assert readable | {".heic", ".heif", ".hif"} == IMAGE_SUFFIXES


def test_formats_that_start_programs_are_never_opened(photo, tmp_path, monkeypatch):
    """Neither PostScript itself, under any name, nor inside another format."""
    marker = tmp_path / "started"
    script = tmp_path / "gs"
    script.write_text(f"#!/bin/sh\ntouch {marker}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    eps = encode(photo, "EPS")
    binary = b"\xc5\xd0\xd3\xc6" + struct.pack("<6I", 30, len(eps), 0, 0, 0, 0) + b"\xff\xff" + eps
    for data in (eps, binary, b"\r\n" + eps):
        with pytest.raises(ImageError, match="unknown image format"):
            decode_image(data)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("GIF", {}),
        ("GIF", {"interlace": 0}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TGA", {}),
    ],
)
def test_a_file_without_its_last_bytes_is_read_with_a_warning(photo, kind, options, caplog):
    data = encode(photo, kind, **options)
    whole = decode_image(data).astype(int)
    cut = decode_image(data[: -len(data) // 40 if kind != "JPEG" else -20], name="cut")
    assert "cut: the file is truncated" in caplog.text
    assert (np.abs(cut - whole).max(axis=(1, 2)) < 60).mean() > 0.88
    for part in (0.1, 0.5):
        with pytest.raises(ImageError, match="truncated"):
            decode_image(data[: int(len(data) * part)])


def test_the_option_alone_limits_the_pixels():
    data = encode(Image.new("1", (16320, 12240)), "PNG")
    assert decode_image(data, max_pixels=250_000_000).shape == (12240, 16320, 1)
    for limit in (100_000_000, 199_000_000):
        with pytest.raises(ImageError, match=rf"16,320 x 12,240 pixels is over the limit of {limit:,} .*--max-pixels"):
            decode_image(data, max_pixels=limit)
    # The limit of the process is as before.
    assert Image.MAX_IMAGE_PIXELS == 89_478_485


@pytest.mark.parametrize("factor", [4, 16, 64, 257])
@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm", "RGB .png", "RGB .tiff", "RGB .ppm"])
def test_every_depth_in_16_bits_has_the_same_brightness(photo, factor, suffix):
    pixels = np.asarray(photo if suffix.startswith("RGB") else photo.convert("L")).astype(np.uint16)
    _, encoded = cv2.imencode(suffix.split()[-1], (pixels[..., ::-1] if pixels.ndim == 3 else pixels) * factor)
    decoded = decode_image(encoded.tobytes())
    assert np.abs(decoded.squeeze() - pixels.astype(int)).max() <= 1


def test_deep_gray_with_transparency_has_its_brightness(photo):
    pixels = np.asarray(photo.convert("L")).astype(np.uint16) * 16
    opaque = np.full_like(pixels, 65535)
    _, encoded = cv2.imencode(".png", np.dstack([pixels, pixels, pixels, opaque]))
    decoded = decode_image(encoded.tobytes())
    assert np.abs(decoded[..., 0] - np.asarray(photo.convert("L")).astype(int)).max() <= 1


def test_floats_and_large_integers_are_scaled():
    for values, expected in [
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 128, 255]], np.float32), [0, 128, 255]),
        (np.array([[0, np.nan, 4095]], np.float32), [0, 0, 255]),
        (np.array([[0, 2**30, 2**31 - 1]], np.int32), [0, 128, 255]),
    ]:
        assert decode_image(encode(Image.fromarray(values), "TIFF")).ravel().tolist() == expected


@pytest.mark.parametrize("brand", ["heic", "heix", "hevc", "mif1", "msf1"])
def test_heic_is_named_under_any_name(brand, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    data = b"\0\0\0\x18ftyp" + brand.encode() + b"\0\0\0\0mif1heic" + bytes(100)
    with pytest.raises(ImageError, match=r"holiday\.jpg: an HEIC image; install pillow-heif"):
        decode_image(data, name="holiday.jpg")


def test_heic_is_read_with_the_plugin(photo):
    pytest.importorskip("pillow_heif").register_heif_opener()
    decoded = decode_image(encode(photo, "HEIF"), name="holiday.jpg")
    assert np.abs(decoded.astype(int) - np.asarray(photo)).mean() < 4


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), "HEIC, damaged|an HEIC image; install pillow-heif"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "a web page"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"<?xml version='1.0'?>\n<svg xmlns='x'/>", "an SVG drawing"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
        (b"PK\3\4" + bytes(50), "a zip archive"),
        (b"\0" * 600, "only zeros"),
        (b"\x1a\x45\xdf\xa3" + bytes(50), "a video"),
    ],
)
def test_other_content_is_named(data, words):
    with pytest.raises(ImageError, match=f"unknown image format: {words}"):
        decode_image(data)


def test_damaged_metadata_do_not_matter(photo):
    data = encode(photo, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff\x12\x01\xff\xff")
    assert decode_image(data).shape == (300, 256, 3)


PEAK = """
import re, sys
from pathlib import Path
from ferlib.core.images import decode_image, read_image

def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

read_image(sys.argv[2])
before = peak()
image = read_image(sys.argv[1])
print((peak() - before) / (image.shape[0] * image.shape[1]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("a.png", "RGB", {}),
        ("a.png", "RGBA", {"compress_level": 1}),
        ("a.jpg", "RGB", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"}),
        ("a.webp", "RGB", {"method": 0}),
        ("a.bmp", "RGB", {}),
        ("a.png", "I;16", {}),
        ("a.tif", "F", {}),
    ],
)
def test_decoding_needs_at_most_8_bytes_per_pixel(tmp_path, name, mode, options):
    Image.new(mode, (4000, 3000)).save(tmp_path / name, **options)
    assert peak_bytes(tmp_path / name) <= 8


def peak_bytes(path):
    """The bytes per pixel that decoding needs at its peak."""
    command = [sys.executable, "-c", PEAK, str(path), HOPPER]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(("kind", "need"), [("avif", 12), ("png", 16)])
def test_hungry_decoders_need_no_more_than_is_allowed_for(tmp_path, kind, need):
    path = tmp_path / f"a.{kind}"
    if kind == "png":
        cv2.imwrite(str(path), np.full((3000, 4000, 3), 999, np.uint16))
    else:
        Image.new("RGB", (4000, 3000)).save(path, speed=10, subsampling="4:4:4")
    assert peak_bytes(path) <= need + 0.5


@pytest.mark.skipif(not features.check("libtiff"), reason="Pillow has no libtiff")
def test_damaged_tiffs_leave_standard_error_alone(photo, capfd):
    data = bytearray(encode(photo, "TIFF", compression="tiff_lzw"))
    data[2000:2100] = b"\xff" * 100
    stop = threading.Event()

    def decode():
        while not stop.is_set():
            with pytest.raises(ImageError):
                decode_image(bytes(data))

    thread = threading.Thread(target=decode)
    thread.start()
    for number in range(200):
        os.write(2, f"line {number}\n".encode())
    stop.set()
    thread.join()
    # Nothing that another thread writes is lost, and libtiff writes nothing.
    assert capfd.readouterr().err == "".join(f"line {number}\n" for number in range(200))


def test_arrays_that_programs_hand_over():
    photo = read_image(HOPPER)
    gray = photo.mean(axis=-1).round().astype(np.uint8)
    assert as_image(gray).shape == (600, 512, 1)
    for same in (
        photo / 255,
        (photo / 255).astype(np.float32),
        photo.astype(float),
        photo.astype(np.int64),
        photo.astype(np.uint16) * 257,
        photo.tolist(),
        np.dstack([photo, np.full(gray.shape, 255, np.uint8)]),
        io.BytesIO(HOPPER_BYTES),
        memoryview(HOPPER_BYTES),
        Image.open(HOPPER),
    ):
        np.testing.assert_array_equal(as_image(same), photo)
    np.testing.assert_array_equal(as_image(gray > 100)[..., 0], (gray > 100) * 255)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (None, "None, which cv2.imread returns"),
        (np.full((4, 5, 3), np.nan), "not finite"),
        (np.full((4, 5, 3), -1.0), "negative"),
        (np.zeros((3, 40, 50)), "channels come last"),
        (np.zeros((2, 4, 5, 3), np.uint8), "recognize_all"),
        (np.zeros((0, 5, 3), np.uint8), "numbers are needed"),
        (np.zeros((5, 5, 7), np.uint8), "numbers are needed"),
        (np.array([["a", "b"]]), "numbers are needed"),
        ({"a": 1}, "numbers are needed"),
    ],
)
def test_what_is_no_image_is_a_value_error_that_says_why(image, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        as_image(image)


def test_files_that_cannot_be_read_say_why(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    with (tmp_path / "a.txt").open() as text, pytest.raises(ImageError, match="mode 'rb'"):
        as_image(text)
    with pytest.raises(ImageError, match="at its end"):
        file = io.BytesIO(HOPPER_BYTES)
        file.read()
        as_image(file)
    with pytest.raises(ImageError, match=r"https://…: an address is not read"):
        as_image("https://user:secret@example.org/a.jpg")
    with pytest.raises(ImageError, match="null"):
        as_image("a\0b.jpg")


@pytest.mark.parametrize(("kind", "options"), [("JPEG2000", {}), ("JPEG", {"progressive": True})])
def test_large_images_for_hungry_decoders_are_decoded_at_half_the_resolution(photo, kind, options):
    data, n_pixels = encode(photo, kind, **options), 256 * 300
    full, halved = (decode_image(data, max_pixels=factor * n_pixels) for factor in (3, 1))
    assert full.shape == halved.shape == (300, 256, 3)
    assert 0 < np.abs(full.astype(int) - halved).mean() < 8


def test_a_cut_image_for_a_hungry_decoder_is_refused(photo):
    data = encode(photo, "JPEG", progressive=True)[:-5]
    assert decode_image(data, max_pixels=3 * 256 * 300).shape == (300, 256, 3)
    with pytest.raises(ImageError, match="truncated"):
        decode_image(data, max_pixels=256 * 300)


@pytest.mark.parametrize(("kind", "need"), [("AVIF", 12), ("WEBP", 16), ("PNG", 16)])
def test_large_images_for_other_hungry_decoders_are_refused(photo, kind, need):
    frames = {"save_all": True, "append_images": [photo.rotate(180)]} if kind == "WEBP" else {}
    data, n_pixels = encode(photo, kind, **frames), 256 * 300
    if kind == "PNG":
        data = cv2.imencode(".png", np.asarray(photo, np.uint16) * 16)[1].tobytes()
    with pytest.raises(ImageError, match=rf"256 x 300 pixels of {kind} need {need} bytes each, .*--max-pixels"):
        decode_image(data, max_pixels=n_pixels)
    assert decode_image(data, max_pixels=2 * n_pixels).shape == (300, 256, 3)
