"""What ``ferlib predict`` does with unusual files, streams and terminals, with the pretrained model."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import matplotlib.cbook
import numpy as np
import pytest
from PIL import Image

from ferlib.core.errors import OptionError
from ferlib.core.images import read_image, resize
from ferlib.predict import main
from ferlib.video import VideoWriter, open_video

HOPPER = Path(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))


def predict(*arguments):
    return main(list(map(str, arguments)))


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def start(*arguments, **options):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "encoding": "utf-8"}
    return subprocess.Popen([sys.executable, "-m", "ferlib", "predict", *map(str, arguments)], **pipes | options)


def shell(command, **variables):
    command = command.replace("ferlib", f"{sys.executable} -m ferlib")
    environment = {**os.environ, **variables}
    return subprocess.run(["sh", "-c", command], capture_output=True, check=False, env=environment)


def gray_video(path, n_frames=60, *, rate=10.0, size=(48, 64)):
    """A video whose frames have the gray level of their number."""
    with VideoWriter(path, rate=rate) as writer:
        for number in range(n_frames):
            writer.write(np.full((*size, 3), number % 250, np.uint8), number / rate)
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A video of a minute."""
    return gray_video(tmp_path_factory.mktemp("film") / "film.mp4", 600)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_stopped_call_leaves_playable_files(tmp_path, name):
    """As timeout, Slurm and containers stop it."""
    long = gray_video(tmp_path / "long.mp4", 6000)
    out = tmp_path / "out"
    outputs = ["--output-video", out / "v.mp4", "--output-csv", out / "f.csv", "--output-json", out / "f.json"]
    command = start(long, "--detector", "none", *outputs)
    part = out / "f.csv.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size > 5000) and time.monotonic() < deadline:
        time.sleep(0.02)
    number = getattr(signal, name)
    command.send_signal(number)
    _, err = command.communicate()
    assert command.returncode == 128 + number, err
    assert err.endswith("\nstopped\n")
    assert sorted(path.name for path in out.iterdir()) == ["f.csv", "f.json", "v.mp4"]
    with open_video(out / "v.mp4") as video:
        n_frames = len(list(video))
    assert 10 < n_frames < 6000
    rows = read_csv(out / "f.csv")
    assert abs(len(rows) - n_frames) <= 1
    assert len(json.loads((out / "f.json").read_text())) == len(rows)


@pytest.mark.parametrize(
    ("options", "times"),
    [
        (["--every", "10"], [0, 10, 20, 30, 40, 50]),
        (["--every", "0.5", "--start", "2", "--end", "4"], [2, 2.5, 3, 3.5, 4]),
        (["--start", "59.75"], [59.7, 59.8, 59.9]),
        (["--end", "0.3"], [0, 0.1, 0.2, 0.3]),
        (["--start", "30.04", "--every", "12.5"], [30, 42.5, 55]),
    ],
)
def test_parts_and_every_n_th_frame(film, tmp_path, options, times):
    out = tmp_path / "v.mp4"
    assert predict(film, "--detector", "none", *options, "--output-csv", tmp_path / "f.csv", "--output-video", out) == 0
    rows = read_csv(tmp_path / "f.csv")
    assert [float(row["time"]) for row in rows] == pytest.approx(times, abs=0.051)
    assert [int(row["frame"]) for row in rows] == [round(10 * float(row["time"])) for row in rows]
    with open_video(out) as video:
        levels = [frame.image[24:40, 8:56].mean() for frame in video]  # without the label
    # The frames are those of these times, in an annotated video that takes as long.
    assert levels[0] == pytest.approx(int(rows[0]["frame"]) % 250, abs=12)
    assert (len(levels) - 1) / video.rate == pytest.approx(times[-1] - times[0], abs=1)


def test_animations_have_parts_too(tmp_path):
    frames = [Image.new("L", (40, 30), 20 * level) for level in range(10)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=100)
    predict(
        tmp_path / "a.gif", "--detector", "none", "--every", "0.2", "--start", "0.3", "--output-csv", tmp_path / "f.csv"
    )
    assert [float(row["time"]) for row in read_csv(tmp_path / "f.csv")] == pytest.approx([0.3, 0.5, 0.7, 0.9])


