"""One option of a command: how its values are written on a command line and in a file, and which are valid."""

import argparse
import contextlib
import dataclasses
import json
import math
import operator
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args, get_origin

from ferlib.core.errors import OptionError

#: How None is written on a command line and in a TOML file.
NONE = "none"

#: The default of an option without one.
MISSING = dataclasses.MISSING

_TYPE_WORDS = {int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}
_LIMITS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "minimum": ("at least", operator.ge),
    "above": ("above", operator.gt),
    "maximum": ("at most", operator.le),
    "below": ("below", operator.lt),
}


@dataclasses.dataclass(frozen=True)
class OptionSpec:
    """An option declared by `ferlib.core.options.option`."""

    name: str
    metadata: types.MappingProxyType[Any, Any]  # the arguments of `option`
    default: Any  # MISSING if the option is required
    kind: Any  # the type of one value: the annotation without None, and the item type of a tuple
    optional: bool  # whether None is valid
    is_tuple: bool

    @classmethod
    def of(cls, field: dataclasses.Field[Any], annotation: Any) -> "OptionSpec":
        """Take an annotation apart."""
        default = field.default if field.default_factory is MISSING else field.default_factory()
        optional = get_origin(annotation) in (typing.Union, types.UnionType)
        kind = get_args(annotation)[0] if optional else annotation
        is_tuple = get_origin(kind) is tuple
        return cls(field.name, field.metadata, default, get_args(kind)[0] if is_tuple else kind, optional, is_tuple)

    @property
    def positional(self) -> bool:
        """Whether the values are the positional arguments."""
        return bool(self.metadata["positional"])

    @property
    def flag(self) -> str:
        """The option as it is typed."""
        return str(self.metadata["metavar"] if self.positional else self.metadata["flag"] or f"--{self._words('-')}")

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed values, if they are few."""
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()

    @property
    def is_nested(self) -> bool:
        """Whether the values are those of another dataclass of options."""
        return dataclasses.is_dataclass(self.kind)

    @property
    def is_mapping(self) -> bool:
        """Whether values are given as KEY=VALUE pairs."""
        return self.is_nested or get_origin(self.kind) is dict

    @property
    def _names_a_path(self) -> bool:
        """Whether the values are paths, also as text."""
        return self.kind is Path or self.metadata["metavar"] == "PATH"

    def _words(self, separator: str) -> str:
        return self.name.replace("_", separator)

    def add_to(self, group: argparse._ActionsContainer) -> None:
        """Add the option to an argparse parser or group."""
        # argparse formats help texts with the % operator.
        text = (self.metadata["help"] + self._default_help()).replace("%", "%%")
        if self.positional:
            group.add_argument(self.name, nargs="*", help=text, metavar=self.flag)
        elif self.kind is bool:
            action: Any = "store_true" if self.default is False else argparse.BooleanOptionalAction
            group.add_argument(self.flag, dest=self.name, action=action, help=text)
        elif self.is_mapping:
            group.add_argument(self.flag, dest=self.name, action="append", help=text, metavar="KEY=VALUE")
            if self.optional:
                off = f"turn {self._words(' ')} off"
                group.add_argument(
                    f"--no-{self._words('-')}", dest=self.name, action="append_const", const=None, help=off
                )
        else:
            # Several paths may be separate words, as a shell's wildcards give them.
            nargs = "+" if self.is_tuple and self.kind is Path else None
            group.add_argument(self.flag, dest=self.name, help=text, metavar=self._metavar(), nargs=nargs)

    def _metavar(self) -> str:
        """Return the placeholder for the value in the help text."""
        if self.choices:
            return "{" + ",".join(self.choices) + "}"
        return self.metadata["metavar"] or {int: "N", float: "X", Path: "PATH"}.get(self.kind, self.name.upper())

    def _default_help(self) -> str:
        """Return the default in parentheses, or nothing where it is obvious."""
        text, default = self.metadata["default_text"], self.default
        if text is None and not self.is_mapping and default is not False and default not in (None, (), MISSING):
            text = f"{default:g}" if isinstance(default, float) else str(default)
        return f" (default: {text})" if text else ""

    def parse(self, words: Any) -> Any:
        """Return the checked value of what argparse collected: a string, a list of strings or a bool."""
        if isinstance(words, bool):
            return words
        if self.is_mapping:
            if None not in words:
                return self._convert_items(_parse_pairs(self.flag, words))
            if len(words) > 1:
                raise OptionError(f"{self.flag} and --no-{self._words('-')} cannot be combined.")
            return None
        if self.positional:
            self.check(words, self.flag)
            return tuple(map(self.kind, words))
        text = ",".join(words) if isinstance(words, list) else words
        if self._means_none(text.lower()):
            return None
        parts = [part.strip() for part in text.split(",") if part.strip()] if self.is_tuple else [text]
        values = tuple(map(self._parse_word, parts))
        value = values if self.is_tuple else values[0]
        self.check(value, self.flag, shown=text)
        return value

    def _parse_word(self, word: str) -> Any:
        """Return one word in the type of the option; a word that cannot be converted is returned as it is."""
        # An empty path, as an unset variable of a shell gives, would be the current folder.
        if word and self.kind in (int, float, Path):
            with contextlib.suppress(ValueError):
                return self.kind(word)
        return word

    def convert(self, value: Any, name: str) -> Any:
        """Return a value from a TOML file or a KEY=VALUE pair in the field's type, checked."""
        if self._means_none(value):
            return None
        if self.is_mapping:
            if not isinstance(value, dict):
                raise OptionError(f"{name}: expected a table of options, got {str(value)!r}.")
            return self._convert_items(value)
        if self.is_tuple and isinstance(value, list):
            value = tuple(
                Path(item) if self.kind is Path and item and isinstance(item, str) else item for item in value
            )
        elif self.kind is Path and value and isinstance(value, str):
            value = Path(value)
        self.check(value, name)
        return value

    def _means_none(self, value: Any) -> bool:
        return self.optional and value == NONE and NONE not in self.choices

    def check(self, value: Any, name: str, shown: str | None = None) -> None:
        """Raise unless a value has the right type and is in range; `shown` is quoted instead of a wrong value."""
        if value is None and self.optional:
            return
        if self.is_tuple and not isinstance(value, tuple | list):
            self._fail(value, name)
        for item in value if self.is_tuple else (value,):
            if not self._is_valid(item):
                self._fail(item if shown is None else shown, name)

    def _convert_items(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return KEY=VALUE pairs checked against the nested dataclass of options, if there is one."""
        if not self.is_nested:
            return values
        known = option_specs(self.kind)
        unknown = [name for name in values if name not in known]
        if unknown:
            raise OptionError(f"{self.flag}: expected one of {', '.join(known)}, got '{unknown[0]}'.")
        return {name: known[name].convert(value, f"{self.flag} {name}") for name, value in values.items()}

    def _is_valid(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        if self.kind in (int, float):
            is_number = isinstance(value, int | self.kind) and not isinstance(value, bool)
            return is_number and math.isfinite(value) and all(holds(value, limit) for _, holds, limit in self._limits())
        if self.kind is Path:
            return isinstance(value, str | Path) and bool(str(value))
        return isinstance(value, get_origin(self.kind) or self.kind) and (value != "" or not self._names_a_path)

    def _limits(self) -> list[tuple[str, Callable[[float, float], bool], float]]:
        """Return the limits of a number: a phrase, a comparison and a value each."""
        return [(*limit, self.metadata[name]) for name, limit in _LIMITS.items() if self.metadata[name] is not None]

    def _fail(self, value: Any, name: str) -> NoReturn:
        words = _TYPE_WORDS.get(
            Path if self._names_a_path else self.kind, "options by name" if self.is_mapping else "text"
        )
        if self.choices:
            words = f"one of {', '.join(self.choices)}"
        ranges = " and ".join(f"{phrase} {limit:g}" for phrase, _, limit in self._limits())
        several = "comma-separated values, each " if self.is_tuple and not self.positional else ""
        raise OptionError(f"{name}: expected {f'{several}{words} {ranges}'.strip()}, got {str(value)!r}.")


def option_specs(cls: type) -> dict[str, OptionSpec]:
    """Return the options of a dataclass by name, in the order of its fields."""
    hints = typing.get_type_hints(cls)
    fields: Sequence[dataclasses.Field[Any]] = dataclasses.fields(cls)
    return {field.name: OptionSpec.of(field, hints[field.name]) for field in fields if "help" in field.metadata}


def _parse_pairs(flag: str, pairs: Sequence[str]) -> dict[str, Any]:
    """Return KEY=VALUE pairs as a dictionary; a value is JSON, a list of it without brackets, or a plain string."""
    parsed: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise OptionError(f"{flag}: expected KEY=VALUE, got {pair!r}.")
        parsed[key] = value
        for text in (value, f"[{value}]" if "," in value else value):
            with contextlib.suppress(ValueError):
                parsed[key] = json.loads(text)
                break
    return parsed
