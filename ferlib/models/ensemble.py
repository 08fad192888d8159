"""Several models averaged: which runs are its members, or how they are to be trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ferlib.core.errors import FerlibError
from ferlib.models.cnn import COMPACT_TRAINING
from ferlib.models.registry import register_model


@dataclass(frozen=True)
class Member:
    """One model of an ensemble.

    Parameters
    ----------
    name : str
        The model's name in the registry, or that of the run that is given.
    seed : int
        What it is trained with.
    options : mapping
        Keywords of its builder.
    run_dir : str or None
        A finished run to take instead of training one.
    """

    name: str
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    run_dir: str | None = None


@register_model(kind="ensemble", **COMPACT_TRAINING)
def ensemble(
    *,
    members: Sequence[str] | str | None = None,
    model: str = "compact_cnn",
    size: int = 3,
    member_options: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> list[Member]:
    """Several runs averaged as one model: finished runs, or networks that differ in their seed alone.

    Each member brings images to its own size and makes its own views of them (test-time augmentation).

    Parameters
    ----------
    members : sequence of str, optional
        Folders of finished runs of any kind, or one string with commas between them; they are copied.
    model : str
        Without `members`: what to train.
    size : int
        Without `members`: how many.
    member_options : mapping, optional
        Without `members`: keywords of the model's builder.
    seed : int
        The first network's; the others have the numbers that follow.

    Returns
    -------
    list of Member

    Raises
    ------
    FerlibError
        There would be fewer than two members.

    References
    ----------
    L. Hansen, P. Salamon, "Neural Network Ensembles", IEEE PAMI 1990.
    """
    if members is not None:
        folders = [folder.strip() for folder in members.split(",")] if isinstance(members, str) else list(members)
        chosen = [Member(Path(folder).resolve().name, run_dir=folder) for folder in folders]
    else:
        chosen = [Member(model, seed=seed + number, options=dict(member_options or {})) for number in range(size)]
    if len(chosen) < 2:
        raise FerlibError(f"An ensemble needs at least two members, got {len(chosen)}.")
    return chosen
