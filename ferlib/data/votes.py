"""FER+: the votes of ten raters for each image of FER2013."""

import os
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from ferlib.core.errors import DataError

#: FER+'s columns for the emotions of FER2013, mapped to our names.
FERPLUS_EMOTIONS = {
    "anger": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "happiness": "happy",
    "sadness": "sad",
    "surprise": "surprise",
    "neutral": "neutral",
}

#: The other columns: contempt, unknown, and "NF" for no face.
FERPLUS_OTHERS = ("contempt", "unknown", "NF")


def find_votes(path: str | Path | None = None) -> Path | None:
    """Return the file of FER+ votes: `path`, or the one in the environment variable ``FERPLUS_VOTES``, or None."""
    chosen = path or os.environ.get("FERPLUS_VOTES") or None
    return None if chosen is None else Path(chosen)


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
    wanted = [*FERPLUS_EMOTIONS, *FERPLUS_OTHERS]
    try:
        table = pd.read_csv(path, dtype={"file_stem": str})
        keys, table = _row_keys(table), table[wanted].astype(float)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file of FER+ votes.") from None
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is not a table of FER+ votes ({error}).") from None
    table.index = keys
    # Rows may be repeated, with the same votes.
    table = table[keys.notna() & ~keys.duplicated()]
    stems = pd.Index([PurePosixPath(name).stem for name in names])
    if not pd.api.types.is_string_dtype(keys.dtype):
        stems = pd.Index(pd.to_numeric(stems.str.extract(r"_(\d+)$", expand=False)))
    votes = table.rename(columns=FERPLUS_EMOTIONS).reindex(stems).reset_index(drop=True)
    if len(votes) and votes.isna().all(axis=None):
        raise DataError(f"{path} has no votes for these images, which have names such as {names[0]}.")
    answers = list(votes.columns)
    counts = votes.to_numpy()
    total, top = counts.sum(axis=1), counts.max(axis=1)
    clear = (counts == top[:, np.newaxis]).sum(axis=1) == 1
    known = ~np.isnan(total)
    best = np.where(known, np.nan_to_num(counts).argmax(axis=1), 0)
    votes["n"] = total
    votes["majority"] = np.where(known & clear & (top > 0), np.array(answers)[best], "")
    votes["agreement"] = np.where(total > 0, top / np.where(total > 0, total, 1), np.nan)
    return votes


def _row_keys(table: pd.DataFrame) -> pd.Index:
    """Return the keys of the rows: file stems, or row numbers (NaN for one without votes); KeyError for neither."""
    if "file_stem" in table:
        return pd.Index(table["file_stem"])
    # FER+'s own table: an image that was left out has a row without a name.
    numbers = np.arange(len(table), dtype=float)
    return pd.Index(np.where(table["Image name"].notna(), numbers, np.nan))
