"""`ferlib score --engine ray` on a real cluster of two nodes."""

import importlib.util
import os
import re
import socket
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from albums import assert_rows_are_those_of_predict, make_album, read_rows

import ferlib
from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import FerlibError
from ferlib.scoring.cluster import PartScorer, _connect
from ferlib.scoring.worker import Work

N_FACES = 120


@pytest.fixture
def two_nodes(monkeypatch):
    """A cluster on this machine, and the node that can be removed."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ray.cluster_utils import Cluster

        # Logical CPUs: Ray keeps one for its own tasks.
        size = {"num_cpus": 4, "object_store_memory": 100_000_000}
        # Ray gives a node 30 seconds to start, which are too few where other tests take the processors.
        for attempts_left in (2, 1, 0):
            cluster = Cluster()
            try:
                cluster.add_node(**size, include_dashboard=False)
                node = cluster.add_node(**size)
                cluster.wait_for_nodes()
                break
            except Exception as error:
                cluster.shutdown()
                if "timed out" not in str(error) or not attempts_left:
                    raise
    yield cluster, node
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cluster.shutdown()


def actors_of(node):
    """Return the actors on a node: processes with the title that Ray gives them."""
    [raylet] = node.all_processes["raylet"]
    children = Path(f"/proc/{raylet.process.pid}/task/{raylet.process.pid}/children").read_text().split()
    titles = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children if Path(f"/proc/{pid}").exists()}
    return [pid for pid, title in titles.items() if b"PartScorer" in title]


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this system has no /proc")
def test_a_lost_node_costs_no_row_and_doubles_none(two_nodes, tmp_path, monkeypatch):
    cluster, node = two_nodes
    monkeypatch.chdir(tmp_path)
    album = make_album(Path("album"), N_FACES)
    command = [sys.executable, "-m", "ferlib", "score", "album", "--output", "scores", "--part-size", "4"]
    command += ["--engine", "ray", "--address", cluster.address, "--workers", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 180
    while len(list(Path("scores").glob("part-*"))) < 6 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()
    assert actors_of(node), "the node had no work"
    cluster.remove_node(node, allow_graceful=False)
    n_before = len(list(Path("scores").glob("part-*")))
    assert n_before < 31

    out, err = process.communicate(timeout=240)

    assert process.returncode == 0, err
    assert out.endswith(", 2 errors\n")
    rows = read_rows("scores")
    assert len(rows) == len({row["path"] for row in rows}) == N_FACES + 4
    assert_rows_are_those_of_predict(rows, album, tmp_path)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_of_this_machine_goes_on_where_processes_stopped(album, run_score, tmp_path, monkeypatch, capsys):
    arguments = ["album", "--output", "scores", "--part-size", "4"]
    run_score(*arguments)
    before = read_rows("scores")
    for number in (0, 2):
        Path(f"scores/part-00000{number}.parquet").unlink()
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    capsys.readouterr()

    assert run_score(*arguments, "--engine", "ray") == 0

    captured = capsys.readouterr()
    assert captured.out.startswith("8 images, ")
    assert "8 of 16 images are already done" in captured.err
    rows = read_rows("scores")
    assert [row["path"] for row in rows] == [row["path"] for row in before]
    assert_rows_are_those_of_predict(rows, album, tmp_path)


@pytest.mark.long
def test_a_cluster_that_does_not_answer_is_one_sentence(album, run_score):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(FerlibError, match=rf"^The Ray cluster at {address} cannot be reached \([^\n]+\)[^\n]+\.$"):
        run_score(album, "--output", "scores", "--engine", "ray", "--address", address, "--detector", "none")


@pytest.mark.long
def test_a_cluster_that_starts_too_slowly_is_started_again(monkeypatch):
    import ray

    starts = []

    def init(**options):
        starts.append(options)
        if len(starts) == 1:
            raise RuntimeError("The current node timed out during startup. The GCS may be overloaded.")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 3.0})
    assert _connect(None, 2) == 3
    assert [options["num_cpus"] for options in starts] == [3, 3]


def test_ray_is_named_with_its_extra_where_it_is_missing(album, run_score, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ray" else find_spec(name))
    with pytest.raises(FerlibError, match=r'^ferlib score needs Ray: pip install "ferlib\[scale\]"\.$'):
        run_score(album, "--output", "scores", "--engine", "ray")
    assert os.listdir() == ["album"]  # noqa: PTH208


@pytest.mark.parametrize(
    ("output", "version", "problem"),
    [
        ("scores", "0.0.0", rf"^The node \S+ has ferlib {ferlib.__version__}, the job needs 0\.0\.0\.$"),
        (
            "elsewhere",
            ferlib.__version__,
            r"^elsewhere is not the same folder on the node \S+; use a shared",
        ),
    ],
)
def test_a_node_that_cannot_do_the_work_says_why(album, run_score, output, version, problem):
    run_score(album, "--output", "scores", "--detector", "none")
    Path("scores/part-000000.parquet").unlink()
    work = Work(videos=False, scorer={"detector": "none"}, class_names=EMOTIONS, origin={})
    scorer = PartScorer(output, work, retry=False, version=version)
    done = scorer({"part": np.array([0])})
    assert re.match(problem, done["problem"][0])
    assert done["files"] == [0]
    assert not Path("scores/part-000000.parquet").exists()


def test_a_part_that_another_node_has_written_is_not_scored_again(album, run_score):
    run_score(album, "--output", "scores", "--detector", "none", "--part-size", "10")
    Path("scores/part-000001.parquet").unlink()
    work = Work(videos=False, scorer={"detector": "none"}, class_names=EMOTIONS, origin={"model": "x"})
    scorer = PartScorer("scores", work, retry=False, version=ferlib.__version__)
    done = scorer({"part": np.array([0, 1])})
    assert done == {"part": [0, 1], "files": [0, 6], "errors": [0, 0], "found": [0, 6], "problem": ["", ""]}
    assert len(read_rows("scores")) == 16
