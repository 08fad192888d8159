"""Read a search space from TOML, and check it before the first trial."""

import itertools
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

from ferlib.core.errors import OptionError
from ferlib.core.option_spec import OptionSpec, option_specs
from ferlib.models import ModelSpec, get_model
from ferlib.preprocessing import Augmentation
from ferlib.training.options import TrainingOptions
from ferlib.training.tuning.space import AUGMENTATION, AUGMENTED, MODEL, Parameter, SearchSpace, is_multiple, to_label

_RANGE = {"low", "high", "log", "step"}

# The most combinations of a model's options that are tried before the first trial.
_MAX_COMBINATIONS = 4096
_MAX_BYTES = 1 << 20

_NOT_TUNED = {
    "augmentation": "name its options, as augmentation.shift",
    "epochs": "all trials have the same length, --epochs",
    "seed": "a seed is not a setting; --confirm-seeds repeats the best settings with other seeds",
    "init_from": "give --init-from for all trials",
    "teacher": "give --teacher for all trials",
    "votes": "give --votes for all trials",
}
#: The options that a bag of visual words uses.
_BOVW_OPTIONS = ("resample", "class_weight")
# Options that act only together with a value of another one.
_ACTS_WITH = {
    "weight_decay": ("optimizer", "adamw"),
    "warmup_epochs": ("schedule", "cosine"),
    "distillation_weight": ("teacher", None),
    "distillation_temperature": ("teacher", None),
    "aux_loss_weight": ("votes", None),
}


def list_spaces() -> tuple[str, ...]:
    """Return the names of the search spaces that ship with ferlib; each is that of a model."""
    return tuple(sorted(path.name.removesuffix(".toml") for path in _folder().iterdir() if path.suffix == ".toml"))


def read_space(
    source: str | Path | Mapping[str, Any],
    model: str,
    training: TrainingOptions,
    model_options: Mapping[str, Any] | None = None,
) -> SearchSpace:
    """Read a search space and check every key, type, bound and choice.

    Parameters
    ----------
    source : str, Path or mapping
        A TOML file, a name of `list_spaces`, or the entries themselves.
    model : str
        The model to tune.
    training : TrainingOptions
        The options that do not vary.
    model_options : mapping, optional
        Options of the model that do not vary.

    Raises
    ------
    OptionError
        The file cannot be read; an option is unknown, has no effect on this model, or cannot be tuned; a value is not
        allowed; or values of the model's options cannot be combined.
    """
    if isinstance(source, Mapping):
        return SpaceReader("space", get_model(model), training, model_options or {}).read(source)
    name = str(source)
    path = _folder() / f"{name}.toml" if name in list_spaces() else Path(source)
    return SpaceReader(name, get_model(model), training, model_options or {}).read(_load(path, name))


