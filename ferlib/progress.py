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
    interactive = sys.stderr.isatty() or "ipykernel" in sys.modules
    options.setdefault("mininterval", 0.2 if interactive else 10.0)
    options.setdefault("leave", True)
    options.setdefault("dynamic_ncols", interactive)
    return tqdm(iterable, **options)
