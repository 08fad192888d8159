"""The content of a file decides what it is."""

import io
import os
import shutil

import matplotlib.cbook
import numpy as np
import pytest
from PIL import Image

from ferlib.core.errors import VideoError
from ferlib.core.images import read_image
from ferlib.inference.inputs import find_inputs
from ferlib.video import VideoWriter, is_video, open_video

HOPPER = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A video of ten frames."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with VideoWriter(path, rate=10) as writer:
        for number in range(10):
            writer.write(np.full((48, 64, 3), 20 * number, np.uint8), number / 10)
    return path


def convert(clip, path, container):
    """Copy a video into another container."""
    av = pytest.importorskip("av")
    with av.open(str(clip)) as source, av.open(str(path), "w", format=container) as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    return path


@pytest.mark.parametrize(
    ("name", "container"),
    [
        ("a.3gp", "3gp"),
        ("a.ts", "mpegts"),
        ("a.flv", "flv"),
        ("a.m2ts", "mpegts"),
        ("a.f4v", "f4v"),
        ("a.nut", "nut"),
        ("a.h264", "h264"),
        ("a", "mp4"),
        ("a", "matroska"),
        ("a.dat", "mpegts"),
        ("holiday.jpg", "mov"),
        ("notes.txt", "asf"),
        ("2026-01-01", "mpegts"),
    ],
)
def test_videos_of_any_name_are_read(clip, tmp_path, name, container):
    path = convert(clip, tmp_path / name, container)
    assert is_video(path)
    with open_video(path) as video:
        assert len(list(video)) in (9, 10)


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a", "a.ts", "a.txt"])
def test_images_of_any_name_are_images(tmp_path, name):
    shutil.copy(HOPPER, tmp_path / name)
    assert not is_video(tmp_path / name)
    assert read_image(tmp_path / name).shape == (600, 512, 3)


@pytest.mark.parametrize(("kind", "suffix"), [("GIF", ".gif"), ("WEBP", ".webp"), ("PNG", ".png"), ("GIF", ".jpg")])
def test_animations_are_videos_and_still_images_are_not(tmp_path, kind, suffix):
    frames = [Image.new("RGB", (40, 30), (level, 0, 0)) for level in (10, 100, 200)]
    frames[0].save(tmp_path / f"moving{suffix}", kind, save_all=True, append_images=frames[1:], duration=100)
    frames[0].save(tmp_path / f"still{suffix}", kind)
    assert is_video(tmp_path / f"moving{suffix}")
    assert not is_video(tmp_path / f"still{suffix}")
    with open_video(tmp_path / f"moving{suffix}") as video:
        assert [round(frame.time, 3) for frame in video] == [0, 0.1, 0.2]


def test_a_folder_tells_what_it_leaves_out(clip, tmp_path, caplog):
    caplog.set_level("INFO")
    image = Image.new("RGB", (20, 20))
    for name in ("a.avif", "b.jp2", "c.pgm", "d.ppm", "e.qoi", "f.tga"):
        image.convert("L" if name == "c.pgm" else "RGB").save(tmp_path / name)
    image.save(tmp_path / "g", "PNG")
    shutil.copy(clip, tmp_path / "h")
    shutil.copy(clip, tmp_path / "i.webm")
    (tmp_path / "main.ts").write_text("export const one = 1;")
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "Icon\r").write_bytes(b"")
    (tmp_path / "readme").write_text("text")
    inputs, empty = find_inputs(str(tmp_path))
    assert empty == []
    assert [item.path.name for item in inputs] == [
        *("a.avif", "b.jp2", "c.pgm", "d.ppm", "e.qoi", "f.tga", "g", "h", "i.webm")
    ]
    assert [item.path.name for item in inputs if item.is_video] == ["h", "i.webm"]
    assert "4 other files were left out (2 without suffix, 1 .ts, 1 .txt)" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{clip}\n",
        "ffconcat version 1.0\nfile '{clip}'\n",
        "\ufeff#EXTM3U\n{clip}\n",
        "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'><BaseURL>{clip}</BaseURL></MPD>",
    ],
)
@pytest.mark.parametrize("name", ["list.mp4", "list.m3u8"])
def test_playlists_do_not_make_other_files_be_read(clip, tmp_path, text, name):
    (tmp_path / name).write_text(text.format(clip=clip))
    with pytest.raises(VideoError, match="a playlist, which names other files"), open_video(tmp_path / name) as video:
        list(video)


def test_pipes_are_not_touched(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert not is_video(tmp_path / "pipe")


def test_text_is_no_video(tmp_path):
    (tmp_path / "a.dat").write_bytes(io.BytesIO(b"1,2,3\n" * 99).read())
    assert not is_video(tmp_path / "a.dat")
