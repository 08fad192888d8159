"""One option of a command: how its values are written on a command line and in a file, and which are valid."""

import argparse
import contextlib
import dataclasses
import functools
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
    """An option declared by `ferlib.core.options.option`.

    Attributes
    ----------
    name : str
    field : dataclasses.Field
        The metadata are the arguments of `option`.
    kind : type
        The type of one value: the annotation without None, and the item type of a tuple.
    optional : bool
        Whether None is valid.
    is_tuple : bool
    """

    name: str
    field: dataclasses.Field[Any]
    kind: Any
    optional: bool
    is_tuple: bool

    @classmethod
    def of(cls, field: dataclasses.Field[Any], annotation: Any) -> "OptionSpec":
        """Take an annotation apart."""
        kind, optional = annotation, False
        if get_origin(annotation) in (typing.Union, types.UnionType):
            members = [member for member in get_args(annotation) if member is not type(None)]
            optional = len(members) < len(get_args(annotation))
            kind = functools.reduce(lambda a, b: a | b, members)
        is_tuple = get_origin(kind) is tuple
        return cls(field.name, field, get_args(kind)[0] if is_tuple else kind, optional, is_tuple)

    @property
    def positional(self) -> bool:
        """Whether the values are the positional arguments."""
        return bool(self.field.metadata["positional"])

    @property
    def flag(self) -> str:
        """The option as it is typed."""
        if self.positional:
            return str(self.field.metadata["metavar"] or self.name.upper())
        return self.field.metadata["flag"] or f"--{self.name.replace('_', '-')}"

    @property
    def default(self) -> Any:
        """The default; MISSING if the option is required."""
        factory = self.field.default_factory
        return self.field.default if factory is MISSING else factory()

    @property
    def choices(self) -> tuple[Any, ...]:
        """The allowed values, if they are few."""
        return get_args(self.kind) if get_origin(self.kind) is Literal else tuple(self.field.metadata["choices"] or ())

    @property
    def is_nested(self) -> bool:
        """Whether the values are those of another dataclass of options."""
        return isinstance(self.kind, type) and dataclasses.is_dataclass(self.kind)

    @property
    def is_mapping(self) -> bool:
        """Whether values are given as KEY=VALUE pairs."""
        return self.is_nested or self.kind is dict or get_origin(self.kind) is dict

    def add_to(self, group: argparse._ActionsContainer) -> None:
        """Add the option to an argparse parser or group."""
        # argparse formats help texts with the % operator.
        text = (self.field.metadata["help"] + self._default_help()).replace("%", "%%")
        if self.positional:
            group.add_argument(self.name, nargs="*", help=text, metavar=self.flag)
        elif self.kind is bool:
            action: Any = "store_true" if self.default is False else argparse.BooleanOptionalAction
            group.add_argument(self.flag, dest=self.name, action=action, help=text)
        elif self.is_mapping:
            group.add_argument(self.flag, dest=self.name, action="append", help=text, metavar=self._metavar())
            if self.optional:
                text = f"turn {self.name.replace('_', ' ')} off"
                group.add_argument(self._off, dest=self.name, action="append_const", const=None, help=text)
        else:
            # Several paths may be separate words, as a shell's wildcards give them.
            nargs = "+" if self.is_tuple and self.kind is Path else None
            group.add_argument(self.flag, dest=self.name, help=text, metavar=self._metavar(), nargs=nargs)

    @property
    def _off(self) -> str:
        """The flag that sets a mapping to None."""
        return f"--no-{self.name.replace('_', '-')}"

    def _metavar(self) -> str:
        """Return the placeholder for the value in the help text."""
        if self.field.metadata["metavar"]:
            return str(self.field.metadata["metavar"])
        if self.choices:
            return "{" + ",".join(map(str, self.choices)) + "}"
        if self.is_mapping:
            return "KEY=VALUE"
        return {int: "N", float: "X", Path: "PATH"}.get(self.kind, self.name.upper())

    def _default_help(self) -> str:
        """Return the default in parentheses, or nothing where it is obvious."""
        text, default = self.field.metadata["default_text"], self.default
        obvious = default is False or default in (None, (), MISSING)
        if text is None and not self.is_mapping and not obvious:
            text = f"{default:g}" if isinstance(default, float) else str(default)
        return f" (default: {text})" if text else ""

    def parse(self, words: Any) -> Any:
        """Return the checked value of what argparse collected: a string, a list of strings or a bool."""
        if isinstance(words, bool):
            return words
        if self.positional:
            return tuple(self._parse_word(word, word) for word in words)
        if self.is_mapping:
            if None in words and len(words) > 1:
                raise OptionError(f"{self.flag} and {self._off} cannot be combined.")
            return None if None in words else self._convert_items(_parse_pairs(self.flag, words))
        if isinstance(words, list):
            words = ",".join(words)
        if self._means_none(words.lower()):
            return None
        if self.is_tuple:
            return tuple(self._parse_word(word.strip(), words) for word in words.split(",") if word.strip())
        return self._parse_word(words, words)

    def _parse_word(self, word: str, shown: str) -> Any:
        """Return one word as a checked value; `shown` is quoted in the error."""
        value: Any = word
        if self.choices:
            value = next((choice for choice in self.choices if str(choice) == word), None)
        elif self.kind in (int, float, Path):
            with contextlib.suppress(ValueError):
                value = self.kind(word)
        if not self._is_valid(value):
            self._fail(shown, self.flag)
        return value

    def convert(self, value: Any, name: str) -> Any:
        """Return a value from a TOML file or a KEY=VALUE pair in the field's type, checked."""
        if self._means_none(value):
            return None
        if self.is_mapping:
            if not isinstance(value, dict):
                raise OptionError(f"{name}: expected a table of options, got {str(value)!r}.")
            return self._convert_items(value)
        if self.is_tuple and isinstance(value, list):
            value = tuple(Path(item) if self.kind is Path and isinstance(item, str) else item for item in value)
        elif self.kind is Path and isinstance(value, str):
            value = Path(value)
        self.check(value, name)
        return value

    def _means_none(self, value: Any) -> bool:
        """Return whether a value is the word for None."""
        return self.optional and value == NONE and NONE not in self.choices

    def check(self, value: Any, name: str) -> None:
        """Raise unless a value has the right type and is in range."""
        if value is None and self.optional:
            return
        if self.is_tuple and not isinstance(value, tuple | list):
            self._fail(value, name)
        for item in value if self.is_tuple else (value,):
            if not self._is_valid(item):
                self._fail(item, name)

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
        """Return whether one value has the right type and is in range."""
        if self.choices:
            return value in self.choices
        if self.kind in (int, float):
            is_number = isinstance(value, int | self.kind) and not isinstance(value, bool)
            return is_number and math.isfinite(value) and all(holds(value, limit) for _, holds, limit in self._limits())
        if self.kind is Path:
            return isinstance(value, str | Path)
        return self.kind is Any or isinstance(value, get_origin(self.kind) or self.kind)

    def _limits(self) -> list[tuple[str, Callable[[float, float], bool], float]]:
        """Return the limits of a number: a phrase, a comparison and a value each."""
        metadata = self.field.metadata
        return [(*limit, metadata[name]) for name, limit in _LIMITS.items() if metadata[name] is not None]

    def _fail(self, value: Any, name: str) -> NoReturn:
        """Raise with the option, what is expected and the value."""
        raise OptionError(f"{name}: expected {self._expected()}, got {str(value)!r}.")

    def _expected(self) -> str:
        """Describe the allowed values."""
        words = _TYPE_WORDS.get(self.kind, "options by name" if self.is_mapping else "text")
        if self.choices:
            words = f"one of {', '.join(map(str, self.choices))}"
        ranges = " and ".join(f"{phrase} {limit:g}" for phrase, _, limit in self._limits())
        several = "comma-separated values, each " if self.is_tuple and not self.positional else ""
        return f"{several}{words} {ranges}".strip()


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
