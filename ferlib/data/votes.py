"""FER+: what ten raters said about each image of FER2013."""

import os
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from ferlib.core.errors import DataError

#: FER+'s columns that are emotions of FER2013, to the names of these.
FERPLUS_EMOTIONS = {
    "anger": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "happiness": "happy",
    "sadness": "sad",
    "surprise": "surprise",
    "neutral": "neutral",
}

#: The columns that are none of them: contempt, "unknown", and "NF" for no face.
FERPLUS_OTHERS = ("contempt", "unknown", "NF")


def find_votes(path: str | Path | None = None) -> Path | None:
    """Return the file of FER+ votes: the one named, or what the environment's ``FERPLUS_VOTES`` names, or None."""
    chosen = path or os.environ.get("FERPLUS_VOTES") or None
    return None if chosen is None else Path(chosen)


def read_votes(path: str | Path, names: np.ndarray) -> pd.DataFrame:
    """Read the raters' votes for images.

    Parameters
    ----------
    path : path
        FER+'s own ``fer2013new.csv``, whose rows are those of ``fer2013.csv``; or a CSV file with the columns
        ``file_stem``, FER+'s eight emotions, ``unknown`` and ``NF``.
    names : ndarray of shape (n,), dtype str
        The images' names, as `ImageDataset.names` has them; their file stems are looked up, in ``fer2013new.csv`` the
        rows' numbers that they end with, as in ``Training_0000042``.

    Returns
    -------
    DataFrame
        One row an image, by position: votes for each of FER2013's emotions and of `FERPLUS_OTHERS`; ``n`` votes in
        all; ``majority``, the answer with the most votes, or ``""`` where two have as many or nobody voted;
        ``agreement``, its share of the votes. Not-a-number where FER+ left the image out.

    Raises
    ------
    DataError
        The file is missing or is no table of votes, or none of the images is in it.

    References
    ----------
    E. Barsoum, C. Zhang, C. Canton Ferrer, Z. Zhang, "Training Deep Networks for Facial Expression Recognition with
    Crowd-Sourced Label Distribution", ICMI 2016.
    """
    wanted = [*FERPLUS_EMOTIONS, *FERPLUS_OTHERS]
    try:
        table = pd.read_csv(path, dtype={"file_stem": str})
        keys, table = _key_rows(table), table[wanted].astype(float)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file of FER+ votes.") from None
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is no table of FER+ votes ({error}).") from None
    table.index = keys
    # A row may stand there twice, with the same votes.
    table = table[keys.notna() & ~keys.duplicated()]
    stems = pd.Index([PurePosixPath(name).stem for name in names])
    if not pd.api.types.is_string_dtype(keys.dtype):
        stems = pd.Index(pd.to_numeric(stems.str.extract(r"_(\d+)$", expand=False)))
    votes = table.rename(columns=FERPLUS_EMOTIONS).reindex(stems).reset_index(drop=True)
    if len(votes) and votes.isna().all(axis=None):
        raise DataError(f"{path} has no votes for these images; their names are like {names[0]}.")
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


def _key_rows(table: pd.DataFrame) -> pd.Index:
    """Return what tells the rows of a table of votes apart: file stems, or numbers, not-a-number for one without votes.

    Raises
    ------
    KeyError
        The table has neither.
    """
    if "file_stem" in table:
        return pd.Index(table["file_stem"])
    # FER+'s own table: an image that it left out has no name, but keeps its row.
    numbers = np.arange(len(table), dtype=float)
    return pd.Index(np.where(table["Image name"].notna(), numbers, np.nan))


def group_by_agreement(votes: pd.DataFrame) -> pd.Series:
    """Return in words how many raters agree on each image, as ordered categories.

    Parameters
    ----------
    votes : DataFrame
        As from `read_votes`. An image that FER+ left out, or that half the raters call no face, is a group of its own.
    """
    labels = ["half or fewer agree", "to 70 % agree", "to 90 % agree", "over 90 % agree"]
    groups = pd.cut(votes["agreement"], [0, 0.5, 0.7, 0.9, 1], labels=labels)
    groups = groups.cat.add_categories(["no face, or left out"])
    groups[votes["n"].isna() | (votes["NF"] >= votes["n"] / 2)] = "no face, or left out"
    return groups


def label_ceiling(votes: pd.DataFrame, class_names: tuple[str, ...]) -> float:
    """Return the best accuracy that any model could reach if the label of an image were one rater's draw.

    That is the mean share of the most frequent emotion among the votes for emotions that are told apart: even who knew
    what the ten raters say could not foresee which of them is asked.

    Parameters
    ----------
    votes : DataFrame
        As from `read_votes`.
    class_names : tuple of str
    """
    counts = votes[list(class_names)].dropna().to_numpy()
    counts = counts[counts.sum(axis=1) > 0]
    return float((counts.max(axis=1) / counts.sum(axis=1)).mean())
