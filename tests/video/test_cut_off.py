"""A video that is cut off is told from one whose header promises more than it shows."""

import struct

import numpy as np
import pytest

from ferlib.video import VideoWriter, open_video
from ferlib.video.container import is_cut_off


def noise_video(path, n_frames=30):
    rng = np.random.default_rng(0)
    with VideoWriter(path, rate=25) as writer:
        for number in range(n_frames):
            writer.write(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8), number / 25)
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi"])
def test_whole_files_are_not_cut_off_and_parts_of_them_are(tmp_path, suffix):
    path = noise_video(tmp_path / f"v{suffix}")
    assert not is_cut_off(path)
    data = path.read_bytes()
    for part in (0.95, 0.6):
        (tmp_path / f"cut{suffix}").write_bytes(data[: int(len(data) * part)])
        assert is_cut_off(tmp_path / f"cut{suffix}")
    (tmp_path / f"more{suffix}").write_bytes(data + bytes(999))
    assert not is_cut_off(tmp_path / f"more{suffix}")


def test_a_header_that_promises_more_is_no_proof(tmp_path):
    path = noise_video(tmp_path / "v.avi")
    data = bytearray(path.read_bytes())
    at = data.index(b"avih") + 8 + 16  # the number of frames
    data[at : at + 4] = struct.pack("<I", 300)
    path.write_bytes(data)
    with open_video(path) as video:
        assert len(list(video)) == 30
    assert not video.truncated


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF",
        b"RIFF\0\0\0\0AVI LIST",
        b"\0\0\0\0ftypisom",
        b"\0\0\0\x10ftypisom\0\0\0\0\0\0\0\x01mdat",
        b"\x1a\x45\xdf\xa3",
        b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff",  # a stream of unknown length
        b"\x1a\x45\xdf\xa3\x00" + bytes(20),
        b"\x47" + bytes(500),
        bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + bytes(8),
    ],
)
def test_other_files_are_not_cut_off(tmp_path, data):
    (tmp_path / "v").write_bytes(data)
    assert not is_cut_off(tmp_path / "v")


def test_the_lengths_of_a_damaged_file_are_read_in_no_time(tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"\0\0\0\x08ftyp" * 500_000)
    assert not is_cut_off(tmp_path / "v.mp4")
    (tmp_path / "v.mkv").write_bytes(b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x88" + bytes(7))
    assert is_cut_off(tmp_path / "v.mkv")
