"""Videos that play everywhere, with the sound of their source where PyAV is installed."""

import shutil
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from ferlib.core.errors import FerlibError
from ferlib.video import VideoWriter, open_video
from ferlib.video import writer as writer_module

av = pytest.importorskip("av")


@pytest.fixture(params=["H.264", "MPEG-4"])
def codec(request, monkeypatch):
    """Write with PyAV, and as without it."""
    if request.param == "MPEG-4":
        monkeypatch.setattr(writer_module, "has_h264", lambda path: False)
    return request.param


def gray(level, size=(48, 64)):
    return np.full((*size, 3), level, np.uint8)


def levels(path):
    with open_video(path) as video:
        return [frame.image.mean() for frame in video]


def make_source(path, *, seconds=4, codec="aac", sound=True, rate=10):
    """A video whose sound has a click each second."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = output.add_stream(codec, rate=48_000, layout="mono") if sound else None
        for number in range(seconds * rate):
            frame = av.VideoFrame.from_ndarray(gray(number * 5))
            frame.pts = number
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        if audio is not None:
            samples = np.zeros((1, seconds * 48_000), np.float32)
            for second in range(seconds):
                samples[0, second * 48_000 : second * 48_000 + 4800] = np.sin(np.arange(4800) / 8)
            resampler = av.AudioResampler(format=audio.format, layout="mono", rate=48_000, frame_size=1024)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48_000, 0
            for part in [*resampler.resample(frame), *resampler.resample(None)]:
                output.mux(audio.encode(part))
            output.mux(audio.encode(None))
    return path


def read_sound(path):
    """Return the times of the clicks in seconds, and the length of the sound."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        parts, start = [], None
        for frame in container.decode(stream):
            start = frame.time if start is None else start
            parts.append(frame.to_ndarray().reshape(len(frame.layout.channels), -1)[0].astype(float))
        rate = stream.codec_context.sample_rate
    signal = np.concatenate(parts)
    loud = np.abs(signal) > 0.3 * np.abs(signal).max()
    at = np.flatnonzero(loud)
    clicks = at[np.flatnonzero(np.diff(at, prepend=-rate) > rate / 2)]
    return start + clicks / rate, len(signal) / rate


def test_frames_keep_time(tmp_path, codec):
    with VideoWriter(tmp_path / "v.mp4", rate=10) as writer:
        for level, time in ((0, 5.0), (50, 5.1), (100, 5.6), (150, 5.61), (250, 5.7)):
            writer.write(gray(level), time)
    assert levels(tmp_path / "v.mp4") == pytest.approx([0, 50, 100, 100, 100, 100, 100, 250], abs=6)


def test_a_long_gap_is_one_step(tmp_path, codec):
    with VideoWriter(tmp_path / "v.mp4", rate=10) as writer:
        for number, time in enumerate((0, 0.1, 10_800.1, 10_800.2, 10_800.3)):
            writer.write(gray(50 * number), time)
    assert levels(tmp_path / "v.mp4") == pytest.approx([0, 50, 100, 150, 200], abs=6)


