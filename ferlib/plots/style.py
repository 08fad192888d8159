"""The style that all figures share, and saving them."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import matplotlib.pyplot as plt
from matplotlib.figure import Figure, SubFigure

from ferlib.core.files import atomic_write

P = ParamSpec("P")
R = TypeVar("R")

#: Colors of several lines, from the palette of Okabe and Ito.
LINE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

# Any, because Matplotlib types the keys as literals.
_STYLE: Any = {
    "figure.dpi": 110,
    "savefig.dpi": 150,
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "font.size": 10,
}


def styled(plot: Callable[P, R]) -> Callable[P, R]:
    """Return a plotting function that draws in the shared style and leaves Matplotlib's settings unchanged."""

    @wraps(plot)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        # Not rc_context: the first figure selects the backend, which in a notebook turns the interactive mode on.
        earlier = {name: plt.rcParams[name] for name in _STYLE}
        plt.rcParams.update(_STYLE)
        try:
            return plot(*args, **kwargs)
        finally:
            plt.rcParams.update(earlier)

    return wrapper


def use_style() -> None:
    """Use the shared style for all figures of this process; for notebooks that also draw figures of their own."""
    plt.rcParams.update(_STYLE)


@styled
def save_figure(figure: Figure | SubFigure, folder: str | Path | None, name: str) -> Path | None:
    """Write a figure as PNG into a folder and return its path; without a folder nothing happens."""
    if not folder:
        return None
    path = Path(folder) / f"{name}.png"
    with atomic_write(path) as temporary:
        figure.get_figure(root=True).savefig(temporary)
    return path
