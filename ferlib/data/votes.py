"""FER+: the votes of ten raters for each image of FER2013."""

import logging
import os
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import DataError
from ferlib.data.dataset import ImageDataset

logger = logging.getLogger(__name__)

#: FER+'s columns for the emotions of FER2013, mapped to our names.
FERPLUS_EMOTIONS = dict(
    zip(("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"), EMOTIONS, strict=True)
)

# From this number of images on, the votes have to agree with this share of the labels.
_MIN_CHECKED, _MIN_AGREEMENT = 30, 0.4

#: The other columns: contempt, unknown, and "NF" for no face.
FERPLUS_OTHERS = ("contempt", "unknown", "NF")

#: The environment variable that names the file of votes.
VOTES_VARIABLE = "FERPLUS_VOTES"


def find_votes(path: str | Path | None = None) -> Path | None:
    """Return the file of FER+ votes: `path`, or the one in the environment variable ``FERPLUS_VOTES``, or None."""
    chosen = path or os.environ.get(VOTES_VARIABLE)
    return Path(chosen) if chosen else None


def votes_for(path: str | Path | None, dataset: ImageDataset) -> pd.DataFrame | None:
    """Return the votes for a dataset's images as `read_votes` does, or None, after logging why, if there are none.

    The reasons are that there is no file, that the images are not FER2013's, or that nothing proves which votes belong
    to which image.
    """
    if path is None or "FER2013" not in dataset.info.title:
        logger.warning("There are no FER+ votes for these images.")
        return None
    try:
        return read_votes(path, dataset.names, np.array(dataset.class_names)[dataset.labels])
    except DataError as error:
        logger.warning("%s No votes are used.", error)
        return None


def read_votes(path: str | Path, names: np.ndarray, emotions: np.ndarray | None = None) -> pd.DataFrame:
    """Read the FER+ votes for images whose names prove which votes are theirs.

    A number of seven digits at the end of a name (``Training_0000042``, ``fer0000042``) is FER+'s, unless other images
    of the dataset have other numbers, as in Kaggle's copy (``Training_3908``), or the raters contradict most labels.

    Parameters
    ----------
    path : path
        FER+'s own ``fer2013new.csv``, whose rows correspond to those of ``fer2013.csv``; or a CSV with the columns
        ``file_stem``, FER+'s eight emotions, ``unknown`` and ``NF``.
    names : ndarray of shape (n,), dtype str
        The images' names, as in `ImageDataset.names`. Their file stems are looked up; in ``fer2013new.csv``, the row
        numbers at their ends, as in ``Training_0000042``.
    emotions : ndarray of shape (n,), dtype str, optional
        The images' labels, with which the match is checked.

    Returns
    -------
    DataFrame
        One row per image. The columns are the votes for each of FER2013's emotions and `FERPLUS_OTHERS`; ``n``, their
        sum; ``majority``, the answer with the most votes, ``""`` for a tie or without votes; ``agreement``, the
        fraction of votes for the most frequent answer. NaN where FER+ left the image out.

    Raises
    ------
    DataError
        The file is missing or is not a table of votes, it has none of the images, or the match is not proven.

    References
    ----------
    E. Barsoum, C. Zhang, C. Canton Ferrer, Z. Zhang, "Training Deep Networks for Facial Expression Recognition with
    Crowd-Sourced Label Distribution", ICMI 2016.
    """
    stems = pd.Series([PurePosixPath(name).stem for name in names], dtype=str)
    usages = stems.str.extract(r"^(Training|PublicTest|PrivateTest)_", expand=False)
    foreign = stems[usages.notna() & ~stems.str.fullmatch(r"[A-Za-z]+_\d{7}")]
    if len(foreign):
        raise DataError(
            f"{path}: names such as {foreign.iloc[0]} do not have FER+'s image numbers, which have seven digits."
        )
    try:
        table = pd.read_csv(path, dtype={"file_stem": str})
        if "file_stem" not in table:
            # FER+'s own table: an image that was left out has a row without a name.
            table["file_stem"] = np.where(table["Image name"].notna(), np.arange(len(table), dtype=float), np.nan)
            stems = pd.to_numeric(stems.str.extract(r"^(?:fer|[A-Za-z]+_)(\d{7})$", expand=False))
        # Rows may be repeated, with the same votes.
        table = table.dropna(subset="file_stem").drop_duplicates("file_stem").set_index("file_stem")
        own_usages = table["Usage"].reindex(stems).to_numpy() if "Usage" in table else None
        table = table[[*FERPLUS_EMOTIONS, *FERPLUS_OTHERS]].astype(float)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file of FER+ votes.") from None
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is not a table of FER+ votes ({error}).") from None
    votes = table.rename(columns=FERPLUS_EMOTIONS).reindex(stems).reset_index(drop=True)
    if len(votes) and votes.isna().all(axis=None):
        raise DataError(f"{path} has no votes for these images, which have names such as {names[0]}.")
    if own_usages is not None:
        named = usages.notna().to_numpy() & pd.notna(own_usages)
        if (usages.to_numpy()[named] != own_usages[named]).any():
            raise DataError(
                f"{path}: the image numbers are not FER+'s, because images of other usages have them there."
            )
    total, top = votes.sum(axis=1, skipna=False), votes.max(axis=1, skipna=False)
    is_clear = (top > 0) & (votes.eq(top, axis=0).sum(axis=1) == 1)
    majority = votes.fillna(0).idxmax(axis=1).where(is_clear, "")
    _check_agreement(path, majority.to_numpy(), emotions)
    return votes.assign(n=total, majority=majority, agreement=top / total.where(total > 0))


def _check_agreement(path: str | Path, majority: np.ndarray, emotions: np.ndarray | None) -> None:
    """Raise if the raters' answers, str (n,), "" for none, contradict most labels, str (n,)."""
    if emotions is None:
        return
    known = np.isin(majority, EMOTIONS)
    # FER+ agrees with about two thirds of FER2013's labels, and votes of other images with about a fifth.
    if known.sum() >= _MIN_CHECKED and (share := (majority == emotions)[known].mean()) < _MIN_AGREEMENT:
        raise DataError(
            f"{path}: the votes agree with only {share:.0%} of the labels, so they are not of these images."
        )
