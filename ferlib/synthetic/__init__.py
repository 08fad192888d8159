"""Drawn faces with a given emotion, so that everything runs without a dataset."""

from collections.abc import Iterable

#: The file that marks an archive or folder of drawn faces and lists its deliberate faults.
SYNTHETIC_NOTE = "SYNTHETIC.txt"


def is_synthetic(names: Iterable[str]) -> bool:
    """Return whether the file names of a dataset include the note that marks drawn faces."""
    return any(name.split("/")[-1] == SYNTHETIC_NOTE for name in names)
