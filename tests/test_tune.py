"""The command `ferlib tune`: options, results, interruption and continuation."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from ferlib.core.errors import ArtifactError, FerlibError, OptionError
from ferlib.evaluation.studies import read_tuning
from ferlib.runs.folder import Run
from ferlib.synthetic.generate import write_synthetic
from ferlib.train import main as train
from ferlib.tune import main

BAG = "--model bovw --model-option flip_invariant=false --model-option classifier=logistic --model-option n_words=10"
SPACE = "model.n_words = {choices = [5, 10]}\nmodel.C = {low = 0.5, high = 5, log = true}\n"


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    return write_synthetic(tmp_path_factory.mktemp("data") / "faces.zip", train_size=140, test_size=35)


@pytest.fixture(scope="module")
def space(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("space") / "space.toml"
    path.write_text(SPACE, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def bag(faces, space) -> list[str]:
    """The options of a study of bags of words."""
    return [*BAG.split(), "--data", str(faces), "--space", str(space)]


@pytest.fixture(scope="module")
def study_dir(bag, tmp_path_factory) -> Path:
    """A finished study with its confirmation."""
    study_dir = tmp_path_factory.mktemp("studies") / "bag"
    more = "--trials 2 --confirm 1 --confirm-seeds 2 --train-size 90 --val-fraction 0.2 --seed 3 --metric macro_f1"
    assert main([*bag, *more.split(), "--study-dir", str(study_dir)]) == 0
    return study_dir


def test_results_are_shown_and_written(study_dir, tmp_path, capsys):
    table, figures = tmp_path / "tuning.csv", tmp_path / "figures"
    # Another study stays in the table.
    pd.DataFrame({"study": ["other"], "trial": [0], "learning_rate": [0.1]}).to_csv(table, index=False)
    arguments = ["--show", "--study-dir", str(study_dir), "--output-csv", str(table), "--output-figures", str(figures)]
    with pytest.raises(FerlibError, match=r"tuning.csv cannot be read as a table of studies"):
        main(arguments)
    table.unlink()
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "2 trials: 2 complete" in shown
    assert "confirmation, mean val macro-F1 over the seeds with 95 % intervals" in shown
    written = read_tuning(table)
    assert written["stage"].tolist() == ["trial"] * 2 + ["confirmation"] * 4
    assert written.loc[written["stage"] == "confirmation", "seed"].tolist() == [3, 3, 4, 4]
    assert set(written["train_images"]) == {90, 112}
    assert {path.stem for path in figures.glob("*.png")} == {
        "tuning_history", "tuning_slices", "tuning_parallel", "tuning_confirmation",
    }  # fmt: skip
    other = written.assign(study="other")
    other.to_csv(table, index=False)
    assert main(arguments) == 0
    assert read_tuning(table)["study"].value_counts().to_dict() == {"other": 6, "bag": 6}


def test_a_trial_is_repeated_by_train(study_dir, tmp_path):
    trial = Run(study_dir / "trial-0001")
    assert train(["--config", str(trial.path / "run.toml"), "--run-dir", str(tmp_path / "again"), "--quiet"]) == 0
    again = Run(tmp_path / "again")
    assert again.metrics["val"] == trial.metrics["val"]
    assert again.config.model_options == trial.config.model_options
    assert sum(again.config.image_counts["train"].values()) == 90
    # A training measures test, a trial does not.
    assert (list(trial.metrics), list(again.metrics)) == (["val"], ["val", "test"])


@pytest.mark.parametrize(
    ("words", "warned"), [("--epochs 8", True), ("--epochs 8 --confirm-epochs 16", False), ("", False)]
)
def test_short_trials_with_a_cosine_schedule_are_warned_of(words, warned, tmp_path, caplog):
    missing = tmp_path / "missing.zip"
    with pytest.raises(FerlibError, match=r"missing\.zip"):
        main(["--model", "plain_cnn", "--data", str(missing), "--study-dir", str(tmp_path / "study"), *words.split()])
    text = "trials of 8 epochs favor learning rates that may be too high for the 50 epochs of a full training"
    assert (text in caplog.text) == warned


def test_show_needs_a_study(tmp_path):
    with pytest.raises(ArtifactError, match="There is no study in"):
        main(["--show", "--study-dir", str(tmp_path / "nothing")])
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "--model is required"),
        ("--show", "--show needs --study-dir or --model"),
        ("--model resnet", "--model: expected one of"),
        ("--model gap_cnn", "--space is required for gap_cnn; ferlib has spaces for bovw, fast_cnn, plain_cnn"),
        ("--model plain_cnn --model-option depth=0", "Invalid value 0 for plain_cnn option 'depth'"),
        ("--model plain_cnn --timeout soon", "--timeout: expected a time such as 300s, 90m or 3h, got 'soon'"),
        ("--model plain_cnn --timeout 0h", "--timeout: expected a time"),
        ("--model plain_cnn --space nothing.toml", "--space nothing.toml: there is no such file"),
        ("--model bovw --space plain_cnn", "--space plain_cnn: learning_rate has no effect on bovw"),
        ("--model ensemble --space bovw", "--space bovw: "),
    ],
)
def test_wrong_options_are_refused_before_data_are_loaded(words, message):
    with pytest.raises(OptionError, match=message):
        main([*words.split(), "--data", "missing.zip"])


def test_time_ends_a_study_that_continues(bag, tmp_path, capsys):
    arguments = [*bag, "--trials", "2", "--confirm", "0", "--study-dir", str(tmp_path / "study")]
    assert main([*arguments, "--timeout", "0.001s"]) == 0
    captured = capsys.readouterr()
    assert "to continue: ferlib tune --model bovw" in captured.err
    assert "no trial" in captured.out or "waiting" in captured.out
    assert main(arguments) == 0
    assert "2 trials: 2 complete" in capsys.readouterr().out


@pytest.mark.slow
def test_ctrl_c_leaves_a_study_that_the_printed_command_continues(bag, tmp_path):
    study_dir = tmp_path / "study"
    arguments = [*bag, "--trials", "3", "--confirm", "0", "--study-dir", str(study_dir)]
    command = [sys.executable, "-m", "ferlib.tune", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (study_dir / "trial-0001" / "config.json").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in error
    again = next(line.removeprefix("to continue: ") for line in error.splitlines() if line.startswith("to continue"))
    program, name, *words = shlex.split(again)
    assert (program, name, words) == ("ferlib", "tune", arguments)
    finished = (study_dir / "trial-0000" / "metrics.json").stat().st_mtime_ns
    assert main(words) == 0
    table = pd.read_csv(_export(study_dir, tmp_path / "t.csv"))
    assert table[["trial", "state"]].to_numpy().tolist() == [[0, "complete"], [1, "complete"], [2, "complete"]]
    assert (study_dir / "trial-0000" / "metrics.json").stat().st_mtime_ns == finished
    assert sorted(path.name for path in study_dir.glob("trial-*")) == ["trial-0000", "trial-0001", "trial-0002"]


def _export(study_dir: Path, path: Path) -> Path:
    assert main(["--show", "--study-dir", str(study_dir), "--output-csv", str(path)]) == 0
    return path


def test_passwords_are_not_printed(bag, tmp_path, capsys):
    with pytest.raises(FerlibError, match=r"user:\*\*\*@") as caught:
        main([*bag, "--study-dir", str(tmp_path / "s"), "--storage", "postgresql+psycopg://user:secret@127.0.0.1:1/x"])
    assert "secret" not in str(caught.value) + "".join(capsys.readouterr())


@pytest.mark.parametrize("package", ["optuna", "psycopg"])
def test_a_missing_extra_is_one_sentence(package, bag, tmp_path):
    code = f"import sys; sys.modules[{package!r}] = None; from ferlib.__main__ import script; script()"
    words = ["tune", *bag, "--study-dir", str(tmp_path / "study")]
    if package == "psycopg":
        words += ["--storage", "postgresql+psycopg://127.0.0.1/x"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == 1
    assert done.stderr == f'error: The package {package} is not installed: pip install "ferlib[tune]".\n'
