"""The registry of models: each name with its builder, input size and options."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from ferlib.core.errors import FerlibError, OptionError

Kind = Literal["cnn", "bovw", "ensemble"]
Builder = TypeVar("Builder", bound=Callable[..., Any])
Check = Callable[..., None]


@dataclass(frozen=True)
class Range:
    """The allowed range of a number; put it in ``Annotated[int, Range(minimum=1)]``."""

    minimum: float = float("-inf")
    above: float = float("-inf")
    below: float = float("inf")

    def __contains__(self, value: float) -> bool:
        """Return whether a number is in the range; NaN and infinity never are."""
        return self.minimum <= value and self.above < value < self.below

    def __str__(self) -> str:
        """Return the range, such as ">= 0 and < 1"."""
        limits = {">=": self.minimum, ">": self.above, "<": self.below}
        return " and ".join(f"{sign} {limit:g}" for sign, limit in limits.items() if abs(limit) != float("inf"))


#: Types of builders' options.
Count = Annotated[int, Range(minimum=1)]
CountOrZero = Annotated[int, Range(minimum=0)]
Positive = Annotated[float, Range(above=0)]
NonNegative = Annotated[float, Range(minimum=0)]
Rate = Annotated[float, Range(minimum=0, below=1)]

# What the training supplies; not options of a model.
_SUPPLIED = ("n_classes", "image_size", "channels", "seed", "dtype", "random_state")


@dataclass(frozen=True)
class ModelSpec:
    """A registered model.

    Attributes
    ----------
    name : str
    summary : str
        One sentence.
    kind : {"cnn", "bovw", "ensemble"}
        A Keras network, a scikit-learn pipeline on bags of visual words, or several models averaged.
    builder : callable
        Builds the model without checking its options; see `build`.
    image_size : tuple of int
        (height, width) of the input in pixels.
    channels : int
        1 for gray, 3 for RGB.
    check : callable or None
        Checks combinations of options; called with all of them by keyword.
    """

    name: str
    summary: str
    kind: Kind
    builder: Callable[..., Any]
    image_size: tuple[int, int]
    channels: int
    check: Check | None = None

    @property
    def defaults(self) -> dict[str, Any]:
        """The model's options and their default values."""
        return {name: parameter.default for name, parameter in self._parameters().items() if name not in _SUPPLIED}

    def build(self, *args: Any, **values: Any) -> Any:
        """Return the untrained model; its options are checked as in `check_options`.

        For a network, ``build(n_classes, *, image_size, channels, seed, dtype, **options)`` returns it uncompiled. For
        a pipeline, ``build(random_state=..., **options)`` returns it unfitted. For an ensemble,
        ``build(seed=..., **options)`` returns its members.
        """
        self._check_values(values)
        return self.builder(*args, **values)

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Check the names, types, ranges and combinations of the model's options; lists count as tuples, as in JSON.

        Raises
        ------
        OptionError
            An option is unknown or its value is not allowed.
        """
        unknown = sorted(set(options) - set(self.defaults))
        if unknown:
            raise OptionError(f"Unknown {self.name} option '{unknown[0]}'; expected one of {', '.join(self.defaults)}.")
        self._check_values({"image_size": self.image_size, **options})

    def check_value(self, name: str, value: Any) -> None:
        """Check the type and the range of one option of the model; raise OptionError as `check_options` does."""
        parameter = self._parameters()[name]
        default, annotation = parameter.default, parameter.annotation
        # An empty list is allowed only where it is the default.
        if not (_matches(value, annotation) or (value in ((), []) and default == ())):
            raise OptionError(
                f"Invalid value {value!r} for {self.name} option '{name}': "
                f"expected {_describe(annotation)} (default {_shorten(default)})."
            )

    def _check_values(self, values: Mapping[str, Any]) -> None:
        parameters = self._parameters()
        for name in self.defaults.keys() & values.keys():
            self.check_value(name, values[name])
        if self.check is not None:
            known = {name: value for name, value in values.items() if name in parameters}
            self.check(**{**self.defaults, **known})

    def _parameters(self) -> Mapping[str, inspect.Parameter]:
        return inspect.signature(self.builder).parameters


_MODELS: dict[str, ModelSpec] = {}


def register_model(
    *, kind: Kind, image_size: tuple[int, int] = (48, 48), channels: int = 1, check: Check | None = None
) -> Callable[[Builder], Builder]:
    """Return a decorator that registers a builder under its own name, with the first line of its docstring as summary.

    The types in the builder's signature are those of the options; see `ModelSpec` for the parameters.
    """

    def decorate(builder: Builder) -> Builder:
        name, summary = builder.__name__, (builder.__doc__ or "").strip().partition("\n")[0]
        _MODELS[name] = ModelSpec(name, summary, kind, builder, image_size, channels, check)
        return builder

    return decorate


def register_preset(name: str, model: str, summary: str, **defaults: Any) -> None:
    """Register a model under another name, with other defaults of its options."""
    spec = get_model(model)
    _MODELS[name] = replace(spec, name=name, summary=summary, builder=partial(spec.builder, **defaults))


def list_models() -> tuple[str, ...]:
    """Return the names of all models, sorted."""
    return tuple(sorted(_MODELS))


def get_model(name: str) -> ModelSpec:
    """Return a registered model.

    Raises
    ------
    FerlibError
        There is no model of that name.
    """
    if name not in _MODELS:
        raise FerlibError(f"Unknown model '{name}'; expected one of {', '.join(list_models())}.")
    return _MODELS[name]


def _matches(value: Any, annotation: Any) -> bool:
    """Return whether a value, which may come from JSON, has the type and range of an annotation."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in (Any, inspect.Parameter.empty):
        return True
    if origin is Annotated:
        return _matches(value, arguments[0]) and all(value in limits for limits in arguments[1:])
    if origin in (UnionType, Union):
        return any(_matches(value, argument) for argument in arguments)
    if origin is Literal:
        return value in arguments
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return False
        types = arguments[:1] * max(1, len(value)) if arguments[-1] is Ellipsis else arguments
        return len(value) == len(types) and all(map(_matches, value, types))
    if annotation in (int, float):
        return isinstance(value, int | annotation) and not isinstance(value, bool)
    return isinstance(value, origin or annotation)


def _describe(annotation: Any) -> str:
    """Return an annotation in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return f"{_describe(arguments[0])} {arguments[1]}"
    if origin in (UnionType, Union):
        return " or ".join(_describe(argument) for argument in arguments)
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin is tuple:
        length = "" if arguments[-1] is Ellipsis else f"{len(arguments)} "
        return f"list of {length}{_describe(arguments[0])}"
    return "none" if annotation is type(None) else str(getattr(origin or annotation, "__name__", annotation)).lower()


def _shorten(value: Any) -> str:
    """Return a default as the command line takes it."""
    return "none" if value is None else ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
