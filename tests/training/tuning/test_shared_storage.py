"""Processes on one database share a study, and one of them is killed."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from ferlib.evaluation.studies import read_tuning
from ferlib.runs.folder import Run
from ferlib.synthetic.generate import write_synthetic
from ferlib.training.tuning import storage
from ferlib.training.tuning.queue import TrialQueue, Worker

SPACE = "model.n_words = {choices = [5, 10, 20]}\nmodel.C = {low = 0.5, high = 5, log = true}\n"
TRIALS = 4


def start(folder: Path, url: str, *more: str) -> subprocess.Popen:
    """Start a worker, on a study folder that another one may have too."""
    words = "--model bovw --model-option flip_invariant=false --model-option classifier=logistic --sample-size 140"
    words += f" --model-option n_words=10 --trials {TRIALS} --confirm 0"
    command = [sys.executable, "-m", "ferlib.tune", *words.split(), "--space", str(folder / "space.toml")]
    command += ["--data", str(folder / "faces.zip"), "--storage", url, *more]
    # One thread each, so that the workers do not wait for each other.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def wait_for(condition, what: str) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["journal", "postgresql"])
def test_a_killed_worker_loses_no_trial(kind, request, tmp_path):
    write_synthetic(tmp_path / "faces.zip", train_size=350, test_size=70)
    (tmp_path / "space.toml").write_text(SPACE, encoding="utf-8")
    folder = tmp_path / "shared"
    url = request.getfixturevalue("postgresql") if kind == "postgresql" else ""
    options = ("--study-dir", str(folder))
    first = start(tmp_path, url, *options) if url else start(tmp_path, "none", *options)

    def trials() -> list:
        if not url and not (folder / storage.JOURNAL).exists():
            return []
        with storage.quiet_optuna():
            try:
                backend = storage.open_storage(url or None, folder)
                return optuna.load_study(study_name="shared", storage=backend).get_trials()
            except KeyError:
                return []

    # Its second trial has begun.
    wait_for(lambda: len(trials()) > 1 and trials()[1].user_attrs.get("folder"), "the first worker trains nothing")
    second = start(tmp_path, url or "none", *options)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    interrupted = [trial.number for trial in trials() if trial.state == TrialState.RUNNING]
    output, _ = second.communicate(timeout=200)
    assert second.returncode == 0, output

    finished = trials()
    assert [trial.number for trial in finished] == list(range(TRIALS))
    assert {trial.state for trial in finished} == {TrialState.COMPLETE}
    for number in interrupted:
        assert f"trial {number} was interrupted and is continued" in output
    # Every trial has one folder of its own, with a finished run.
    folders = Counter(trial.user_attrs["folder"] for trial in finished)
    assert folders == {f"trial-{number:04d}": 1 for number in range(TRIALS)}
    assert {Run(folder / name).config.status for name in folders} == {"finished"}
    assert finished[0].user_attrs["key"] == "defaults"


@pytest.mark.slow
def test_workers_in_different_folders_share_a_database(postgresql, tmp_path):
    write_synthetic(tmp_path / "faces.zip", train_size=350, test_size=70)
    (tmp_path / "space.toml").write_text(SPACE, encoding="utf-8")
    # As on two machines: the same study, without a common folder.
    folders = [tmp_path / name / "two_machines" for name in ("a", "b")]
    workers = [start(tmp_path, postgresql, "--study-dir", str(folder)) for folder in folders]
    outputs = [worker.communicate(timeout=200)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    made = [path.parent.name for folder in folders for path in folder.glob("trial-*/metrics.json")]
    # Both may have enqueued the defaults, which only one trains.
    assert len(made) == len(set(made)) == TRIALS
    done = subprocess.run(
        [sys.executable, "-m", "ferlib.tune", "--show", "--study-dir", str(folders[1]), "--storage", postgresql,
         "--output-csv", str(tmp_path / "trials.csv")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"{TRIALS} trials: {TRIALS} complete" in done.stdout
    assert [f"trial-{number:04d}" for number in read_tuning(tmp_path / "trials.csv")["trial"]] == sorted(made)


def test_a_trial_of_a_lost_machine_is_enqueued_again(postgresql, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "STALE_SECONDS", 2)
    monkeypatch.setattr(storage, "HEARTBEAT_SECONDS", 1)

    workers = contextlib.ExitStack()

    def join(name: str) -> TrialQueue:
        backend = storage.open_storage(postgresql, tmp_path)
        with storage.quiet_optuna():
            study = optuna.create_study(storage=backend, study_name="lost", direction="maximize", load_if_exists=True)
        return TrialQueue(study, workers.enter_context(Worker(tmp_path / name)), backend)

    with workers:
        _lose_a_trial(join("lost"), join("here"))


def _lose_a_trial(lost: TrialQueue, here: TrialQueue) -> None:
    trial = lost.claim(2, may_create=True)
    rate = trial.suggest_float("learning_rate", 0, 1)
    trial.set_user_attr("folder", "trial-0000")
    # It has shown a sign of life just now.
    assert here.claim(1, may_create=True) is None
    time.sleep(3.5)
    again = here.claim(1, may_create=True)
    assert (again.number, again.user_attrs["folder"]) == (1, "trial-0000")
    assert again.suggest_float("learning_rate", 0, 1) == rate
    here.study.tell(again, 0.5)
    assert [each.number for each in here.trials()] == [1]
