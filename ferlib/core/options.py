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
import json
import math
import sys
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, get_args, get_origin

from ferlib.core.errors import OptionError

T = TypeVar("T")

_NONE = "none"


def option(
    default: Any = dataclasses.MISSING,
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
    default_factory: Any = dataclasses.MISSING,
) -> Any:
    """Declare an option as the field of a dataclass.

    Parameters
    ----------
    default : object, optional
        The value when the option is not given; an option without a default is required.
    help : str
        The help text, without the default.
    metavar : str, optional
        What stands for the value in the help text.
    minimum, maximum : float, optional
        Smallest and largest allowed number, inclusive.
    above, below : float, optional
        The same, exclusive.
    flag : str, optional
        The command-line name; ``--`` and the field's name with hyphens by default.
    positional : bool
        Take the values from the positional arguments.
    group : str
        The heading in the help text under which the option is listed.
    default_text : str, optional
        What the help text gives as the default, where the default itself says too little.
    default_factory : callable, optional
        As in `dataclasses.field`.
    """
    metadata = {
        "help": help,
        "metavar": metavar,
        "minimum": minimum,
        "maximum": maximum,
        "above": above,
        "below": below,
        "flag": flag,
        "positional": positional,
        "group": group,
        "default_text": default_text,
    }
    return dataclasses.field(default=default, default_factory=default_factory, metadata=metadata)


def check_options(options: Any) -> None:
    """Check the type and the range of every field that `option` declared; call it in ``__post_init__``.

    Raises
    ------
    OptionError
        A value has the wrong type, is not one of the choices, or is out of range.
    """
    for spec in _specs(type(options)):
        spec.check(getattr(options, spec.name))


class OptionParser:
    """A command line derived from dataclasses of options.

    Every command also has ``--config FILE``, a TOML file with options by field name, ``--verbose`` and ``--quiet``.

    Parameters
    ----------
    command : str
        The command's name, as in ``ferlib NAME``.
    classes : sequence of type
        Frozen dataclasses; no two have a field of the same name.
    description : str
    examples : str
        Shown after the options.
    """

    def __init__(self, command: str, classes: Sequence[type], *, description: str, examples: str) -> None:
        self.classes = tuple(classes)
        self.specs = {spec.name: spec for cls in classes for spec in _specs(cls)}
        self.parser = _Parser(
            prog=f"ferlib {command}",
            description=description,
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            argument_default=argparse.SUPPRESS,
            allow_abbrev=False,
        )
        groups: dict[str, Any] = {"options": self.parser}
        for spec in self.specs.values():
            if spec.group not in groups:
                groups[spec.group] = self.parser.add_argument_group(spec.group)
            spec.add_to(groups[spec.group])
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
        raw = vars(self.parser.parse_intermixed_args(list(sys.argv[1:] if argv is None else argv)))
        config = raw.pop("config", None)
        verbose, quiet = raw.pop("verbose", False), raw.pop("quiet", False)
        if verbose and quiet:
            raise OptionError("--verbose and --quiet cannot be combined.")
        given = self._read_config(Path(config)) if config is not None else {}
        for name, value in raw.items():
            spec = self.specs[name]
            if spec.positional and not value:
                continue
            given[name] = spec.merge(given.get(name), spec.parse(value))
        return ParsedOptions(given, self.classes, verbose=verbose, quiet=quiet)

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
        return {name: self.specs[name].from_config(value) for name, value in table.items()}

    def error(self, message: str) -> NoReturn:
        """Leave with a usage error."""
        raise OptionError(message)


@dataclasses.dataclass(frozen=True)
class ParsedOptions:
    """The options that a command line and its configuration file gave.

    Attributes
    ----------
    given : dict
        Field names to values; options that were not given are missing.
    classes : tuple of type
    verbose, quiet : bool
    """

    given: dict[str, Any]
    classes: tuple[type, ...]
    verbose: bool = False
    quiet: bool = False

    def build(self, cls: type[T], base: T | None = None) -> T:
        """Return an instance of one of the dataclasses.

        Parameters
        ----------
        cls : type
        base : instance of cls, optional
            Where options that were not given come from; the dataclass's own defaults when None.

        Raises
        ------
        OptionError
            A required option is missing, or a combination of values is not allowed.
        """
        specs = {spec.name: spec for spec in _specs(cls)}
        values = {name: value for name, value in self.given.items() if name in specs}
        for name, value in values.items():
            spec = specs[name]
            if spec.nested is not None and isinstance(value, Mapping):
                start = getattr(base, name, None) if base is not None else spec.default()
                values[name] = _replace_nested(spec, start, value)
        if base is not None:
            return dataclasses.replace(base, **values)  # type: ignore[type-var]
        missing = [spec for spec in specs.values() if spec.required and spec.name not in values]
        if missing:
            raise OptionError(f"{missing[0].flag} is required.")
        return cls(**values)