def test_a_part_without_frames_is_an_error(film, capsys):
    assert predict(film, "--start", "100") == 1
    assert "there is no frame in the selected time" in capsys.readouterr().err
    with pytest.raises(OptionError, match=r"--end: expected more than --start \(5\), got 4"):
        predict(film, "--start", "5", "--end", "4")


def test_frames_without_a_face_may_have_rows(film, tmp_path):
    common = ["--end", "1", "--output-csv", tmp_path / "f.csv"]
    predict(film, *common)
    assert read_csv(tmp_path / "f.csv") == []
    predict(film, *common, "--empty-rows")
    rows = read_csv(tmp_path / "f.csv")
    assert [int(row["frame"]) for row in rows] == list(range(11))
    assert {row["face"] for row in rows} == {row["emotion"] for row in rows} == {""}


def test_small_faces_in_large_frames_are_followed(tmp_path, capsys):
    """A tenth of the frame would be the usual smallest size; the first frames show smaller ones."""
    face = resize(read_image(HOPPER)[80:360, 140:390], (84, 75))
    with VideoWriter(tmp_path / "v.avi", rate=4) as writer:
        for number in range(16):
            scene = np.full((960, 1280, 3), 120, np.uint8)
            for left in (200, 800):
                scene[300:384, left + number : left + number + 75] = face
            writer.write(scene, number / 4)
    predict(tmp_path / "v.avi", "--output-csv", tmp_path / "f.csv")
    rows = read_csv(tmp_path / "f.csv")
    assert max(int(row["height"]) for row in rows) < 960 / 12
    assert {row["face"] for row in rows} == {"1", "2"}
    assert [row["frame"] for row in rows].count("15") == 2
    assert "were not looked for" not in capsys.readouterr().err


def test_what_was_not_looked_for_is_told(film, tmp_path, capsys):
    gray_video(tmp_path / "large.avi", 3, size=(480, 640))
    predict(tmp_path / "large.avi")
    assert "faces under 40 pixels were not looked for; see --min-face-size" in capsys.readouterr().err
    predict(tmp_path / "large.avi", "--min-face-size", "30")
    assert "not looked for" not in capsys.readouterr().err


def test_a_folder_of_kinds_that_are_seldom_used(tmp_path, capsys):
    image = Image.open(HOPPER).resize((128, 150))
    for suffix in ("avif", "jp2", "ppm", "qoi", "tga", "webp"):
        image.save(tmp_path / f"a.{suffix}")
    image.convert("L").save(tmp_path / "a.pgm")
    (tmp_path / "a.docx").write_bytes(b"PK\3\4")
    assert predict(tmp_path, "--detector", "none") == 0
    out, err = capsys.readouterr()
    assert "7 images, 7 faces" in out
    assert "1 other file was left out (1 .docx)" in err


def test_a_nearly_complete_file_is_read_and_told(tmp_path, capsys):
    (tmp_path / "cut.jpg").write_bytes(HOPPER.read_bytes()[:-20])
    assert predict(tmp_path / "cut.jpg", "--output-csv", tmp_path / "f.csv") == 0
    assert "cut.jpg: the file is truncated" in capsys.readouterr().err
    assert len(read_csv(tmp_path / "f.csv")) == 1


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_names_in_any_script_on_any_terminal(tmp_path, encoding):
    name = "\u0444\u0430\u0439\u043b \u5199\u771f \U0001f600.png"
    Image.new("L", (48, 48)).save(tmp_path / name)
    Image.new("L", (48, 48)).save(tmp_path / "z\x1b[31m\n.png")
    done = shell(f"ferlib predict {tmp_path} --detector none --output-csv {tmp_path}/f.csv", PYTHONIOENCODING=encoding)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    shown = name if encoding == "utf-8" else name.encode("ascii", "backslashreplace").decode()
    assert f"{shown}: face 1" in done.stdout.decode(encoding)
    assert b"\x1b" not in done.stdout
    # One line for each image, and their sum.
    assert len(done.stdout.splitlines()) == 3
    assert sorted(Path(row["file"]).name for row in read_csv(tmp_path / "f.csv")) == ["z\x1b[31m\n.png", name]


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&-"])
def test_closed_streams(closed, tmp_path):
    done = shell(f"ferlib predict {HOPPER} --output-csv {tmp_path}/f.csv {closed}")
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    assert len(read_csv(tmp_path / "f.csv")) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.usefixtures("uncounted")
def test_a_full_disk(tmp_path):
    done = shell(f"ferlib predict {HOPPER} --detector none > /dev/full")
    assert done.returncode == 1
    assert done.stderr == b"error: standard output cannot be written (No space left on device).\n"
    limited = (
        f"ulimit -f 4; ferlib predict {HOPPER} {HOPPER.parent}/*.png --detector none --output-json {tmp_path}/f.json"
    )
    done = shell(f"{limited} --output-image {tmp_path}/out")
    assert done.returncode == 1
    assert b"cannot be written (File too large)" in done.stderr
    assert b"Traceback" not in done.stderr
    assert not list(tmp_path.rglob(".*"))


