"""The models by name: what builds each, what images it wants, and how it is trained unless told otherwise."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from ferlib.core.errors import FerlibError


@dataclass(frozen=True)
class ModelSpec:
    """One entry of the registry.

    Parameters
    ----------
    name : str
        The builder's name.
    kind : {"cnn", "bovw", "ensemble"}
        A Keras network, a scikit-learn pipeline over bags of visual words, or several of either.
    build : callable
        ``build(n_classes, *, image_size, channels, seed, dtype, **options)`` for a network and
        ``build(random_state=..., **options)`` for a pipeline return the model untrained; ``build(seed=..., **options)``
        for an ensemble returns what its members shall be.
    image_size : tuple of int
        (height, width) of its input in pixels, unless a data set of another size asks otherwise.
    channels : int
        1 for gray, 3 for RGB.
    training : mapping
        The `ferlib.training.TrainingOptions` that differ from the defaults.
    """

    name: str
    kind: Literal["cnn", "bovw", "ensemble"]
    build: Callable[..., Any]
    image_size: tuple[int, int]
    channels: int
    training: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def summary(self) -> str:
        """The first line of the builder's docstring."""
        return (self.build.__doc__ or "").strip().splitlines()[0]


_MODELS: dict[str, ModelSpec] = {}


def register_model(
    *,
    kind: Literal["cnn", "bovw", "ensemble"],
    image_size: tuple[int, int] = (48, 48),
    channels: int = 1,
    **training: Any,
) -> Callable[[Callable], Callable]:
    """Return a decorator that enters a builder under its own name; see `ModelSpec` for the parameters."""

    def enter(build: Callable) -> Callable:
        name = build.__name__
        _MODELS[name] = ModelSpec(name, kind, build, image_size, channels, MappingProxyType(training))
        return build

    return enter


def list_models() -> tuple[str, ...]:
    """Return the names of all models, sorted."""
    _fill()
    return tuple(sorted(_MODELS))


def get_model(name: str) -> ModelSpec:
    """Return a model's entry.

    Raises
    ------
    FerlibError
        No model has that name.
    """
    _fill()
    if name not in _MODELS:
        raise FerlibError(f"There is no model '{name}'; expected one of {', '.join(list_models())}.")
    return _MODELS[name]


def _fill() -> None:
    """Import the rooms that hold builders; they enter themselves."""
    from ferlib.models import cnn, ensemble, transfer  # noqa: F401
    from ferlib.models.bovw import builders  # noqa: F401