class _Parser(argparse.ArgumentParser):
    """argparse with errors as exceptions: one sentence instead of the usage text."""

    def error(self, message: str) -> NoReturn:
        raise OptionError(f"{message[:1].upper()}{message[1:]}; see {self.prog} --help.")


@dataclasses.dataclass(frozen=True)
class _Spec:
    """One option: its field, and how its values are parsed and checked."""

    name: str
    annotation: Any
    field: dataclasses.Field
    group: str = "options"
    positional: bool = False

    @property
    def flag(self) -> str:
        """The option as it is typed."""
        if self.positional:
            return str(self.field.metadata["metavar"] or self.name.upper())
        return self.field.metadata["flag"] or f"--{self.name.replace('_', '-')}"

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.field.default is dataclasses.MISSING and self.field.default_factory is dataclasses.MISSING

    def default(self) -> Any:
        """Return the default."""
        if self.field.default_factory is not dataclasses.MISSING:
            return self.field.default_factory()
        return self.field.default

    @property
    def optional(self) -> bool:
        """Whether None is a value."""
        return _is_union(self.annotation) and type(None) in get_args(self.annotation)

    @property
    def base(self) -> Any:
        """The annotation without None."""
        if not _is_union(self.annotation):
            return self.annotation
        members = [member for member in get_args(self.annotation) if member is not type(None)]
        return members[0] if len(members) == 1 else typing.Union[tuple(members)]  # noqa: UP007

    @property
    def nested(self) -> type | None:
        """The dataclass whose fields are given as KEY=VALUE, if the option is one."""
        return self.base if dataclasses.is_dataclass(self.base) and isinstance(self.base, type) else None

    @property
    def is_mapping(self) -> bool:
        """Whether values are given as KEY=VALUE pairs."""
        return self.nested is not None or get_origin(self.base) is dict

    def add_to(self, group: Any) -> None:
        """Add the option to an argparse parser or group."""
        text = self.field.metadata["help"] + self._default_help()
        # argparse formats help texts with the % operator.
        keywords: dict[str, Any] = {"help": text.replace("%", "%%"), "metavar": self._metavar()}
        if self.positional:
            group.add_argument(self.name, nargs="*", **keywords)
            return
        keywords["dest"] = self.name
        if self.base is bool:
            del keywords["metavar"]
            action = "store_true" if self.default() is False else argparse.BooleanOptionalAction
            group.add_argument(self.flag, action=action, **keywords)
        elif self.is_mapping:
            group.add_argument(self.flag, action="append", **keywords)
            if self.optional and self.nested is not None:
                group.add_argument(
                    f"--no-{self.name.replace('_', '-')}",
                    dest=self.name,
                    action="append_const",
                    const=None,
                    help=f"turn {self.name.replace('_', ' ')} off",
                )
        else:
            group.add_argument(self.flag, **keywords)

    def _metavar(self) -> str:
        """Return what stands for the value in the help text."""
        if self.field.metadata["metavar"]:
            return self.field.metadata["metavar"]
        if get_origin(self.base) is Literal:
            return "{" + ",".join(map(str, get_args(self.base))) + "}"
        if self.is_mapping:
            return "KEY=VALUE"
        return {int: "N", float: "X", Path: "PATH"}.get(self.base, self.name.upper())

    def _default_help(self) -> str:
        """Return the default in parentheses, where there is one worth saying."""
        text = self.field.metadata["default_text"]
        if text is None:
            value = self.default() if not self.required else None
            if value is None or value is False or value == () or self.is_mapping:
                return ""
            text = f"{value:g}" if isinstance(value, float) else str(value)
        return f" (default: {text})" if text else ""

    def parse(self, text: Any) -> Any:
        """Return the value of a command line's words, checked."""
        if self.positional:
            return tuple(self._parse_one(word, get_args(self.base)[0]) for word in text)
        if self.base is bool:
            return text
        if self.is_mapping:
            if None in text:
                if len(text) > 1:
                    raise OptionError(f"{self.flag} and --no-{self.name.replace('_', '-')} cannot be combined.")
                return None
            return _parse_pairs(self.flag, text)
        if self.optional and text.lower() == _NONE and get_origin(self.base) is not Literal:
            return None
        value: Any
        if get_origin(self.base) is tuple:
            value = tuple(self._parse_one(word.strip(), get_args(self.base)[0]) for word in text.split(",") if word)
        else:
            value = self._parse_one(text, self.base)
        self.check(value, shown=text, name=self.flag)
        return value

    def _parse_one(self, text: str, kind: Any) -> Any:
        """Return one word as a value of a type."""
        if kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                self._fail(text, self.flag)
        return kind(text) if kind is Path else text

    def from_config(self, value: Any) -> Any:
        """Return a value from a TOML file in the type of the field, checked."""
        if self.is_mapping:
            if self.optional and value == _NONE:
                return None
            if not isinstance(value, dict):
                raise OptionError(f"{self.name} must be a table, got {value!r}.")
            return value
        if self.optional and value == _NONE and get_origin(self.base) is not Literal:
            return None
        if self.base is Path and isinstance(value, str):
            value = Path(value)
        elif get_origin(self.base) is tuple and isinstance(value, list):
            kind = get_args(self.base)[0]
            value = tuple(kind(item) if kind is Path else item for item in value)
        self.check(value)
        return value

    def merge(self, earlier: Any, later: Any) -> Any:
        """Return the value of a configuration file changed by that of the command line."""
        return {**earlier, **later} if isinstance(earlier, dict) and isinstance(later, dict) else later

    def check(self, value: Any, *, shown: Any = None, name: str | None = None) -> None:
        """Raise unless a value has the right type and is in range."""
        if value is None and self.optional:
            return
        kind = get_args(self.base)[0] if get_origin(self.base) is tuple else self.base
        items = value if get_origin(self.base) is tuple and isinstance(value, tuple | list) else [value]
        for item in items:
            if not self._is_valid(item, kind):
                self._fail(item if shown is None else shown, name or self.name)

    def _is_valid(self, value: Any, kind: Any) -> bool:
        """Return whether one value has a type and is in the option's range."""
        if kind is Any or self.is_mapping:
            return True
        if get_origin(kind) is Literal:
            return value in get_args(kind)
        if kind in (int, float):
            numeric = isinstance(value, int | kind) and not isinstance(value, bool)
            return numeric and math.isfinite(value) and self._in_range(value)
        if kind is Path:
            return isinstance(value, str | Path)
        return isinstance(value, kind)

    def _in_range(self, value: float) -> bool:
        """Return whether a number is within the limits."""
        limits = self.field.metadata
        return (
            (limits["minimum"] is None or value >= limits["minimum"])
            and (limits["maximum"] is None or value <= limits["maximum"])
            and (limits["above"] is None or value > limits["above"])
            and (limits["below"] is None or value < limits["below"])
        )

    def _fail(self, value: Any, name: str) -> NoReturn:
        """Raise with the option, what is expected and the value."""
        raise OptionError(f"{name}: expected {self._expected()}, got {str(value)!r}.")

    def _expected(self) -> str:
        """Return in words what values are allowed."""
        kind = get_args(self.base)[0] if get_origin(self.base) is tuple else self.base
        if get_origin(kind) is Literal:
            return f"one of {', '.join(map(str, get_args(kind)))}"
        limits = self.field.metadata
        words = {int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}.get(kind, "text")
        ranges = [
            f"{phrase} {limits[key]:g}"
            for key, phrase in (("minimum", "at least"), ("above", "above"), ("maximum", "at most"), ("below", "below"))
            if limits[key] is not None
        ]
        several = "comma-separated values, each " if get_origin(self.base) is tuple and not self.positional else ""
        return several + " ".join([words, " and ".join(ranges)]).strip()


def _specs(cls: type) -> list[_Spec]:
    """Return the options of a dataclass, in the order of its fields."""
    hints = typing.get_type_hints(cls)
    return [
        _Spec(field.name, hints[field.name], field, field.metadata["group"], field.metadata["positional"])
        for field in dataclasses.fields(cls)
        if "help" in field.metadata
    ]


def _is_union(annotation: Any) -> bool:
    """Return whether an annotation is ``A | B``."""
    return get_origin(annotation) in (typing.Union, types.UnionType)


def _replace_nested(spec: _Spec, start: Any, values: Mapping[str, Any]) -> Any:
    """Return a nested dataclass of options with some values changed."""
    assert spec.nested is not None
    known = {inner.name: inner for inner in _specs(spec.nested)}
    unknown = [name for name in values if name not in known]
    if unknown:
        raise OptionError(f"{spec.flag}: expected one of {', '.join(known)}, got '{unknown[0]}'.")
    for name, value in values.items():
        known[name].check(value, name=f"{spec.flag} {name}")
    return dataclasses.replace(start if start is not None else spec.nested(), **values)


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
