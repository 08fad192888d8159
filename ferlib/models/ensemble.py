"""Ensembles: several finished runs, or one model trained with several seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ferlib.core.errors import OptionError
from ferlib.models.registry import Count, get_model, register_model


@dataclass(frozen=True)
class Member:
    """One model to train, by its name, seed and options; or the finished run in `run_dir`, by the run's name."""

    name: str
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    run_dir: str | None = None


def _check_ensemble(
    *, members: Sequence[str] | str | None, model: str, size: int, member_options: Mapping[str, Any] | None, **_: Any
) -> None:
    n_members = size if members is None else len(_split(members))
    if n_members < 2:
        raise OptionError(f"An ensemble needs at least two members, got {n_members}.")
    if members is None:
        if get_model(model).kind == "ensemble":
            raise OptionError("An ensemble's 'model' cannot be 'ensemble'; use 'members' to combine finished runs.")
        get_model(model).check_options(member_options or {})


@register_model(kind="ensemble", check=_check_ensemble)
def ensemble(
    *,
    members: tuple[str, ...] | str | None = None,
    model: str = "compact_cnn",
    size: Count = 3,
    member_options: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> list[Member]:
    """Average of finished runs, or of one model trained with several seeds.

    Each member resizes images to its own input and applies its own test-time augmentation.

    Parameters
    ----------
    members : tuple of str or str, optional
        Folders of finished runs of any kind, which are copied; a string lists them separated by commas.
    model : str
        The model to train when there are no `members`.
    size : int
        How many to train.
    member_options : mapping, optional
        Options of the model to train.
    seed : int
        Seed of the first member to train; the others count up from it.

    References
    ----------
    L. Hansen, P. Salamon, "Neural Network Ensembles", IEEE PAMI 1990.
    """
    if members is not None:
        return [Member(Path(folder).resolve().name, run_dir=folder) for folder in _split(members)]
    return [Member(model, seed=seed + number, options=dict(member_options or {})) for number in range(size)]


def _split(members: Sequence[str] | str) -> list[str]:
    """Return the folders of a list, or of a string with commas."""
    return [folder.strip() for folder in members.split(",")] if isinstance(members, str) else list(members)
