"""Options declared once: dataclasses from which command lines and configuration files are derived.

A command's options are the fields of frozen dataclasses, each declared with `option`. The annotation gives the type
(``int``, ``float``, ``str``, ``bool``, ``Path``, ``Literal``, ``T | None``, ``tuple[T, ...]``, ``dict[str, Any]`` or
another dataclass of options), the metadata the help text and the allowed range. `OptionParser` turns them into an
argparse parser and `check_options` applies the same rules to values given in Python.

argparse is used rather than a library that derives command lines from dataclasses, because ``import tyro`` alone takes
0.36 s and six packages, and ``ferlib predict`` has to start in half a second with few dependencies.
"""

import argparse
import contextlib
import dataclasses
import functools
import json
import math
import operator
import sys
import tomllib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, get_args, get_origin

from ferlib.core.errors import OptionError

T = TypeVar("T")

# How None is written on a command line and in a TOML file.
_NONE = "none"

_MISSING = dataclasses.MISSING

_TYPE_WORDS = {int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}
_LIMITS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "minimum": ("at least", operator.ge),
    "above": ("above", operator.gt),
    "maximum": ("at most", operator.le),
    "below": ("below", operator.lt),
}


def option(
    default: Any = _MISSING,
    *,
    help: str,
    metavar: str | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    flag: str | None = None,
    positional: bool = False,
    group: str = "options",
    default_text: str | None = None,
    choices: Sequence[str] | None = None,
    default_factory: Any = _MISSING,
) -> Any:
    """Declare an option as the field of a dataclass.

    Parameters
    ----------
    default : object, optional
        The value when the option is not given; an option without a default is required.
    help : str
        The help text, without the default.
    metavar : str, optional
        The placeholder for the value in the help text.
    minimum, maximum : float, optional
        Smallest and largest allowed number, inclusive.
    above, below : float, optional
        The same, exclusive.
    flag : str, optional
        The command-line name; by default ``--`` and the field's name with hyphens.
    positional : bool
        Take the values from the positional arguments.
    group : str
        The heading in the help text under which the option is listed.
    default_text : str, optional
        Describes the default in the help text instead of the value itself.
    choices : sequence of str, optional
        The allowed values where they are not known to a ``Literal``, such as the names in a registry.
    default_factory : callable, optional
        As in `dataclasses.field`.

    Examples
    --------
    >>> @dataclasses.dataclass(frozen=True, kw_only=True)
    ... class CropOptions:
    ...     crop_margin: float = option(0.1, help="added on each side, as a fraction", minimum=0, maximum=2)
    >>> parser = OptionParser("crop", [CropOptions], description="", examples="")
    >>> parser.parse(["--crop-margin", "1"]).build(CropOptions)
    CropOptions(crop_margin=1.0)
    """
    metadata: dict[str, Any] = {
        "help": help,
        "metavar": metavar,
        "flag": flag,
        "positional": positional,
        "group": group,
        "choices": choices,
    }
    metadata |= {"minimum": minimum, "maximum": maximum, "above": above, "below": below, "default_text": default_text}
    return dataclasses.field(default=default, default_factory=default_factory, metadata=metadata)


def check_options(options: Any) -> None:
    """Check the type and range of every field declared with `option`; to be called in ``__post_init__``.

    Raises
    ------
    OptionError
        A value has the wrong type, is not one of the choices, or is out of range.
    """
    for spec in _specs(type(options)).values():
        spec.check(getattr(options, spec.name), spec.name)


def to_config(options: Any) -> dict[str, Any]:
    """Return the values of a dataclass of options as ``--config`` reads them from a TOML file.

    Parameters
    ----------
    options : dataclass instance

    Returns
    -------
    dict
        Field names to strings, numbers, booleans, lists and tables; None is written as ``"none"``.
    """
    return {name: _to_toml(getattr(options, name)) for name in _specs(type(options))}


