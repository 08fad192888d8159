"""Command lines and configuration files from dataclasses of options."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any, Literal

import pytest

from ferlib.core.errors import OptionError
from ferlib.core.options import OptionParser, ParsedOptions, check_options, option, to_config


@dataclasses.dataclass(frozen=True, kw_only=True)
class Colors:
    brightness: float = option(0.2, help="change of brightness", minimum=0, maximum=1)
    scales: tuple[float, ...] = option((1.0,), help="zoom factors", above=0)

    def __post_init__(self) -> None:
        check_options(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    epochs: int = option(10, help="passes over the data", minimum=1)
    rate: float = option(0.1, help="10 % is a common learning rate", above=0, below=1, flag="--learning-rate")
    model: Literal["cnn", "bovw"] = option("cnn", help="which model")
    patience: int | None = option(None, help="epochs without improvement", minimum=0)
    run_dir: Path | None = option(None, help="folder to write")
    members: tuple[Path, ...] = option((), help="run folders")
    colors: Colors | None = option(Colors, help="changes of color", group="augmentation")
    model_options: dict[str, Any] = option(dict, help="options of the model")
    resume: bool = option(False, help="continue")
    show: bool | None = option(None, help="open a window", default_text="for a camera")

    def __post_init__(self) -> None:
        check_options(self)
        if self.resume and self.run_dir is None:
            raise OptionError("--resume requires --run-dir.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    inputs: tuple[Path, ...] = option((), help="files", metavar="INPUT", positional=True)
    name: str = option(help="a required name")


PARSER = OptionParser("try", (Training, Inputs), description="Try it.", examples="examples: none")


def parse(*words: Any) -> ParsedOptions:
    return PARSER.parse([str(word) for word in words])


def build(*words: Any) -> Training:
    return parse(*words).build(Training)


def test_defaults_are_those_of_the_dataclass():
    assert build() == Training()
    assert parse().given == {}


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--epochs", "3"], "epochs", 3),
        (["--learning-rate", "5e-1"], "rate", 0.5),
        (["--model", "bovw"], "model", "bovw"),
        (["--patience", "4"], "patience", 4),
        (["--patience", "none"], "patience", None),
        (["--run-dir", "a/b"], "run_dir", Path("a/b")),
        (["--members", "a, b"], "members", (Path("a"), Path("b"))),
        (["--show"], "show", True),
        (["--no-show"], "show", False),
        (["--colors", "brightness=1"], "colors", Colors(brightness=1)),
        (["--colors", "brightness=0", "--colors", "scales=1,2"], "colors", Colors(brightness=0, scales=(1, 2))),
        (["--no-colors"], "colors", None),
        (
            ["--model-options", "depth=3,4", "--model-options", "kind=x", "--model-options", "f=null"],
            "model_options",
            {"depth": [3, 4], "kind": "x", "f": None},
        ),
    ],
)
def test_words_become_typed_values(words, name, value):
    assert getattr(build(*words), name) == value


def test_positional_arguments_may_surround_options():
    assert parse("a", "--name", "x", "b").build(Inputs) == Inputs(inputs=(Path("a"), Path("b")), name="x")


def test_one_command_line_fills_several_dataclasses():
    parsed = parse("--name", "x", "--epochs", 2)
    assert parsed.build(Training).epochs == 2
    assert parsed.build(Inputs).name == "x"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epochs", "0"], "--epochs: expected a whole number at least 1, got '0'."),
        (["--epochs", "1.5"], "--epochs: expected a whole number at least 1, got '1.5'."),
        (["--epochs", "none"], "--epochs: expected a whole number at least 1, got 'none'."),
        (["--learning-rate", "nan"], "--learning-rate: expected a number above 0 and below 1, got 'nan'."),
        (["--learning-rate", "1"], "--learning-rate: expected a number above 0 and below 1, got '1'."),
        (["--model", "cn"], "--model: expected one of cnn, bovw, got 'cn'."),
        (["--colors", "hue=1"], "--colors: expected one of brightness, scales, got 'hue'."),
        (["--colors", "brightness=2"], "--colors brightness: expected a number at least 0 and at most 1, got '2'."),
        (["--colors", "scales=3"], "--colors scales: expected comma-separated values, each a number above 0, got '3'."),
        (["--colors", "brightness"], "--colors: expected KEY=VALUE, got 'brightness'."),
        (["--colors", "brightness=0", "--no-colors"], "--colors and --no-colors cannot be combined."),
        (["--resume"], "--resume requires --run-dir."),
        (["--verbose", "--quiet"], "--verbose and --quiet cannot be combined."),
        (["--epoch", "3"], "Unrecognized arguments: --epoch; see ferlib try --help."),
        (["--epochs"], "--epochs: expected one argument; see ferlib try --help."),
    ],
)
def test_wrong_words_are_named_in_one_sentence(words, message):
    with pytest.raises(OptionError) as caught:
        build(*words)
    assert str(caught.value) == message


def test_a_required_option_is_asked_for():
    with pytest.raises(OptionError, match=r"^--name is required\.$"):
        parse().build(Inputs)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": True}, "epochs: expected a whole number at least 1, got 'True'."),
        ({"epochs": None}, "epochs: expected a whole number at least 1, got 'None'."),
        ({"rate": "0.1"}, "rate: expected a number above 0 and below 1, got '0.1'."),
        ({"members": "a"}, "members: expected comma-separated values, each a path, got 'a'."),
        ({"resume": 1}, "resume: expected true or false, got '1'."),
        ({"colors": {}}, "colors: expected options by name, got '{}'."),
    ],
)
def test_the_same_rules_hold_for_values_in_python(values, message):
    with pytest.raises(OptionError) as caught:
        Training(**values)
    assert str(caught.value) == message


def test_a_given_base_provides_the_other_options():
    base = Training(epochs=3, colors=Colors(brightness=0.5, scales=(2.0,)))
    assert parse("--colors", "brightness=1").build(Training, base) == dataclasses.replace(
        base, colors=Colors(brightness=1, scales=(2.0,))
    )


def test_a_file_gives_options_and_the_command_line_wins(tmp_path):
    config = tmp_path / "run.toml"
    config.write_text(
        'epochs = 5\npatience = "none"\nmembers = ["a"]\nrate = 0.2\n[model_options]\ndepth = 2\nkind = "x"\n'
        "[colors]\nscales = [1, 2]\n",
        encoding="utf-8",
    )
    options = build("--config", config, "--epochs", "6", "--model-options", "depth=3")
    assert options == Training(
        epochs=6, rate=0.2, members=(Path("a"),), colors=Colors(scales=(1, 2)), model_options={"depth": 3, "kind": "x"}
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 5", "has unknown options: epoch."),
        ("epochs = 0", "epochs: expected a whole number at least 1, got '0'."),
        ("epochs = [", "is not a TOML file ("),
        ("model_options = 3", "model_options: expected a table of options, got '3'."),
        ("[colors]\nbrightness = 3", "--colors brightness: expected a number at least 0 and at most 1, got '3'."),
    ],
)
def test_a_wrong_file_is_named_in_one_sentence(tmp_path, text, message):
    (tmp_path / "run.toml").write_text(text)
    with pytest.raises(OptionError) as caught:
        build("--config", tmp_path / "run.toml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(OptionError, match=r"missing\.toml cannot be read \(No such file"):
        build("--config", tmp_path / "missing.toml")


def test_options_survive_a_file(tmp_path):
    tomli_w = pytest.importorskip("tomli_w")
    options = Training(patience=2, run_dir=Path("x"), colors=None, members=(Path("a"),), model_options={"depth": [1]})
    text = tomli_w.dumps(to_config(options))
    assert tomllib.loads(text)["colors"] == "none"
    (tmp_path / "run.toml").write_text(text, encoding="utf-8")
    assert build("--config", tmp_path / "run.toml") == options


def test_help_shows_values_defaults_and_groups(capsys):
    with pytest.raises(SystemExit) as ended:
        parse("--help")
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for part in (
        "--epochs N ",
        "passes over the data (default: 10)",
        "10 % is a common learning rate (default: 0.1)",
        "--model {cnn,bovw}",
        "augmentation:",
        "--colors KEY=VALUE",
        "--no-colors",
        "open a window (default: for a camera)",
        "INPUT",
        "--config FILE",
        "examples: none",
    ):
        assert part in text
