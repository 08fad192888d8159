"""`ferlib score` on one machine."""

import hashlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from albums import assert_rows_are_those_of_predict, make_album, read_rows
from PIL import Image

import ferlib
from ferlib.core.errors import FerlibError, OptionError

NONE = ("--detector", "none")


def test_rows_are_those_of_predict(album, run_score, tmp_path, capsys):
    assert run_score(album, "--output", "scores", "--workers", 2, "--part-size", 5) == 0
    assert capsys.readouterr().out.startswith("16 images, ")
    rows = read_rows("scores")
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    assert_rows_are_those_of_predict(rows, album, tmp_path)
    assert len(rows) == 16
    assert {row["ferlib_version"] for row in rows} == {ferlib.__version__}
    for row in rows:
        assert row["sha256"] == hashlib.sha256(Path(row["path"]).read_bytes()).hexdigest()
    by_name = {row["path"]: row for row in rows}
    assert "not a readable image" in by_name["album/damaged.jpg"]["error"]
    assert by_name["album/damaged.jpg"]["faces"] is None
    assert by_name["album/nothing.png"]["faces"] == []
    assert len(by_name["album/hopper.jpg"]["faces"]) == 1


def test_a_second_call_scores_nothing(album, run_score, capsys):
    arguments = (album, "--output", "scores", "--part-size", 6, *NONE)
    run_score(*arguments)
    written = {path: path.stat().st_mtime_ns for path in Path("scores").glob("*.parquet")}
    capsys.readouterr()
    assert run_score(*arguments) == 0
    captured = capsys.readouterr()
    assert captured.out == "0 images, 0 faces, 0 errors\n"
    assert "16 of 16 images are already done" in captured.err
    assert {path: path.stat().st_mtime_ns for path in Path("scores").glob("*.parquet")} == written


def test_a_missing_part_is_made_again(album, run_score, capsys):
    arguments = (album, "--output", "scores", "--part-size", 6, *NONE)
    run_score(*arguments)
    before = read_rows("scores")
    Path("scores/part-000001.parquet").unlink()
    capsys.readouterr()
    run_score(*arguments)
    assert capsys.readouterr().out.startswith("6 images, ")
    assert read_rows("scores") == before


