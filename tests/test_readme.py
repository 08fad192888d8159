"""What the documents promise: commands that exist, links that lead somewhere, examples that run, true numbers."""

import argparse
import importlib.util
import json
import re
import shlex
import shutil
from pathlib import Path

import matplotlib
import pandas as pd
import pytest

import ferlib
from ferlib.runs.folder import pretrained_run_dir
from ferlib.synthetic.generate import write_synthetic

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md", "reports/README.md")
HOPPER = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"

# Commands of other people's tools, which these documents may name.
_FOREIGN = {"git", "cd", "source", "pip", "papermill"}


def _read(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def _blocks(document: str, *languages: str) -> list[str]:
    """Return the fenced blocks of a document that are in one of some languages."""
    fenced = re.findall(r"^```(\w+)\n(.*?)^```$", _read(document), flags=re.MULTILINE | re.DOTALL)
    return [text for language, text in fenced if language in languages]


def _commands(document: str) -> list[list[str]]:
    """Return the commands in a document's blocks, and those of ferlib, make and pytest that stand in a sentence."""
    lines = [line for block in _blocks(document, "sh") for line in block.splitlines()]
    lines += [
        line.removeprefix("$ ")
        for block in _blocks(document, "console")
        for line in block.splitlines()
        if line.startswith("$ ")
    ]
    prose = re.sub(r"^```.*?^```$", "", _read(document), flags=re.MULTILINE | re.DOTALL)
    lines += re.findall(r"`((?:make|python -m) [^`]+)`", prose)
    # The repository's address is not known here.
    parts = [part for line in lines if "<" not in line for part in line.split("&&")]
    commands = [shlex.split(part, comments=True) for part in parts]
    return [command for command in commands if command]


def _check_make(arguments: list[str]) -> None:
    makefile = _read("Makefile")
    for argument in arguments:
        name, is_variable, _ = argument.partition("=")
        assert re.search(rf"^{name} :=" if is_variable else rf"^{name}:", makefile, flags=re.MULTILINE), argument


def _check_module(module: str, arguments: list[str]) -> None:
    if not module.startswith("ferlib."):
        assert importlib.util.find_spec(module), module
        return
    parser = importlib.import_module(module).build_parser()
    parser.exit_on_error = False
    # Where only the command's name is meant, there is nothing to parse.
    if arguments:
        try:
            parser.parse_intermixed_args(arguments)
        except (argparse.ArgumentError, SystemExit) as error:
            pytest.fail(f"{module} does not take {arguments} ({error})")


def _check_papermill(arguments: list[str]) -> None:
    from papermill import inspect_notebook

    known = inspect_notebook(ROOT / "notebooks" / arguments[0])
    named = [arguments[i + 1] for i, argument in enumerate(arguments) if argument == "-p"]
    assert named
    assert set(named) <= set(known)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_exist_and_take_their_options(document):
    for program, *arguments in _commands(document):
        if program == "make":
            _check_make(arguments)
        elif program == "python" and arguments[0] != "-m":
            assert (ROOT / arguments[0]).is_file(), arguments[0]
        elif program == "python":
            _check_module(arguments[1], arguments[2:])
        elif program == "pipenv" and arguments[0] == "run":
            assert arguments[1:3] == ["python", "-m"] or arguments[1] == "jupyter"
            if arguments[1] == "python":
                _check_module(arguments[3], arguments[4:])
        elif program == "pipenv":
            assert arguments[:2] == ["sync", "--categories"]
            assert f"[{arguments[2]}]" in _read("Pipfile")
        elif program == "papermill":
            _check_papermill(arguments)
        else:
            assert program in _FOREIGN, program


def test_readme_names_what_the_first_screen_promises():
    commands = _commands("README.md")
    assert ["make", "demo"] in commands
    assert ["make", "test"] in commands
    doors = {arguments[2] for arguments in commands if arguments[:2] == ["python", "-m"]}
    assert doors >= {f"ferlib.{door}" for door in ("download", "train", "evaluate", "predict")}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files(document):
    folder = (ROOT / document).parent
    targets = re.findall(r"(?:\]\(|src=\")([^)\s\"]+)", _read(document))
    missing = [target for target in targets if "://" not in target and not (folder / target).exists()]
    assert missing == []


def test_readme_lists_every_notebook():
    linked = set(re.findall(r"\]\(notebooks/([^)]+)\)", _read("README.md")))
    assert linked == {path.name for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")}


def test_readme_lists_every_model():
    from ferlib.models import list_models

    section = _read("README.md").split("## Models and run folders")[1].split("\n## ")[0]
    assert tuple(sorted(re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE))) == list_models()


def test_results_table_says_what_the_delivered_run_recorded():
    sentence = _read("README.md").split("The delivered model is `compact_cnn`:")[1].split("\n\n")[0]
    measured = json.loads((pretrained_run_dir() / "metrics.json").read_text(encoding="utf-8"))["test"]
    for name, words in (("accuracy", "accuracy"), ("macro_f1", "macro-F1")):
        assert f"{words} {measured[name]:.2%}" in sentence
        low, high = measured["intervals"][name]
        assert f"{low:.1%} to {high:.1%}" in sentence
    assert f"n = {measured['n']:,}" in sentence
    assert f"expected calibration error {measured['ece']:.3f}" in sentence


def test_the_reports_are_of_the_models_that_the_readme_tells_of():
    from ferlib.training import read_experiments

    results = pd.read_csv(ROOT / "reports" / "results.csv", index_col="model")
    delivered = json.loads((pretrained_run_dir() / "metrics.json").read_text(encoding="utf-8"))["test"]
    row = results.loc[f"{pretrained_run_dir().name} (delivered)"]
    for name in ("accuracy", "macro_f1", "log_loss", "ece"):
        assert row[name] == pytest.approx(delivered[name], abs=1e-5)
    assert (ROOT / "reports" / "model_card.md").read_bytes() == (pretrained_run_dir() / "model_card.md").read_bytes()
    recorded = read_experiments()
    for run in results.index.intersection(recorded.index):
        assert results.loc[run, "accuracy"] == pytest.approx(recorded.loc[run, "test accuracy"], abs=1e-5)
    assert {"bovw", "gap_cnn"} <= set(results.index.intersection(recorded.index))


def test_results_table_is_made_from_the_experiments():
    from ferlib.runs.__main__ import BEGIN, END, tabulate_best
    from ferlib.training import read_experiments

    table = _read("README.md").split(BEGIN)[1].split(END)[0].strip()
    assert table == tabulate_best(read_experiments())
    assert "| compact_cnn |" in table


def test_changelog_tells_of_this_version():
    assert f"## [{ferlib.__version__}]" in _read("CHANGELOG.md")


@pytest.mark.slow
def test_output_that_readme_shows_is_what_predict_prints(tmp_path, monkeypatch, capsys):
    from ferlib.predict import main

    command, line = next(block for block in _blocks("README.md", "console") if "predict" in block).splitlines()
    monkeypatch.chdir(tmp_path)
    shutil.copy(HOPPER, tmp_path)

    assert main(shlex.split(command)[4:]) == 0

    form = r"(.+): face (\d+), box \[(\d+), (\d+), (\d+), (\d+)\], (\w+), probability ([\d.]+)"
    shown, printed = (re.fullmatch(form, text.strip()).groups() for text in (line, capsys.readouterr().out))
    file, number, *box, emotion, probability = shown
    assert (printed[0], printed[1], printed[6]) == (file, number, emotion)
    # Another processor may round differently.
    assert list(map(int, printed[2:6])) == pytest.approx(list(map(int, box)), abs=2)
    assert float(printed[7]) == pytest.approx(float(probability), abs=0.02)


@pytest.mark.slow
def test_python_examples_run(tmp_path, monkeypatch, capsys):
    write_synthetic(tmp_path / "data" / "raw" / "synthetic.zip", train_size=140, test_size=35)
    shutil.copy(HOPPER, tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)

    for block in _blocks("README.md", "python"):
        exec(block, {})

    printed = capsys.readouterr().out
    assert re.search(r"accuracy [\d.]+%, macro-F1 [\d.]+%", printed)
    assert re.search(r"\(\d+, \d+, \d+, \d+\) \w+ [01]\.\d\d", printed)


@pytest.mark.parametrize("block", _blocks("CONTRIBUTING.md", "python"))
def test_builder_of_the_contributing_guide_can_be_registered(block, monkeypatch):
    from ferlib.models import get_model, registry

    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))
    exec(block, {})
    assert get_model("my_cnn").defaults == {"dropout": 0.3}
    assert get_model("my_cnn").summary == "Say in one line what it is."
