"""The search space of a study: which options vary, and between which values."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ferlib.models import ModelSpec
from ferlib.preprocessing import Augmentation
from ferlib.training.options import TrainingOptions

Scalar = str | int | float | bool

#: The parameter that turns augmentation on and off.
AUGMENTED = "augmentation.enabled"

#: What the names of options of the augmentation and of the model begin with.
AUGMENTATION, MODEL = "augmentation.", "model."


class Suggests(Protocol):
    """The part of ``optuna.Trial`` that draws values."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...  # noqa: D102

    def suggest_float(  # noqa: D102
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One option that varies: a range of numbers, or `choices`.

    Attributes
    ----------
    name : str
        A field of `TrainingOptions`, ``augmentation.NAME`` or ``model.NAME``.
    choices : tuple
        Empty for a range.
    low, high : float
        The bounds, both of them allowed.
    log : bool
        Draw from the logarithm of the range.
    step : float, optional
    whole : bool
        Whether the numbers are integers.
    """

    name: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    whole: bool = False

    @property
    def labels(self) -> tuple[Scalar, ...]:
        """The choices as the study stores them: lists as ``"16,32"``."""
        return tuple(map(to_label, self.choices))

    def suggest(self, trial: Suggests) -> Any:
        """Return the value that a trial draws."""
        if self.choices:
            return self.recall(trial.suggest_categorical(self.name, self.labels))
        if self.whole:
            return trial.suggest_int(self.name, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)

    def recall(self, stored: Scalar) -> Any:
        """Return the value that a study stores as `stored`."""
        return self.choices[self.labels.index(stored)] if self.choices else stored

    def __contains__(self, value: Any) -> bool:
        """Return whether a value can be drawn."""
        if self.choices:
            return any(_same(to_label(value), label) for label in self.labels)
        if not isinstance(value, int | float) or isinstance(value, bool) or not self.low <= value <= self.high:
            return False
        return self.step is None or is_multiple(value - self.low, self.step)

    def to_json(self) -> dict[str, Any]:
        """Return the parameter as a study records it."""
        if self.choices:
            return {"choices": list(self.labels)}
        return {"low": self.low, "high": self.high, "log": self.log, "step": self.step}


@dataclass(frozen=True)
class SearchSpace:
    """The parameters of a study, and how their values become options of a training."""

    parameters: tuple[Parameter, ...]

    def draw(self, trial: Suggests) -> dict[str, Any]:
        """Return a value for each parameter; without augmentation, its options are not drawn."""
        values: dict[str, Any] = {}
        for parameter in self.parameters:
            if values.get(AUGMENTED, True) or not parameter.name.startswith(AUGMENTATION):
                values[parameter.name] = parameter.suggest(trial)
        return values

    def recall(self, params: Mapping[str, Scalar]) -> dict[str, Any]:
        """Return the values that a trial has drawn, from those that the study stores."""
        return {each.name: each.recall(params[each.name]) for each in self.parameters if each.name in params}

    def apply(
        self, values: Mapping[str, Any], training: TrainingOptions, model_options: Mapping[str, Any]
    ) -> tuple[TrainingOptions, dict[str, Any]]:
        """Return the options of a training, and those of its model: those given, with `values` in place of theirs."""
        plain = {name: value for name, value in values.items() if "." not in name}
        model = {name.removeprefix(MODEL): value for name, value in values.items() if name.startswith(MODEL)}
        changes = {
            name.removeprefix(AUGMENTATION): value for name, value in values.items() if name.startswith(AUGMENTATION)
        }
        augmentation = training.augmentation
        if changes.pop("enabled", augmentation is not None or bool(changes)):
            augmentation = replace(augmentation or Augmentation(), **changes)
        else:
            augmentation = None
        return replace(training, augmentation=augmentation, **plain), {**model_options, **model}

    def defaults(
        self, spec: ModelSpec, training: TrainingOptions, model_options: Mapping[str, Any]
    ) -> dict[str, Scalar]:
        """Return the values of the parameters before tuning, as labels; those outside of their range are left out."""
        found = {}
        for parameter in self.parameters:
            name = parameter.name
            if name.startswith(MODEL):
                option = name.removeprefix(MODEL)
                value = model_options.get(option, spec.defaults[option])
            elif name == AUGMENTED:
                value = training.augmentation is not None
            elif name.startswith(AUGMENTATION):
                if training.augmentation is None:
                    continue
                value = getattr(training.augmentation, name.removeprefix(AUGMENTATION))
            else:
                value = getattr(training, name)
            if value in parameter:
                found[name] = to_label(value)
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the space as a study records it."""
        return {parameter.name: parameter.to_json() for parameter in self.parameters}


def to_label(value: Any) -> Scalar:
    """Return a value as a study stores it: lists as on the command line, None as "none"."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return "none" if value is None else value


def _same(first: Scalar, second: Scalar) -> bool:
    """Return whether two labels are equal; true is not 1."""
    return first == second and isinstance(first, bool) == isinstance(second, bool)


def is_multiple(value: float, step: float) -> bool:
    """Return whether a value is a multiple of a step."""
    return math.isclose(value / step, round(value / step), abs_tol=1e-9)