class OptionParser:
    """A command line derived from dataclasses of options.

    Every command also has ``--config FILE``, a TOML file with options by field name, ``--verbose`` and ``--quiet``.

    Parameters
    ----------
    command : str
        The command's name, as in ``ferlib NAME``.
    classes : sequence of type
        Frozen dataclasses; their field names are distinct.
    description : str
    examples : str
        Shown after the options.
    """

    def __init__(self, command: str, classes: Sequence[type], *, description: str, examples: str) -> None:
        self.specs = {name: spec for cls in classes for name, spec in _specs(cls).items()}
        self.parser = _Parser(
            prog=f"ferlib {command}",
            description=description,
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            argument_default=argparse.SUPPRESS,
            allow_abbrev=False,
        )
        groups: dict[str, argparse._ActionsContainer] = {"options": self.parser}
        for spec in self.specs.values():
            group = spec.field.metadata["group"]
            if group not in groups:
                groups[group] = self.parser.add_argument_group(group)
            spec.add_to(groups[group])
        general = self.parser.add_argument_group("general")
        general.add_argument("--config", metavar="FILE", help="TOML file with options, such as a run folder's run.toml")
        general.add_argument("--verbose", action="store_true", help="also show debugging messages")
        general.add_argument("--quiet", action="store_true", help="show only warnings and errors, and no progress")

    def parse(self, argv: Sequence[str] | None = None) -> "ParsedOptions":
        """Parse a command line.

        Parameters
        ----------
        argv : sequence of str, optional
            The arguments; those of the process when None.

        Raises
        ------
        OptionError
            A value is wrong; the message names the option, the value and what is expected.
        """
        # Positional arguments may stand before and after options.
        arguments = vars(self.parser.parse_intermixed_args(sys.argv[1:] if argv is None else list(argv)))
        config = arguments.pop("config", None)
        verbose, quiet = arguments.pop("verbose", False), arguments.pop("quiet", False)
        if verbose and quiet:
            raise OptionError("--verbose and --quiet cannot be combined.")
        given = {} if config is None else self._read_config(Path(config))
        for name, words in arguments.items():
            spec = self.specs[name]
            if spec.positional and not words:
                continue
            value, earlier = spec.parse(words), given.get(name)
            given[name] = {**earlier, **value} if isinstance(earlier, dict) and isinstance(value, dict) else value
        return ParsedOptions(given, verbose=verbose, quiet=quiet)

    def _read_config(self, path: Path) -> dict[str, Any]:
        """Return the options in a TOML file, by field name."""
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise OptionError(f"--config {path} cannot be read ({error.strerror}).") from None
        except ValueError as error:
            raise OptionError(f"--config {path} is not a TOML file ({error}).") from None
        unknown = sorted(set(table) - set(self.specs))
        if unknown:
            raise OptionError(f"--config {path} has unknown options: {', '.join(unknown)}.")
        return {name: self.specs[name].convert(value, f"--config {path}: {name}") for name, value in table.items()}

    def error(self, message: str) -> NoReturn:
        """Raise a usage error."""
        raise OptionError(message)


@dataclasses.dataclass(frozen=True)
class ParsedOptions:
    """The options given on a command line and in its configuration file.

    Attributes
    ----------
    given : dict
        Field names to values; options that were not given are missing.
    verbose, quiet : bool
    """

    given: dict[str, Any]
    verbose: bool = False
    quiet: bool = False

    def build(self, cls: type[T], base: T | None = None) -> T:
        """Return an instance of one of the dataclasses.

        Parameters
        ----------
        cls : type
        base : instance of cls, optional
            Provides the options that were not given; the dataclass's own defaults when None.

        Raises
        ------
        OptionError
            A required option is missing, or a combination of values is not allowed.
        """
        specs = _specs(cls)
        values = {name: value for name, value in self.given.items() if name in specs}
        for name, value in values.items():
            spec = specs[name]
            if spec.is_nested and isinstance(value, Mapping):
                start = spec.default if base is None else getattr(base, name)
                values[name] = spec.kind(**value) if start in (None, _MISSING) else dataclasses.replace(start, **value)
        if base is not None:
            return dataclasses.replace(base, **values)  # type: ignore[type-var]
        missing = [spec.flag for spec in specs.values() if spec.default is _MISSING and spec.name not in values]
        if missing:
            raise OptionError(f"{missing[0]} is required.")
        return cls(**values)


class _Parser(argparse.ArgumentParser):
    """argparse with errors as exceptions: one sentence instead of the usage text."""

    def error(self, message: str) -> NoReturn:
        message = message.removeprefix("argument ")
        raise OptionError(f"{message[:1].upper()}{message[1:]}; see {self.prog} --help.")


@dataclasses.dataclass(frozen=True)
class _Spec:
    """One option: its field, and how its values are parsed and checked."""

    name: str
    field: dataclasses.Field[Any]
    #: The type of one value: without None, and the item type of a tuple.
    kind: Any
    optional: bool
    is_tuple: bool

    @classmethod
    def of(cls, field: dataclasses.Field[Any], annotation: Any) -> "_Spec":
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
        return bool(self.field.metadata["positional"])

    @property
    def flag(self) -> str:
        """The option as it is typed."""
        if self.positional:
            return str(self.field.metadata["metavar"] or self.name.upper())
        return self.field.metadata["flag"] or f"--{self.name.replace('_', '-')}"

    @property
    def default(self) -> Any:
        factory = self.field.default_factory
        return self.field.default if factory is _MISSING else factory()

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
        if text is None and not self.is_mapping and default not in (None, False, (), _MISSING):
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
        return self.optional and value == _NONE and _NONE not in self.choices

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
        known = _specs(self.kind)
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


def _specs(cls: type) -> dict[str, _Spec]:
    """Return the options of a dataclass by name, in the order of its fields."""
    hints = typing.get_type_hints(cls)
    fields: Sequence[dataclasses.Field[Any]] = dataclasses.fields(cls)
    return {field.name: _Spec.of(field, hints[field.name]) for field in fields if "help" in field.metadata}


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


def _to_toml(value: Any) -> Any:
    """Return a value in TOML's types."""
    if value is None:
        return _NONE
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [_to_toml(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _to_toml(item) for name, item in value.items()}
    return to_config(value) if dataclasses.is_dataclass(value) else value
