"""Targets of a network: labels, a teacher's probabilities, and raters' votes."""

from pathlib import Path

import numpy as np

from ferlib.core.errors import ArtifactError, DataError
from ferlib.core.files import atomic_write
from ferlib.data.votes import FERPLUS_EMOTIONS, FERPLUS_OTHERS, read_votes
from ferlib.runs.calibration import scale_logits
from ferlib.runs.classifier import load_classifier
from ferlib.training.options import TrainingOptions
from ferlib.training.out_of_fold import predict_out_of_fold


def blend_with_teacher(
    images: np.ndarray, one_hot: np.ndarray, class_names: tuple[str, ...], options: TrainingOptions, cache: Path
) -> np.ndarray:
    """Return the labels, float32 (n, n_classes), blended with a teacher's probabilities if there is a teacher.

    `images` are uint8 (n, H, W, C). The file `cache` keeps the teacher's probabilities for a resumed training.

    Raises
    ------
    ArtifactError
        The teacher has other classes.

    References
    ----------
    G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network", 2015.
    """
    if options.teacher is None:
        return one_hot
    if not cache.exists():
        teacher = load_classifier(options.teacher)
        if teacher.class_names != tuple(class_names):
            raise ArtifactError(
                f"The teacher {options.teacher} was trained on the classes {', '.join(teacher.class_names)}, "
                f"not on {', '.join(class_names)}."
            )
        with atomic_write(cache) as path, path.open("wb") as file:
            np.save(file, predict_out_of_fold(teacher, images))
    soft = scale_logits(np.load(cache), 1 / options.distillation_temperature)
    weight = options.distillation_weight
    return (weight * soft + (1 - weight) * one_hot).astype(np.float32)


def vote_targets(
    path: str | Path, names: np.ndarray, class_names: tuple[str, ...], labels: np.ndarray | None = None
) -> np.ndarray:
    """Return the distribution of raters' votes over the classes, float32 (n, n_classes), for images by their names.

    Rows sum to 1. They are zero for images without votes, or with fewer than half of their votes for the classes.

    Raises
    ------
    DataError
        The file is not a table of votes, has none for these images, or lacks one of the classes; or the votes are of
        other images, as the codes `labels` (n,) show.
    """
    unknown = [name for name in class_names if name not in (*FERPLUS_EMOTIONS.values(), *FERPLUS_OTHERS)]
    if unknown:
        raise DataError(f"FER+ has no votes for {', '.join(unknown)}; train without --votes.")
    votes = read_votes(path, names, None if labels is None else np.array(class_names)[labels])
    counts = np.nan_to_num(votes[list(class_names)].to_numpy())
    total = counts.sum(axis=1, keepdims=True)
    clear = (total > 0) & (2 * total >= votes[["n"]].to_numpy())
    return np.where(clear, counts / np.maximum(total, 1), 0).astype(np.float32)


def mean_shares(votes: np.ndarray) -> np.ndarray:
    """Return the share of each class (n_classes,) in the distributions of `vote_targets`, at least 0.001."""
    shares = np.maximum(votes[votes.any(axis=1)].mean(axis=0, dtype=float), 1e-3)
    return np.asarray((shares / shares.sum()).round(6))