@pytest.mark.slow
@pytest.mark.long
def test_killed_and_resumed_every_image_has_one_row(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    album = make_album(Path("album"), 150)
    command = [sys.executable, "-m", "ferlib", "score", "album", "--output", "scores", "--part-size", "10"]
    command += ["--workers", "2", "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(Path("scores").glob("part-*"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    workers = _children(process.pid)
    assert workers
    process.kill()
    process.wait()
    n_before = len(list(Path("scores").glob("part-*")))
    assert 4 <= n_before < 15
    assert _end_within(workers, seconds=20)

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    n_scored = int(done.stdout.split()[0])
    assert n_scored == 154 - 10 * n_before
    rows = read_rows("scores")
    assert len(rows) == len({row["path"] for row in rows}) == 154
    assert_rows_are_those_of_predict(rows, album, tmp_path)


@pytest.mark.slow
@pytest.mark.long
def test_a_killed_worker_costs_no_row(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_album(Path("album"), 150)
    command = [sys.executable, "-m", "ferlib", "score", "album", "--output", "scores", "--part-size", "10"]
    process = subprocess.Popen([*command, "--workers", "2", "--quiet"], stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while len(list(Path("scores").glob("part-*"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    workers = [pid for pid in _children(process.pid) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(workers[0], signal.SIGKILL)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert out.endswith(", 2 errors\n")
    rows = read_rows("scores")
    assert len(rows) == len({row["path"] for row in rows}) == 154


def _children(pid):
    """Return the processes that a process has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    if not children.exists():
        pytest.skip("this system has no /proc with children")
    return [int(number) for number in children.read_text().split()]


def _end_within(pids, *, seconds):
    """Return whether processes end in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        states = [Path(f"/proc/{pid}/stat") for pid in pids]
        if all(not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z" for state in states):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
def test_ctrl_c_keeps_finished_parts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_album(Path("album"), 150)
    command = [
        sys.executable,
        "-m",
        "ferlib.score",
        "album",
        "--output",
        "scores",
        "--part-size",
        "5",
        "--workers",
        "1",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(Path("scores").glob("part-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130, err
    assert "the same command goes on from here" in err
    assert err.endswith("\nstopped\n")
    assert 1 <= len(list(Path("scores").glob("part-*"))) < 31
    assert not list(Path("scores").glob(".part-*"))


def test_an_image_that_ends_its_process_is_a_row_with_an_error(album, run_score, detector_module):
    assert run_score(album, "--output", "scores", "--detector", detector_module, "--part-size", 50) == 0
    rows = {row["path"]: row for row in read_rows("scores")}
    assert len(rows) == 16
    assert rows["album/nothing.png"]["error"].endswith(
        "the process that read the file ended early; the file is damaged, or there is not enough memory."
    )
    failed = {path for path, row in rows.items() if row["error"]}
    assert failed == {"album/nothing.png", "album/damaged.jpg", "album/more/empty.png"}
    assert all(len(row["faces"]) == 1 for row in rows.values() if not row["error"])


def test_files_with_errors_are_scored_again_on_request(album, run_score, capsys):
    arguments = (album, "--output", "scores", "--part-size", 4, *NONE)
    run_score(*arguments)
    before = {row["path"]: row for row in read_rows("scores")}
    Image.new("L", (30, 20), 99).save("album/damaged.jpg")
    capsys.readouterr()

    assert run_score(*arguments, "--retry-errors") == 0

    assert capsys.readouterr().out == "2 images, 1 face, 1 error\n"
    after = read_rows("scores")
    assert [row["path"] for row in after] == list(before)
    changed = [row for row in after if row != before[row["path"]]]
    assert [(row["path"], row["width"], row["error"]) for row in changed] == [("album/damaged.jpg", 30, None)]


def test_new_files_are_added_on_request(album, run_score, capsys):
    arguments = (album, "--output", "scores", "--part-size", 6, *NONE)
    run_score(*arguments)
    before = read_rows("scores")
    Image.new("L", (30, 20), 99).save("album/a-new-one.png")
    capsys.readouterr()
    run_score(*arguments)
    assert capsys.readouterr().out == "0 images, 0 faces, 0 errors\n"

    run_score(*arguments, "--update")

    assert capsys.readouterr().out == "1 image, 1 face, 0 errors\n"
    rows = read_rows("scores")
    assert rows[:-1] == before
    assert rows[-1]["path"] == "album/a-new-one.png"


def test_a_job_of_unreadable_files_fails(tmp_path, monkeypatch, run_score):
    monkeypatch.chdir(tmp_path)
    Path("album").mkdir()
    Path("album/a.png").write_text("not an image")
    assert run_score("album", "--output", "scores", *NONE) == 1
    assert len(read_rows("scores")) == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--prior", "training"), r"another configuration \(prior: photographs instead of training\)"),
        (("--model", "fast"), r"another configuration \((model: none instead of fast|weights: \w+ instead of \w+)\)"),
        (("--videos",), r"another configuration \(\w+: .+ instead of .+\)"),
        (("more.txt",), r"another configuration \(inputs: album instead of album, more\.txt\)"),
    ],
)
def test_results_of_other_configurations_are_not_mixed(album, run_score, more, message):
    run_score(album, "--output", "scores", *NONE)
    before = {path: path.read_bytes() for path in Path("scores").rglob("*.*")}
    with pytest.raises(OptionError, match=message):
        run_score(album, "--output", "scores", *NONE, *more)
    assert {path: path.read_bytes() for path in Path("scores").rglob("*.*")} == before


def test_a_folder_with_other_parquet_files_is_refused(album, run_score):
    Path("scores").mkdir()
    pq.write_table(pa.table({"a": [1]}), "scores/sales.parquet")
    with pytest.raises(OptionError, match=r"^scores holds Parquet files of something else; name another folder\.$"):
        run_score(album, "--output", "scores")


def test_nothing_to_score_is_one_sentence(tmp_path, monkeypatch, run_score):
    monkeypatch.chdir(tmp_path)
    Path("album").mkdir()
    with pytest.raises(FerlibError, match=r"^album: no image found\.$"):
        run_score("album", "--output", "scores")
    with pytest.raises(FerlibError, match=r"^missing: there is no such file or folder\.$"):
        run_score("missing", "--output", "scores")


def test_an_output_that_cannot_be_written_is_one_sentence(album, run_score):
    Path("file").write_text("a file")
    with pytest.raises(OptionError, match=r"^file cannot be written: it is a file, not a folder\.$"):
        run_score(album, "--output", "file")
    with pytest.raises(FerlibError, match=r"^file/scores cannot be written \(Not a directory\)\.$"):
        run_score(album, "--output", "file/scores")
    if os.geteuid():
        Path("closed").mkdir(mode=0o500)
        with pytest.raises(FerlibError, match="closed cannot be written: no permission"):
            run_score(album, "--output", "closed")


def test_a_missing_package_is_named_with_its_extra(album, run_score, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyarrow" else find_spec(name))
    with pytest.raises(FerlibError, match=r'^ferlib score needs pyarrow: pip install "ferlib\[scale\]"\.$'):
        run_score(album, "--output", "scores")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--output", "scores"), "No input given"),
        (("album",), "--output is required"),
        (("album", "", "--output", "scores"), r"^INPUT: expected a path or an address, got ''\.$"),
        (("album", "--output", ""), "^--output: expected a folder or an address, got ''"),
        (
            ("album", "--output", "scores", "--address", "auto"),
            "--address is that of a Ray cluster; it needs --engine ray",
        ),
        (("album", "--output", "scores", "--every", "1"), "--every is for videos; it needs --videos"),
        (("https://example.org/a.png", "--output", "scores"), "files of the web are not read; download them first"),
        (
            ("s3://key:secret@bucket/a", "--output", "scores"),
            r"^s3://bucket/a: name the credentials in the environment",
        ),
        (("s3://a/b?region=x", "--output", "s3://c?region=y"), "two addresses of s3:// have different options"),
    ],
)
def test_wrong_usage_is_one_sentence(run_score, arguments, message):
    with pytest.raises(OptionError, match=message):
        run_score(*arguments)


def test_a_log_has_lines_with_speed_and_time_left(album, run_score, monkeypatch, capsys):
    monkeypatch.setattr("ferlib.scoring.job._LOG_SECONDS", 0.0)
    run_score(album, "--output", "scores", "--part-size", 8, *NONE)
    lines = [line for line in capsys.readouterr().err.splitlines() if " left, " in line]
    assert re.fullmatch(r"\d+ of 16 images, [\d.]+ images/s, \d+ min left, [012] errors?", lines[0])
    assert re.fullmatch(r"16 of 16 images, [\d.]+ images/s, 0 min left, 2 errors", lines[-1])
