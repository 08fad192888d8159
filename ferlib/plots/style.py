"""The look that all figures share, and how they are kept."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from ferlib.core.files import atomic_write

_STYLE: dict[str, Any] = {
    "figure.dpi": 110,
    "savefig.dpi": 150,
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "font.size": 10,
}


def use_style() -> None:
    """Set the look that all figures share, for this process; a notebook calls it once, after its imports."""
    plt.rcParams.update(_STYLE)


def save_figure(figure: Figure, folder: str | Path | None, name: str) -> Path | None:
    """Write a figure as PNG into a folder, whole or not at all; with no folder nothing happens.

    Returns
    -------
    Path or None
        What was written.
    """
    if not folder:
        return None
    path = Path(folder) / f"{name}.png"
    with atomic_write(path) as temporary:
        figure.savefig(temporary)
    return path