def test_no_progress_in_a_log(tmp_path):
    for number in range(3):
        Image.new("L", (48, 48)).save(tmp_path / f"{number}.png")
    done = shell(f"ferlib predict {tmp_path} --detector none 2>&1 | cat")
    lines = done.stdout.decode().split("\n")
    assert [line.split(":")[0].rpartition("/")[2] for line in lines[:3]] == ["0.png", "1.png", "2.png"]
    assert "\r" not in done.stdout.decode()
    assert "%" not in done.stdout.decode()


def test_an_address_is_not_a_file_and_its_password_is_not_shown(tmp_path, capsys):
    with pytest.raises(OptionError, match=r"^rtsp://host/s is an address; .*--webcam"):
        predict("rtsp://user:secret@host/s")
    outputs = ["--output-json", tmp_path / "f.json", "--output-csv", tmp_path / "f.csv"]
    assert predict("--webcam", "http://user:secret@127.0.0.1:9/s?key=secret", "--no-show", *outputs) == 1
    out, err = capsys.readouterr()
    assert "error: camera http://127.0.0.1:9/s cannot be opened" in err
    written = "".join(path.read_text() for path in tmp_path.iterdir())
    assert "secret" not in out + err + written
    assert json.loads((tmp_path / "f.json").read_text())[0]["file"] == "camera http://127.0.0.1:9/s"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_an_image_may_come_through_a_pipe(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(HOPPER.read_bytes())).start()
    assert predict(tmp_path / "pipe", "--output-csv", tmp_path / "f.csv") == 0
    assert len(read_csv(tmp_path / "f.csv")) == 1


def test_a_video_named_as_an_image_and_the_other_way_round(film, tmp_path, capsys):
    shutil.copy(film, tmp_path / "a.jpg")
    shutil.copy(HOPPER, tmp_path / "b.mp4")
    (tmp_path / "c").write_bytes(HOPPER.read_bytes())
    assert (
        predict(tmp_path / "a.jpg", tmp_path / "b.mp4", tmp_path / "c", "--end", "1", "--output-dir", tmp_path / "out")
        == 0
    )
    out = capsys.readouterr().out
    assert "a.jpg: 11 frames" in out
    assert "b.mp4: face 1" in out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.mp4", "b.png", "c.png"]


PEAK = """
import io, re, sys
from contextlib import redirect_stdout
from pathlib import Path
from ferlib.predict import main

def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

with redirect_stdout(io.StringIO()):
    main([sys.argv[2], "--quiet"])
    before = peak()
    main([sys.argv[1], "--quiet"])
print((peak() - before) / 24e6)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_large_image_needs_at_most_8_bytes_per_pixel(tmp_path):
    """An image of 24 megapixels in a file of 80 kB, which needed 572 MB."""
    Image.new("RGB", (6000, 4000), "navy").save(tmp_path / "a.png")
    command = [sys.executable, "-c", PEAK, str(tmp_path / "a.png"), str(HOPPER)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) <= 8


def test_several_images_as_bytes_and_files():
    from ferlib import EmotionRecognizer

    recognizer = EmotionRecognizer("none")
    data = HOPPER.read_bytes()
    forms = [HOPPER, str(HOPPER), data, io.BytesIO(data), read_image(HOPPER) / 255, Image.open(HOPPER)]
    results = recognizer.recognize_all(forms)
    assert {found[0].emotion for found in results} == {results[0][0].emotion}
    with pytest.raises(ValueError, match="recognize_all takes several images"):
        recognizer.recognize_all(str(HOPPER))