def test_browsers_can_play_the_file(tmp_path):
    with VideoWriter(tmp_path / "v.mp4", rate=29.97) as writer:
        for number in range(30):
            writer.write(gray(8 * number, (49, 65)), number / 29.97)
    with av.open(str(tmp_path / "v.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height, stream.frames) == (64, 48, 30)
        assert float(stream.average_rate) == pytest.approx(29.97, abs=0.001)
    data = (tmp_path / "v.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "aac"), (".mkv", "pcm_s16le"), (".mkv", "flac")])
@pytest.mark.parametrize("target", [".mp4", ".mkv"])
def test_the_sound_is_kept_and_in_time(tmp_path, suffix, codec, target):
    source = make_source(tmp_path / f"source{suffix}", codec=codec)
    out = tmp_path / f"out{target}"
    with VideoWriter(out, rate=10, sound=source) as writer:
        for number in range(40):
            writer.write(gray(number), number / 10)
    clicks, seconds = read_sound(out)
    assert clicks == pytest.approx([0, 1, 2, 3], abs=0.06)
    assert seconds == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_the_sound_of_a_part_is_that_of_the_part(tmp_path, codec):
    source = make_source(tmp_path / "source.mkv", codec=codec)
    with VideoWriter(tmp_path / "out.mp4", rate=10, sound=source) as writer:
        for number in range(15, 29):
            writer.write(gray(number), number / 10)
    clicks, seconds = read_sound(tmp_path / "out.mp4")
    assert clicks == pytest.approx([0.5], abs=0.06)
    assert seconds == pytest.approx(1.4, abs=0.1)


def test_a_source_without_sound_gives_none(tmp_path):
    source = make_source(tmp_path / "source.mp4", sound=False)
    (tmp_path / "text.mp4").write_text("not a video")
    for sound in (source, tmp_path / "text.mp4", tmp_path / "missing.mp4"):
        with VideoWriter(tmp_path / "out.mp4", rate=10, sound=sound) as writer:
            writer.write(gray(9), 0)
        with av.open(str(tmp_path / "out.mp4")) as container:
            assert len(container.streams.audio) == 0


def test_the_sound_before_an_interrupt_is_kept(tmp_path):
    source = make_source(tmp_path / "source.mp4")
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "v.mp4", rate=10, sound=source) as writer:
        for number in range(20):
            writer.write(gray(number), number / 10)
        raise KeyboardInterrupt
    assert len(levels(tmp_path / "v.mp4")) == 20
    assert read_sound(tmp_path / "v.mp4")[1] == pytest.approx(2, abs=0.1)


FULL = """
import resource, sys, numpy as np
from ferlib.core.console import run
from ferlib.video import VideoWriter, writer
if sys.argv[2] == "MPEG-4":
    writer.has_h264 = lambda path: False
def main(argv):
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    rng = np.random.default_rng(0)
    with VideoWriter(sys.argv[1], rate=10) as out:
        for number in range(20):
            out.write(rng.integers(0, 256, (240, 320, 3), dtype=np.uint8), number / 10)
    return 0
run(main)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files")
@pytest.mark.parametrize("name", ["H.264", "MPEG-4"])
@pytest.mark.usefixtures("uncounted")
def test_a_full_disk_is_one_sentence(tmp_path, name):
    command = [sys.executable, "-c", FULL, str(tmp_path / "v.mp4"), name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path / 'v.mp4'} cannot be written")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_caller_is_not_hidden(tmp_path, codec):
    with pytest.raises(ZeroDivisionError), VideoWriter(tmp_path / "v.mp4", rate=10) as writer:
        writer.write(gray(9), 0)
        raise ZeroDivisionError
    assert levels(tmp_path / "v.mp4") == pytest.approx([9], abs=4)


def test_square_pixels_jumps_and_long_sound_are_read(tmp_path):
    """What FFmpeg writes on request, made with PyAV."""
    path = tmp_path / "anamorphic.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(16, 12)
        image = np.zeros((64, 96, 3), np.uint8)
        image[:, 48:] = 255
        for packet in [*stream.encode(av.VideoFrame.from_ndarray(image)), *stream.encode(None)]:
            output.mux(packet)
    with open_video(path) as video:
        (frame,) = video
    assert frame.image.shape == (64, 128, 3)
    assert video.size == (64, 128)
    assert frame.image[:, :56].max() < 40
    assert frame.image[:, 72:].min() > 215


def test_the_sound_does_not_tell_the_length_of_the_video(tmp_path):
    """The header of a Matroska file with longer sound states three times as many frames."""
    path = make_source(tmp_path / "long.mkv", seconds=4)
    with av.open(str(path)) as source, av.open(str(tmp_path / "cut.mkv"), "w") as output:
        streams = {stream.index: output.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.pts is not None and (packet.stream.type == "audio" or packet.pts * packet.time_base < 1):
                packet.stream = streams[packet.stream.index]
                output.mux(packet)
    with open_video(tmp_path / "cut.mkv") as video:
        n_frames = len(list(video))
    assert n_frames == 10 < 0.5 * video.n_frames
    assert not video.truncated


def test_a_missing_library_is_not_an_error(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setattr(writer_module.importlib.util, "find_spec", lambda name: None)
    with VideoWriter(tmp_path / "v.mp4", rate=10, sound=tmp_path / "source.mp4") as writer:
        writer.write(gray(90), 0)
    assert levels(tmp_path / "v.mp4") == pytest.approx([90], abs=4)


def test_a_build_without_the_encoder_writes_mpeg_4(tmp_path, monkeypatch, caplog):
    h264 = pytest.importorskip("ferlib.video.h264")
    monkeypatch.setattr(h264, "_ENCODER", "no-such-encoder")
    with VideoWriter(tmp_path / "v.mp4", rate=10) as writer:
        writer.write(gray(90), 0)
    assert levels(tmp_path / "v.mp4") == pytest.approx([90], abs=4)
    assert "PyAV cannot write H.264" in caplog.text


def test_an_unwritable_folder_is_named(tmp_path, codec):
    shutil.copy(__file__, tmp_path / "file")
    with (
        pytest.raises(FerlibError, match=r"v\.mp4 cannot be written"),
        VideoWriter(tmp_path / "file/v.mp4", rate=10) as writer,
    ):
        writer.write(gray(9), 0)
