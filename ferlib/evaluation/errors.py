"""Error analysis: wrong predictions, the conditions under which they occur, and wrong labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from ferlib.core.images import to_gray
from ferlib.evaluation.intervals import wilson_interval


def tabulate_predictions(
    names: Sequence[str], y_true: np.ndarray, y_proba: np.ndarray, class_names: Sequence[str]
) -> pd.DataFrame:
    """Return the predictions as a table, one row per image.

    Parameters
    ----------
    names : sequence of str
    y_true : ndarray of shape (n,), dtype int
    y_proba : ndarray of shape (n, n_classes)
    class_names : sequence of str

    Returns
    -------
    DataFrame
        Columns ``file``, ``true``, ``predicted``, ``probability`` (of the predicted emotion), ``probability_of_true``
        and ``correct``.
    """
    classes, y_pred = np.array(class_names), y_proba.argmax(axis=1)
    return pd.DataFrame(
        {
            "file": list(names),
            "true": classes[y_true],
            "predicted": classes[y_pred],
            "probability": y_proba.max(axis=1),
            "probability_of_true": y_proba[np.arange(len(y_true)), y_true],
            "correct": y_pred == y_true,
        }
    )


def measure_image_quality(images: np.ndarray) -> pd.DataFrame:
    """Return brightness, contrast and sharpness of images (n, H, W, C), uint8.

    Returns
    -------
    DataFrame
        One row per image: ``brightness`` and ``contrast`` (mean and standard deviation, in gray levels) and
        ``sharpness`` (variance of the Laplacian divided by the variance of the image; 0 for a blank image).

    References
    ----------
    J. Pech-Pacheco, G. Cristobal, J. Chamorro-Martinez, J. Fernandez-Valdivia, "Diatom Autofocusing in Brightfield
    Microscopy: a Comparative Study", ICPR 2000 (variance of the Laplacian).
    """
    gray = to_gray(images)[..., 0]
    contrast = gray.std(axis=(1, 2))
    edges = np.array([cv2.Laplacian(image, cv2.CV_32F).var() for image in gray], dtype=float)
    sharpness = np.divide(edges, contrast**2, out=np.zeros(len(gray)), where=contrast > 0)
    return pd.DataFrame({"brightness": gray.mean(axis=(1, 2)), "contrast": contrast, "sharpness": sharpness})


def accuracy_by(correct: np.ndarray | pd.Series, groups: pd.Series) -> pd.DataFrame:
    """Return the accuracy in each group of images, with its 95 % interval (Wilson).

    Parameters
    ----------
    correct : ndarray of shape (n,), dtype bool
    groups : Series of length n
        The group of each image; images with a missing group are omitted. Categories keep their order.

    Returns
    -------
    DataFrame
        One row per group that has images: ``n``, ``accuracy``, ``low`` and ``high``.
    """
    rows = {}
    for group, values in pd.Series(np.asarray(correct)).groupby(groups.reset_index(drop=True), observed=True):
        low, high = wilson_interval(int(values.sum()), len(values))
        rows[group] = {"n": len(values), "accuracy": float(values.mean()), "low": low, "high": high}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["n", "accuracy", "low", "high"]).astype({"n": int})


@dataclass(frozen=True, kw_only=True)
class VoteComparison:
    """Which of model and label the majority of raters agrees with, over the `n` images that have a majority.

    Attributes
    ----------
    model_accuracy, label_accuracy : float or None
        Fractions for which the prediction and the label agree with the majority; None for no images.
    errors : int
        Predictions that differ from the label.
    model, label, neither : int
        The errors for which the majority agrees with the prediction, with the label, or with neither.
    """

    n: int
    model_accuracy: float | None
    label_accuracy: float | None
    errors: int
    model: int
    label: int
    neither: int


def compare_with_votes(predictions: pd.DataFrame, votes: pd.DataFrame) -> VoteComparison:
    """Return which of model and label the majority of raters agrees with.

    Parameters
    ----------
    predictions : DataFrame
        From `tabulate_predictions`.
    votes : DataFrame
        From `ferlib.data.votes.read_votes`, for the same images, with the column ``majority`` (``""`` for none).
    """
    majority = votes["majority"].fillna("").to_numpy()
    known = majority != ""
    majority, table = majority[known], predictions[known]
    by_model, by_label = (table["predicted"] == majority), (table["true"] == majority)
    errors = ~table["correct"]
    return VoteComparison(
        n=len(table),
        model_accuracy=float(by_model.mean()) if len(table) else None,
        label_accuracy=float(by_label.mean()) if len(table) else None,
        errors=int(errors.sum()),
        model=int((errors & by_model).sum()),
        label=int((errors & by_label).sum()),
        neither=int((errors & ~by_model & ~by_label).sum()),
    )


def label_issue_agreement(suspects: np.ndarray, labels: np.ndarray, majority: np.ndarray) -> pd.DataFrame:
    """Return how often raters contradict suspected labels, and all labels for comparison.

    Parameters
    ----------
    suspects : ndarray of shape (k,), dtype int
        From `rank_label_issues`.
    labels, majority : ndarray of shape (n,), dtype str
        The emotions that the dataset and most raters chose; images with the majority ``""`` are not counted.

    Returns
    -------
    DataFrame
        Rows ``first 200 suspects``, ``all suspects`` and ``all labels``; columns ``n`` and ``contradicted`` (fraction).
    """
    contradicted = pd.Series(majority != labels, dtype=float).where(majority != "")
    parts = {
        "first 200 suspects": contradicted[suspects[:200]],
        "all suspects": contradicted[suspects],
        "all labels": contradicted,
    }
    rows = {name: {"n": part.count(), "contradicted": part.mean()} for name, part in parts.items()}
    return pd.DataFrame.from_dict(rows, orient="index").astype({"n": int})


def rank_label_issues(y_true: np.ndarray, y_proba: np.ndarray) -> np.ndarray:
    """Return the images with probably wrong labels, most probable first: confident learning.

    A class is confident for an image if its probability reaches the mean over images with that label. An image is a
    candidate if its most probable confident class is not its label. Candidates are ranked by the difference between
    the probabilities of that class and the label.

    Parameters
    ----------
    y_true : ndarray of shape (n,), dtype int
    y_proba : ndarray of shape (n, n_classes)
        Preferably out-of-fold: a model trained on these images has partly memorized their labels.

    Returns
    -------
    ndarray of shape (k,), dtype int
        Row numbers.

    References
    ----------
    C. Northcutt, L. Jiang, I. Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 2021.
    """
    codes = np.arange(y_proba.shape[1])
    own = [y_proba[y_true == code, code] for code in codes]
    thresholds = np.array([values.mean() if len(values) else np.inf for values in own])
    confident = np.where(y_proba >= thresholds, y_proba, -np.inf)
    suggested = confident.argmax(axis=1)
    candidates = np.flatnonzero(np.isfinite(confident.max(axis=1)) & (suggested != y_true))
    margins = y_proba[candidates, suggested[candidates]] - y_proba[candidates, y_true[candidates]]
    return candidates[np.argsort(-margins, kind="stable")]


def group_by_agreement(votes: pd.DataFrame) -> pd.Series:
    """Return how many raters agree on each image of `ferlib.data.votes.read_votes`, as ordered categories.

    Images that FER+ left out, or that at least half of the raters call "no face", are a group of their own.
    """
    labels = ["half or fewer agree", "to 70 % agree", "to 90 % agree", "over 90 % agree"]
    groups = pd.cut(votes["agreement"], [0, 0.5, 0.7, 0.9, 1], labels=labels)
    groups = groups.cat.add_categories(["no face, or left out"])
    groups[votes["n"].isna() | (votes["NF"] >= votes["n"] / 2)] = "no face, or left out"
    return groups


def label_ceiling(votes: pd.DataFrame, class_names: Sequence[str]) -> float:
    """Return the best accuracy that any model could reach if the label were the vote of one random rater.

    This is the mean fraction of votes, as from `ferlib.data.votes.read_votes`, for each image's most frequent emotion
    among the votes for `class_names`.
    """
    counts = votes[list(class_names)].dropna().to_numpy()
    counts = counts[counts.sum(axis=1) > 0]
    return float((counts.max(axis=1) / counts.sum(axis=1)).mean())