@dataclass(frozen=True)
class SpaceReader:
    """Checks the entries of a search space; `source` begins each message."""

    source: str
    spec: ModelSpec
    training: TrainingOptions
    model_options: Mapping[str, Any]

    def read(self, table: Mapping[str, Any]) -> SearchSpace:
        """Return the checked space."""
        entries = dict(_flatten(table))
        if not entries:
            self._fail("it names no option")
        if self.spec.kind == "ensemble":
            self._fail(f"{self.spec.name} has no settings of its own: tune its members")
        self._check_effects(entries)
        parameters = [self._read_parameter(name, entry) for name, entry in entries.items()]
        self._check_combinations(parameters)
        # Whether there is augmentation decides which of its options are drawn.
        return SearchSpace(tuple(sorted(parameters, key=lambda parameter: parameter.name != AUGMENTED)))

    def _read_parameter(self, name: str, entry: Any) -> Parameter:
        if not isinstance(entry, dict) or not ({"choices"} == set(entry) or {"low", "high"} <= set(entry) <= _RANGE):
            self._fail(
                f"{name}: expected {{low = ..., high = ...}}, with log = true or step = ..., or {{choices = [...]}}"
            )
        check = self._find(name)
        if "choices" in entry:
            return self._read_choices(name, entry["choices"], check)
        return self._read_range(name, entry, check)

    def _find(self, name: str) -> "_Check":
        """Return the check of an option's values."""
        if name.startswith(MODEL):
            option = name.removeprefix(MODEL)
            if option not in self.spec.defaults:
                known = ", ".join(MODEL + each for each in self.spec.defaults)
                self._fail(f"{name}: {self.spec.name} has no such option; expected one of {known}")
            return _ModelCheck(self.spec, option)
        specs = option_specs(TrainingOptions)
        if name == AUGMENTED:
            return _SwitchCheck()
        if name.startswith(AUGMENTATION):
            options = option_specs(Augmentation)
            option = name.removeprefix(AUGMENTATION)
            if option not in options:
                self._fail(f"{name}: expected one of {AUGMENTED}, {', '.join(AUGMENTATION + each for each in options)}")
            return _SpecCheck(options[option])
        if name not in specs:
            tuned = ", ".join(each for each in specs if each not in _NOT_TUNED)
            self._fail(f"{name}: expected one of {tuned}, augmentation.NAME or model.NAME")
        if name in _NOT_TUNED:
            self._fail(f"{name} cannot be tuned: {_NOT_TUNED[name]}")
        return _SpecCheck(specs[name])

    def _read_choices(self, name: str, choices: Any, check: "_Check") -> Parameter:
        if not isinstance(choices, list) or len(choices) < 2:
            self._fail(f"{name}: choices are a list of two or more values")
        values = tuple(self._checked(check, choice, f"{name}: choices") for choice in choices)
        labels = [to_label(value) for value in values]
        for first, second in itertools.combinations(labels, 2):
            if first == second:
                self._fail(f"{name}: {first} is named twice")
        return Parameter(name=name, choices=values)

    def _read_range(self, name: str, entry: dict[str, Any], check: "_Check") -> Parameter:
        low, high, log, step = entry["low"], entry["high"], entry.get("log", False), entry.get("step")
        if not isinstance(log, bool):
            self._fail(f"{name}: log is true or false")
        for key, value in (("low", low), ("high", high), *([("step", step)] if step is not None else [])):
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                self._fail(f"{name}: {key} is a number, got {str(value)!r}")
        for key in ("low", "high"):
            self._checked(check, entry[key], f"{name}: {key}")
        if not low < high:
            self._fail(f"{name}: low is below high, got {low} and {high}")
        whole = check.whole
        if log and step is not None:
            self._fail(f"{name}: log and step cannot be combined")
        if log and low <= 0:
            self._fail(f"{name}: a logarithm needs low above 0, got {low}")
        if step is not None and (step <= 0 or (whole and step != int(step)) or not is_multiple(high - low, step)):
            self._fail(f"{name}: high is low and a multiple of step, got {low}, {high} and {step}")
        if not whole:
            low, high = float(low), float(high)
        return Parameter(name=name, low=low, high=high, log=log, step=step, whole=whole)

    def _checked(self, check: "_Check", value: Any, place: str) -> Any:
        try:
            return check.convert(value, place)
        except OptionError as error:
            message = str(error).rstrip(".")
            self._fail(message if message.startswith(place) else f"{place}: {message}")

    def _check_effects(self, entries: Mapping[str, Any]) -> None:
        """Refuse options that would change nothing."""
        for name in entries:
            if self.spec.kind == "bovw" and not name.startswith(MODEL) and name not in _BOVW_OPTIONS:
                self._fail(
                    f"{name} has no effect on {self.spec.name}; expected {', '.join(_BOVW_OPTIONS)} or model.NAME"
                )
            other, needed = _ACTS_WITH.get(name, ("", None))
            value = getattr(self.training, other) if other else None
            entry = entries.get(other)
            varies = isinstance(entry, dict) and needed in entry.get("choices", [])
            if other and not varies and (value is None if needed is None else value != needed):
                self._fail(f"{name} has no effect without --{other}{f' {needed}' if needed else ''}")
            if name == "frozen_epochs" and self.spec.name != "transfer":
                self._fail("frozen_epochs has no effect: it is for transfer")

    def _check_combinations(self, parameters: Sequence[Parameter]) -> None:
        """Refuse values of the model's options that exclude each other."""
        varying = [parameter for parameter in parameters if parameter.name.startswith(MODEL)]
        names = [parameter.name.removeprefix(MODEL) for parameter in varying]
        values = [parameter.choices or (parameter.low, parameter.high) for parameter in varying]
        for combination in itertools.islice(itertools.product(*values), _MAX_COMBINATIONS):
            try:
                self.spec.check_options({**self.model_options, **dict(zip(names, combination, strict=True))})
            except OptionError as error:
                shown = ", ".join(f"{name}={to_label(v)}" for name, v in zip(names, combination, strict=True))
                self._fail(f"the combination {shown} is not possible: {str(error).rstrip('.')}")

    def _fail(self, message: str) -> Any:
        raise OptionError(f"--space {self.source}: {message}.")


class _Check(Protocol):
    """Checks the values of one option."""

    @property
    def whole(self) -> bool: ...

    def convert(self, value: Any, place: str) -> Any:
        """Return a value from TOML as the option takes it; raise OptionError if it is not allowed."""


@dataclass(frozen=True)
class _SpecCheck:
    """Of an option that is declared with `ferlib.core.options.option`."""

    spec: OptionSpec

    @property
    def whole(self) -> bool:
        return self.spec.kind is int

    def convert(self, value: Any, place: str) -> Any:
        return self.spec.convert(value, place)


@dataclass(frozen=True)
class _SwitchCheck:
    """Of something that is on or off."""

    whole: bool = False

    def convert(self, value: Any, place: str) -> bool:
        if not isinstance(value, bool):
            raise OptionError(f"{place}: expected true or false, got {str(value)!r}.")
        return value


@dataclass(frozen=True)
class _ModelCheck:
    """Of an option of a model's builder."""

    spec: ModelSpec
    name: str

    @property
    def whole(self) -> bool:
        """Whether fractions are refused."""
        default = self.spec.defaults[self.name]
        return isinstance(default, int) and not isinstance(default, bool)

    def convert(self, value: Any, place: str) -> Any:  # noqa: ARG002
        # Other options may have to change with this one, which `_check_combinations` sees.
        self.spec.check_value(self.name, value)
        return value


def _flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the entries of nested tables by dotted names."""
    for key, value in table.items():
        if isinstance(value, dict) and value and all(isinstance(item, dict) for item in value.values()):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _folder() -> Path:
    return Path(str(resources.files("ferlib"))) / "training" / "tuning" / "spaces"


def _load(path: Path, name: str) -> dict[str, Any]:
    """Return the table in a TOML file."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise OptionError(f"--space {name} has over {_MAX_BYTES:,} bytes.")
        return tomllib.loads(data.decode("utf-8-sig"))
    except FileNotFoundError:
        raise OptionError(
            f"--space {name}: there is no such file; ferlib has the spaces {', '.join(list_spaces())}."
        ) from None
    except OSError as error:
        raise OptionError(f"--space {name} cannot be read ({error.strerror}).") from None
    except RecursionError:
        raise OptionError(f"--space {name} is not a TOML file (it is nested too deeply).") from None
    except ValueError as error:
        raise OptionError(f"--space {name} is not a TOML file ({error}).") from None
