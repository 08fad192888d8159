"""Every option of every command refuses wrong values before any data are loaded."""

import importlib
from collections.abc import Iterator

import pytest

from ferlib.__main__ import COMMANDS
from ferlib.core.errors import OptionError
from ferlib.core.options import OptionParser, _Spec, _specs


def _wrong_words(spec: _Spec) -> Iterator[str]:
    """Yield a word of a wrong type, an unknown word, and numbers out of range for an option."""
    if spec.choices:
        yield "no-such-choice"
    elif spec.kind in (int, float):
        yield from ("word", "nan", "inf")
        step = 1 if spec.kind is int else 0.001
        limits = spec.field.metadata
        if limits["minimum"] is not None:
            yield str(limits["minimum"] - step)
        if limits["maximum"] is not None:
            yield str(limits["maximum"] + step)
        yield from (str(limits[name]) for name in ("above", "below") if limits[name] is not None)
        if spec.kind is int:
            yield "1.5"


def _wrong_arguments() -> Iterator[tuple[str, str, str]]:
    """Yield the command, the option and a wrong value, for all of them."""
    for command, (module, _) in COMMANDS.items():
        parser = importlib.import_module(module).build_parser()
        if not isinstance(parser, OptionParser):
            continue
        for spec in parser.specs.values():
            if spec.kind is bool:
                yield command, spec.flag, "word"
            elif spec.is_nested:
                for inner in _specs(spec.kind).values():
                    yield from ((command, spec.flag, f"{inner.name}={word}") for word in _wrong_words(inner))
            if spec.is_mapping:
                yield command, spec.flag, "no-equals-sign"
            elif not spec.positional:
                yield from ((command, spec.flag, word) for word in _wrong_words(spec))


@pytest.mark.parametrize(("command", "flag", "value"), list(_wrong_arguments()))
def test_wrong_value_is_named_with_its_option(command, flag, value):
    main = importlib.import_module(COMMANDS[command][0]).main
    with pytest.raises(OptionError) as caught:
        main([f"{flag}={value}"])
    message = str(caught.value)
    assert flag in message
    assert repr(value.rpartition("=")[2]) in message
    assert message.endswith(".")
    assert "\n" not in message
