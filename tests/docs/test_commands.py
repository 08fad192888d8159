import importlib.util
import re
import shlex
import shutil

import pytest
from documents import DOCUMENTS, ROOT, blocks, commands, read

from ferlib.__main__ import COMMANDS
from ferlib.core.errors import OptionError

# Commands of other tools, which the documents may name.
_OTHER_TOOLS = {"git", "cd", "source", "pip", "pipx", "curl", "docker", "FERLIB_API_KEY=use-a-long-random-key"}


def _check_make(arguments: list[str]) -> None:
    makefile = read("Makefile")
    for argument in arguments:
        name, is_variable, _ = argument.partition("=")
        assert re.search(rf"^{name} :=" if is_variable else rf"^{name}:", makefile, flags=re.MULTILINE), argument


def _check_command(name: str, arguments: list[str]) -> None:
    """Parse the arguments with the command's own parser; its name alone is enough where the text just mentions it."""
    assert name in (*COMMANDS, "NAME", "--help", "--version"), name
    if name == "NAME" or not arguments or arguments == ["--help"]:
        return
    if "--config" in arguments:
        # The run folder of the example does not exist here.
        place = arguments.index("--config")
        assert arguments[place + 1].endswith("run.toml")
        arguments = arguments[:place] + arguments[place + 2 :]
    parser = importlib.import_module(COMMANDS[name][0]).build_parser()
    try:
        parser.parse(arguments)
    except OptionError as error:
        pytest.fail(f"ferlib {name} does not accept {arguments}: {error}")


def _check_module(module: str, arguments: list[str]) -> None:
    if module.startswith("ferlib."):
        _check_command(module.removeprefix("ferlib."), arguments)
    else:
        assert importlib.util.find_spec(module), module


def _check_papermill(arguments: list[str]) -> None:
    from papermill import inspect_notebook

    known = inspect_notebook(ROOT / "notebooks" / arguments[0])
    named = [arguments[i + 1] for i, argument in enumerate(arguments) if argument == "-p"]
    assert named
    assert set(named) <= set(known)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_exist_and_accept_their_options(document):
    for program, *arguments in commands(document):
        if program == "pipenv" and arguments[0] == "run":
            program, *arguments = arguments[1:]
        if program == "make":
            _check_make(arguments)
        elif program == "ferlib":
            _check_command(arguments[0], arguments[1:])
        elif program == "python" and arguments[0] == "-m":
            _check_module(arguments[1], arguments[2:])
        elif program == "python":
            assert (ROOT / arguments[0]).is_file(), arguments[0]
        elif program == "pipenv":
            assert arguments[0] == "sync", arguments
        elif program == "papermill":
            _check_papermill(arguments)
        else:
            assert program in _OTHER_TOOLS | {"jupyter"}, program


def test_readme_starts_with_installing_and_predicting():
    listed = commands("README.md")
    expected = ["pip", "install", "."], ["ferlib", "predict"], ["make", "demo"], ["make", "test"]
    places = [next(i for i, command in enumerate(listed) if command[: len(start)] == start) for start in expected]
    assert places == sorted(places)
    photo = listed[places[1]][2]
    assert (ROOT / photo).is_file()


def test_readme_shows_what_predict_prints(monkeypatch, capsys):
    from ferlib.predict import main

    [session] = blocks("README.md", "console")
    command, line = session.splitlines()
    monkeypatch.chdir(ROOT)

    assert main(shlex.split(command)[3:]) == 0

    form = r"(.+): face (\d+), box \[(\d+), (\d+), (\d+), (\d+)\], (\w+), probability ([\d.]+)"
    shown, printed = (re.fullmatch(form, text.strip()).groups() for text in (line, capsys.readouterr().out))
    assert (printed[0], printed[1], printed[6]) == (shown[0], shown[1], shown[6])
    # Another processor may round differently.
    assert list(map(int, printed[2:6])) == pytest.approx(list(map(int, shown[2:6])), abs=2)
    assert float(printed[7]) == pytest.approx(float(shown[7]), abs=0.02)


@pytest.mark.parametrize("document", ["README.md", "docs/prediction.md"])
def test_prediction_examples_run(document, tmp_path, monkeypatch, capsys):
    shutil.copy(ROOT / "docs" / "images" / "grace_hopper.jpg", tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    [block] = blocks(document, "python")

    exec(block, {})

    found = re.match(r"\(178, 110, 173, 220\) neutral (0\.\d\d)", capsys.readouterr().out)
    shown = re.search(r"neutral, probability (0\.\d+)", read("README.md"))
    assert float(found[1]) == pytest.approx(float(shown[1]), abs=0.01)


@pytest.mark.slow
def test_training_example_runs(tmp_path, monkeypatch, capsys):
    from ferlib.synthetic.generate import write_synthetic

    write_synthetic(tmp_path / "data" / "raw" / "synthetic.zip", train_size=140, test_size=35)
    monkeypatch.chdir(tmp_path)
    [block] = blocks("docs/training.md", "python")

    exec(block.replace("epochs=3", "epochs=1"), {})

    assert re.search(r"accuracy [\d.]+%, macro-F1 [\d.]+%", capsys.readouterr().out)


def test_example_of_a_new_model_can_be_registered(monkeypatch):
    from ferlib.models import get_model, registry

    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))
    [block] = blocks("CONTRIBUTING.md", "python")
    exec(block, {})
    assert get_model("my_cnn").summary == "One sentence that describes the network."
