"""Videos, animations and cameras read and written."""

import cv2
import numpy as np
import pytest
from PIL import Image

from ferlib.core.errors import VideoError
from ferlib.video import VideoWriter, is_video, open_camera, open_video


def gray_video(path, levels, *, rate=25.0, size=(48, 64)):
    """A video whose frames are of one gray level each."""
    with VideoWriter(path, rate=rate) as writer:
        for number, level in enumerate(levels):
            writer.write(np.full((*size, 3), level, np.uint8), number / rate)
    return path


def read(path):
    with open_video(path) as video:
        return video, list(video)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".mov"])
def test_frames_are_read_in_order_with_times(tmp_path, suffix):
    levels = list(range(0, 250, 10))
    video, frames = read(gray_video(tmp_path / f"v{suffix}", levels))
    assert video.rate == pytest.approx(25, abs=0.01)
    assert (video.n_read, video.truncated) == (25, False)
    assert [frame.index for frame in frames] == list(range(25))
    assert [frame.time for frame in frames] == pytest.approx(np.arange(25) / 25, abs=0.002)
    assert all(frame.image.shape == (48, 64, 3) for frame in frames)
    assert [frame.image.mean() for frame in frames] == pytest.approx(levels, abs=5)


def test_frames_are_rgb(tmp_path):
    with VideoWriter(tmp_path / "v.mp4", rate=10) as writer:
        writer.write(np.full((48, 64, 3), (220, 30, 30), np.uint8), 0)
    assert read(tmp_path / "v.mp4")[1][0].image.mean(axis=(0, 1)) == pytest.approx((220, 30, 30), abs=8)


def test_frames_are_repeated_or_dropped_to_keep_time(tmp_path):
    with VideoWriter(tmp_path / "v.mp4", rate=10) as writer:
        # A gap of half a second, then frames that come too fast.
        for level, time in ((0, 0), (50, 0.1), (100, 0.6), (150, 0.61), (200, 0.62), (250, 0.7)):
            writer.write(np.full((48, 64, 3), level, np.uint8), time)
    levels = [frame.image.mean() for frame in read(tmp_path / "v.mp4")[1]]
    assert levels == pytest.approx([0, 50, 100, 100, 100, 100, 100, 250], abs=4)


def test_frames_of_any_size_can_be_written(tmp_path):
    with VideoWriter(tmp_path / "v.mp4", rate=10) as writer:
        writer.write(np.zeros((49, 65, 3), np.uint8), 0)
        writer.write(np.zeros((30, 30, 3), np.uint8), 0.1)
    assert [frame.image.shape for frame in read(tmp_path / "v.mp4")[1]] == [(48, 64, 3)] * 2


def test_frames_before_an_interrupt_are_kept(tmp_path):
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "v.mp4", rate=10) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8), 0)
        raise KeyboardInterrupt
    assert len(read(tmp_path / "v.mp4")[1]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["v.mp4"]


def test_without_frames_there_is_no_file(tmp_path):
    with VideoWriter(tmp_path / "v.mp4", rate=10):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animations_have_their_own_times(tmp_path, suffix):
    frames = [Image.new("RGB", (40, 30), (level, 0, 0)) for level in (10, 100, 200)]
    path = tmp_path / f"a{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[100, 300, 200], lossless=True)
    video, found = read(path)
    assert [frame.time for frame in found] == pytest.approx([0, 0.1, 0.4])
    assert [frame.image[0, 0, 0] for frame in found] == pytest.approx([10, 100, 200], abs=3)
    assert (video.n_frames, video.truncated) == (3, False)


def test_a_rotation_in_the_metadata_is_applied(tmp_path):
    with VideoWriter(tmp_path / "v.mp4", rate=10) as writer:
        image = np.zeros((48, 64, 3), np.uint8)
        image[:, 32:] = 255
        writer.write(image, 0)
    data = bytearray((tmp_path / "v.mp4").read_bytes())
    # The matrix of the track's header (ISO/IEC 14496-12, tkhd, 40 bytes after the version): a quarter turn.
    at = data.index(b"tkhd") + 4 + 40
    quarter = [0, 0x10000, 0, -0x10000, 0, 0, 48 << 16, 0, 0x40000000]
    data[at : at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in quarter)
    (tmp_path / "turned.mp4").write_bytes(data)
    (frame,) = read(tmp_path / "turned.mp4")[1]
    assert frame.image.shape == (64, 48, 3)
    assert frame.image[:20].mean() < 30
    assert frame.image[-20:].mean() > 220


def test_a_truncated_video_gives_its_readable_frames(cut_video):
    video, frames = read(cut_video)
    assert 5 <= len(frames) <= 20
    assert video.truncated


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (
            "web.mp4",
            b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
            "not a readable video: it is a web page",
        ),
        ("song.mp4", b"\0\0\0\x10ftypM4A \0\0\0\0\0\0\0\x08moov", "not a readable video: it is a sound file"),
        ("sound.mkv", b"\x1a\x45\xdf\xa3" + bytes(99), "not a readable video: it is damaged, or has only sound"),
        ("empty.mp4", b"", "the file is empty"),
        ("noise.mkv", bytes(range(256)) * 40, "not a readable video"),
        ("cut.gif", b"GIF89a\x01", "not a readable animation"),
        ("missing.mp4", None, "there is no such file"),
    ],
)
def test_files_that_are_not_videos_are_named(tmp_path, capfd, name, content, sentence):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(VideoError, match=rf"{name}.*{sentence}"):
        read(tmp_path / name)
    assert capfd.readouterr().err == ""


def test_other_formats_are_not_read_as_animations(tmp_path):
    # Pillow would start Ghostscript for PostScript.
    path = tmp_path / "drawing.gif"
    Image.new("RGB", (4, 4)).save(path, "EPS")
    assert not is_video(path)
    with pytest.raises(VideoError, match="not a readable video"):
        read(path)


def test_a_truncated_mp4_is_an_error(tmp_path, capfd):
    data = gray_video(tmp_path / "v.mp4", range(0, 250, 2)).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(VideoError, match=r"cut\.mp4: not .* read.*: the file is cut off"):
        read(tmp_path / "cut.mp4")
    assert capfd.readouterr().err == ""


def test_a_missing_camera_is_an_error(capfd):
    with pytest.raises(VideoError, match="camera 99 cannot be opened"), open_camera(99):
        pass
    assert capfd.readouterr().err == ""


def test_a_camera_may_be_a_file(tmp_path):
    path = gray_video(tmp_path / "v.mp4", [10, 20, 30])
    with open_camera(str(path)) as video:
        frames = list(video)
    assert len(frames) == 3
    assert frames[0].time == 0 <= frames[1].time <= frames[2].time
    assert video.n_frames is None


def test_a_missing_codec_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2.VideoWriter, "fourcc", lambda *code: 0x20202020)
    with (
        pytest.raises(VideoError, match=r"v\.avi cannot be written"),
        VideoWriter(tmp_path / "v.avi", rate=5) as writer,
    ):
        writer.write(np.zeros((48, 64, 3), np.uint8), 0)
    assert list(tmp_path.iterdir()) == []
