"""Which answers are wrong, under which conditions, and whether the model or the label is to blame."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pandas as pd

from ferlib.core.images import to_gray
from ferlib.evaluation.intervals import wilson_interval


def tabulate_predictions(
    names: Sequence[str], y_true: np.ndarray, y_proba: np.ndarray, class_names: Sequence[str]
) -> pd.DataFrame:
    """Return one row an image: what it is labelled, what the model says, and how sure it is.

    Parameters
    ----------
    names : sequence of str
        The images' files.
    y_true : ndarray of shape (n,), dtype int
    y_proba : ndarray of shape (n, n_classes)
    class_names : sequence of str

    Returns
    -------
    DataFrame
        Columns ``file``, ``true``, ``predicted``, ``probability`` (of the predicted emotion), ``probability_of_true``
        and ``right``.
    """
    classes, y_pred = np.array(class_names), y_proba.argmax(axis=1)
    return pd.DataFrame(
        {
            "file": list(names),
            "true": classes[y_true],
            "predicted": classes[y_pred],
            "probability": y_proba.max(axis=1),
            "probability_of_true": y_proba[np.arange(len(y_true)), y_true],
            "right": y_pred == y_true,
        }
    )


def measure_image_quality(images: np.ndarray) -> pd.DataFrame:
    """Return what can be measured of images without knowing what they show.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C), dtype uint8

    Returns
    -------
    DataFrame
        One row an image: ``brightness`` and ``contrast`` (mean and standard deviation, in gray levels) and
        ``sharpness`` (the variance of the Laplacian divided by that of the image; 0 for a blank one).

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


def accuracy_by(right: np.ndarray, groups: Sequence[Any] | pd.Series) -> pd.DataFrame:
    """Return the accuracy in each group of images, with its 95 % interval (Wilson).

    Parameters
    ----------
    right : ndarray of shape (n,), dtype bool
    groups : sequence of length n
        The group of each image; images whose group is missing are left out. Categories keep their order.

    Returns
    -------
    DataFrame
        One row a group that has images: ``n``, ``accuracy``, ``low`` and ``high``.
    """
    groups = groups if isinstance(groups, pd.Series) else pd.Series(groups)
    counts = pd.Series(np.asarray(right, dtype=bool)).groupby(groups.reset_index(drop=True), observed=True)
    rows = {}
    for group, values in counts:
        low, high = wilson_interval(int(values.sum()), len(values))
        rows[group] = {"n": len(values), "accuracy": float(values.mean()), "low": low, "high": high}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["n", "accuracy", "low", "high"]).astype({"n": int})


def compare_with_votes(answers: pd.DataFrame, votes: pd.DataFrame) -> dict[str, Any]:
    """Return whom several raters agree with where model and label differ.

    Parameters
    ----------
    answers : DataFrame
        As from `tabulate_predictions`.
    votes : DataFrame
        As from `ferlib.data.votes.read_votes`, of the same images: ``majority``, ``""`` where there is none.

    Returns
    -------
    dict
        ``n``, the images with a majority; ``model_accuracy`` and ``label_accuracy``, the shares of them for which
        model and label say what the majority says; of the model's ``errors`` among them, how many times the majority
        sides with the ``model``, with the ``label``, and with ``neither``.
    """
    majority = votes["majority"].fillna("").to_numpy()
    known = majority != ""
    errors = known & ~answers["right"].to_numpy()
    with_model = errors & (answers["predicted"].to_numpy() == majority)
    with_label = errors & (answers["true"].to_numpy() == majority)
    return {
        "n": int(known.sum()),
        "model_accuracy": float((answers["predicted"].to_numpy() == majority)[known].mean()) if known.any() else None,
        "label_accuracy": float((answers["true"].to_numpy() == majority)[known].mean()) if known.any() else None,
        "errors": int(errors.sum()),
        "model": int(with_model.sum()),
        "label": int(with_label.sum()),
        "neither": int((errors & ~with_model & ~with_label).sum()),
    }


def label_issue_agreement(suspects: np.ndarray, labels: np.ndarray, majority: np.ndarray) -> pd.DataFrame:
    """Return how often raters contradict the labels that are doubted, and all labels for comparison.

    Parameters
    ----------
    suspects : ndarray of shape (k,), dtype int
        As from `rank_label_issues`.
    labels : ndarray of shape (n,), dtype str
        What the images are labelled.
    majority : ndarray of shape (n,), dtype str
        What most raters say; ``""`` where there is no such answer, and the image does not count.

    Returns
    -------
    DataFrame
        Rows ``first 200 suspects``, ``all suspects`` and ``all labels``; columns ``n`` and ``contradicted`` (fraction).
    """
    parts = {"first 200 suspects": suspects[:200], "all suspects": suspects, "all labels": np.arange(len(labels))}
    rows = {}
    for name, chosen in parts.items():
        voted = chosen[majority[chosen] != ""]
        share = float((majority[voted] != labels[voted]).mean()) if len(voted) else np.nan
        rows[name] = {"n": len(voted), "contradicted": share}
    return pd.DataFrame.from_dict(rows, orient="index").astype({"n": int})


def rank_label_issues(y_true: np.ndarray, y_proba: np.ndarray) -> np.ndarray:
    """Return the images whose labels are likely to be wrong, the likeliest first: confident learning.

    An image is a candidate when the model gives another class more than it gives that class's own images on
    average, and more than any other such class; candidates are ranked by how much more than to their label.

    Parameters
    ----------
    y_true : ndarray of shape (n,), dtype int
        The labels that are doubted.
    y_proba : ndarray of shape (n, n_classes)
        Best from a model that was not trained on these images; one that was has begun to believe the labels.

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
