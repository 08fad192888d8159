"""FER+: the votes of ten raters for each image of FER2013."""

import os
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import DataError

#: FER+'s columns for the emotions of FER2013, mapped to our names.
FERPLUS_EMOTIONS = dict(
    zip(("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"), EMOTIONS, strict=True)
)

#: The other columns: contempt, unknown, and "NF" for no face.
FERPLUS_OTHERS = ("contempt", "unknown", "NF")


def find_votes(path: str | Path | None = None) -> Path | None:
    """Return the file of FER+ votes: `path`, or the one in the environment variable ``FERPLUS_VOTES``, or None."""
    chosen = path or os.environ.get("FERPLUS_VOTES")
    return Path(chosen) if chosen else None


def read_votes(path: str | Path, names: np.ndarray) -> pd.DataFrame:
    """Read the FER+ votes for images.

    Parameters
    ----------
    path : path
        FER+'s own ``fer2013new.csv``, whose rows correspond to those of ``fer2013.csv``; or a CSV with the columns
        ``file_stem``, FER+'s eight emotions, ``unknown`` and ``NF``.
    names : ndarray of shape (n,), dtype str
        The images' names, as in `ImageDataset.names`. Their file stems are looked up; in ``fer2013new.csv``, the row
        numbers at their ends, as in ``Training_0000042``.

    Returns
    -------
    DataFrame
        One row per image. The columns are the votes for each of FER2013's emotions and `FERPLUS_OTHERS`; ``n``, their
        sum; ``majority``, the answer with the most votes, ``""`` for a tie or without votes; ``agreement``, the
        fraction of votes for the most frequent answer. NaN where FER+ left the image out.

    Raises
    ------
    DataError
        The file is missing or is not a table of votes, or it has none of the images.

    References
    ----------
    E. Barsoum, C. Zhang, C. Canton Ferrer, Z. Zhang, "Training Deep Networks for Facial Expression Recognition with
    Crowd-Sourced Label Distribution", ICMI 2016.
    """
    stems = pd.Series([PurePosixPath(name).stem for name in names], dtype=str)
    try:
        table = pd.read_csv(path, dtype={"file_stem": str})
        if "file_stem" not in table:
            # FER+'s own table: an image that was left out has a row without a name.
            table["file_stem"] = np.where(table["Image name"].notna(), np.arange(len(table), dtype=float), np.nan)
            stems = pd.to_numeric(stems.str.extract(r"_(\d+)$", expand=False))
        # Rows may be repeated, with the same votes.
        table = table.dropna(subset="file_stem").drop_duplicates("file_stem").set_index("file_stem")
        table = table[[*FERPLUS_EMOTIONS, *FERPLUS_OTHERS]].astype(float)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file of FER+ votes.") from None
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is not a table of FER+ votes ({error}).") from None
    votes = table.rename(columns=FERPLUS_EMOTIONS).reindex(stems).reset_index(drop=True)
    if len(votes) and votes.isna().all(axis=None):
        raise DataError(f"{path} has no votes for these images, which have names such as {names[0]}.")
    total, top = votes.sum(axis=1, skipna=False), votes.max(axis=1, skipna=False)
    is_clear = (top > 0) & (votes.eq(top, axis=0).sum(axis=1) == 1)
    majority = votes.fillna(0).idxmax(axis=1).where(is_clear, "")
    return votes.assign(n=total, majority=majority, agreement=top / total.where(total > 0))
