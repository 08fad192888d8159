"""Options declared once: dataclasses from which command lines and configuration files are derived.

A command's options are the fields of frozen dataclasses, each declared with `option`. The annotation gives the type
(``int``, ``float``, ``str``, ``bool``, ``Path``, ``Literal``, ``T | None``, ``tuple[T, ...]``, ``dict[str, Any]`` or
another dataclass of options), the metadata the help text and the allowed range. `OptionParser` turns them into an
argparse parser and `check_options` applies the same rules to values given in Python.

argparse is used rather than a library that derives command lines from dataclasses, because ``import tyro`` alone takes
0.36 s and six packages, and ``ferlib predict`` has to start in half a second with few dependencies.
"""

import argparse
import dataclasses
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from ferlib.core.console import set_verbosity
from ferlib.core.errors import OptionError
from ferlib.core.option_spec import MISSING, NONE, option_specs

T = TypeVar("T")

# The largest configuration file that is read.
_MAX_CONFIG_BYTES = 1 << 20


def option(
    default: Any = MISSING,
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
) -> Any:
    """Declare an option as the field of a dataclass.

    Parameters
    ----------
    default : object, optional
        The value when the option is not given, or a class to call for it; an option without a default is required.
    help : str
        The help text, without the default.
    metavar : str, optional
        The placeholder for the value in the help text.
    minimum, maximum, above, below : float, optional
        The range of a number; the first two are allowed values, the other two are not.
    flag : str, optional
        The command-line name; by default ``--`` and the field's name with hyphens.
    positional : bool
        Take the values from the positional arguments, which need a `metavar`.
    group : str
        The heading in the help text under which the option is listed.
    default_text : str, optional
        Describes the default in the help text instead of the value itself.

    Examples
    --------
    >>> @dataclasses.dataclass(frozen=True, kw_only=True)
    ... class CropOptions:
    ...     crop_margin: float = option(0.1, help="added on each side, as a fraction", minimum=0, maximum=2)
    >>> parser = OptionParser("crop", [CropOptions], description="", examples="")
    >>> parser.parse(["--crop-margin", "1"]).build(CropOptions)
    CropOptions(crop_margin=1.0)
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
    if isinstance(default, type):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def check_options(options: Any) -> None:
    """Raise an `OptionError` unless each option has the right type and range; for ``__post_init__``."""
    for spec in option_specs(type(options)).values():
        spec.check(getattr(options, spec.name), spec.name)


def to_config(options: Any) -> dict[str, Any]:
    """Return a dataclass of options as ``--config`` reads it from a TOML file; None is written as ``"none"``."""
    return {name: _to_toml(getattr(options, name)) for name in option_specs(type(options))}


class OptionParser:
    """A command line derived from dataclasses of options.

    Every command also has ``--config FILE``, a TOML file with options by field name, ``--verbose`` and ``--quiet``.

    Parameters
    ----------
    command : str
        The command's name, as in ``ferlib NAME``.
    classes : sequence of type
        Frozen dataclasses; their field names are distinct.
    description, examples : str
        Shown before and after the options.
    """

    def __init__(self, command: str, classes: Sequence[type], *, description: str, examples: str) -> None:
        self.specs = {name: spec for cls in classes for name, spec in option_specs(cls).items()}
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
            group = spec.metadata["group"]
            if group not in groups:
                groups[group] = self.parser.add_argument_group(group)
            spec.add_to(groups[group])
        general = self.parser.add_argument_group("general")
        general.add_argument(
            "--config", metavar="FILE", help="TOML file with options by name; the command line has priority"
        )
        general.add_argument("--verbose", action="store_true", help="also show debugging messages")
        general.add_argument("--quiet", action="store_true", help="show only warnings and errors, and no progress")

    def parse(self, argv: Sequence[str] | None = None) -> "ParsedOptions":
        """Parse a command line, that of the process if None; ``--verbose`` and ``--quiet`` take effect.

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
        set_verbosity(verbose=verbose, quiet=quiet)
        given = {} if config is None else self._read_config(Path(config))
        for name, words in arguments.items():
            spec = self.specs[name]
            if spec.positional and not words:
                continue
            value, earlier = spec.parse(words), given.get(name)
            given[name] = {**earlier, **value} if isinstance(earlier, dict) and isinstance(value, dict) else value
        return ParsedOptions(given)

    def _read_config(self, path: Path) -> dict[str, Any]:
        """Return the options in a TOML file, by field name."""
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_CONFIG_BYTES + 1)
            if len(data) > _MAX_CONFIG_BYTES:
                raise OptionError(f"--config {path} has over {_MAX_CONFIG_BYTES:,} bytes.")
            # Notepad writes a byte-order mark.
            table = tomllib.loads(data.decode("utf-8-sig"))
        except RecursionError:
            raise OptionError(f"--config {path} is not a TOML file (it is nested too deeply).") from None
        except OSError as error:
            raise OptionError(f"--config {path} cannot be read ({error.strerror}).") from None
        except ValueError as error:
            raise OptionError(f"--config {path} is not a TOML file ({error}).") from None
        unknown = sorted(set(table) - set(self.specs))
        if unknown:
            raise OptionError(f"--config {path} has unknown options: {', '.join(unknown)}.")
        return {name: self.specs[name].convert(value, f"--config {path}: {name}") for name, value in table.items()}


@dataclasses.dataclass(frozen=True)
class ParsedOptions:
    """The options given on a command line and in its configuration file, by field name."""

    given: dict[str, Any]

    def build(self, cls: type[T], base: T | None = None) -> T:
        """Return an instance of one of the dataclasses; options that were not given are those of `base`, if any.

        Raises
        ------
        OptionError
            A required option is missing, or a combination of values is not allowed.
        """
        specs = option_specs(cls)
        values = {name: value for name, value in self.given.items() if name in specs}
        for name, value in values.items():
            spec = specs[name]
            if spec.is_nested and isinstance(value, Mapping):
                start = spec.default if base is None else getattr(base, name)
                values[name] = spec.kind(**value) if start in (None, MISSING) else dataclasses.replace(start, **value)
        if base is not None:
            return dataclasses.replace(base, **values)  # type: ignore[type-var]
        missing = [spec.flag for spec in specs.values() if spec.default is MISSING and spec.name not in values]
        if missing:
            raise OptionError(f"{missing[0]} is required.")
        return cls(**values)


class _Parser(argparse.ArgumentParser):
    """argparse with errors as exceptions: one sentence instead of the usage text."""

    def error(self, message: str) -> NoReturn:
        message = message.removeprefix("argument ")
        raise OptionError(f"{message[:1].upper()}{message[1:]}; see {self.prog} --help.")


def _to_toml(value: Any) -> Any:
    if value is None:
        return NONE
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [_to_toml(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _to_toml(item) for name, item in value.items()}
    return to_config(value) if dataclasses.is_dataclass(value) else value
