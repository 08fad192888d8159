"""Progress that moves on a terminal and in a notebook, and stays a few lines in a log."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def track(iterable: Iterable | None = None, **options: Any) -> tqdm:
    """Return a tqdm bar over `iterable`, for whatever may take over two seconds.

    Parameters
    ----------
    iterable : iterable, optional
    **options
        tqdm's own: ``desc``, ``total``, ``unit``, ``disable`` and so on.
    """
    # A notebook stores every update: once a second is enough there, and every ten seconds in a log.
    seconds = 0.2 if sys.stderr.isatty() else (1.0 if "ipykernel" in sys.modules else 10.0)
    options.setdefault("mininterval", seconds)
    options.setdefault("dynamic_ncols", sys.stderr.isatty())
    return tqdm(iterable, **options)
