"""Every option of every command refuses wrong values, each in one sentence that names the option."""

import importlib
from pathlib import Path

import pytest

from ferlib.__main__ import COMMANDS
from ferlib.core.errors import OptionError
from ferlib.core.options import OptionParser

PARSERS = {name: importlib.import_module(module).build_parser() for name, (module, _) in COMMANDS.items()}
LIMITS = {"minimum": -1, "above": 0, "maximum": 1, "below": 0}


def wrong_values(spec) -> list[str]:
    """Return words of a wrong type, unknown words, and numbers out of range."""
    if spec.choices:
        return ["unknown-word"]
    if spec.kind is Path or spec.metadata["metavar"] == "PATH":
        return [""] if not spec.positional and not spec.is_tuple else []
    if spec.kind not in (int, float):
        return []
    limits = {name: spec.metadata[name] for name in LIMITS}
    outside = [str(spec.kind(limit + LIMITS[name])) for name, limit in limits.items() if limit is not None]
    return ["several", "nan", "inf", *(["1.5"] if spec.kind is int else []), *outside]


def options_of(parser):
    """Return each option, and each option of nested options with the one that it belongs to."""
    options = []
    for spec in parser.specs.values():
        nested = OptionParser("", (spec.kind,), description="", examples="").specs if spec.is_nested else {}
        options += [(spec, None), *((inner, spec) for inner in nested.values())]
    return options


OPTIONS = [(command, *option) for command, parser in PARSERS.items() for option in options_of(parser)]
CASES = [
    pytest.param(command, spec, outer, value, id=f"{command} {f'{outer.flag} ' if outer else ''}{spec.flag}={value}")
    for command, spec, outer in OPTIONS
    for value in wrong_values(spec)
]


@pytest.mark.parametrize(("command", "spec", "outer", "value"), CASES)
def test_wrong_values_are_refused_in_one_sentence(command, spec, outer, value):
    with pytest.raises(OptionError) as caught:
        PARSERS[command].parse([f"{spec.flag}={value}" if outer is None else f"{outer.flag}={spec.name}={value}"])
    name = spec.flag if outer is None else f"{outer.flag} {spec.name}"
    sentence = str(caught.value)
    assert sentence.startswith(f"{name}: expected ")
    assert sentence.endswith(f", got {value!r}.")
    assert "\n" not in sentence


@pytest.mark.parametrize("command", PARSERS)
def test_unknown_options_are_refused_in_one_sentence(command):
    with pytest.raises(OptionError, match=rf"^[^\n]*--no-such-option; see ferlib {command} --help\.$"):
        PARSERS[command].parse(["--no-such-option"])


@pytest.mark.parametrize("command", PARSERS)
def test_every_number_has_a_range(command):
    numbers = [spec for name, spec, _ in OPTIONS if name == command and spec.kind in (int, float)]
    assert [spec.flag for spec in numbers if all(spec.metadata[name] is None for name in LIMITS)] == []
