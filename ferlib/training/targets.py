"""What a network shall answer: the labels, what a teacher says of the same images, and what raters voted."""

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
    images: np.ndarray, one_hot: np.ndarray, class_names: tuple[str, ...], options: TrainingOptions, answers: Path
) -> np.ndarray:
    """Return what a network shall answer: the labels, or a blend with what a teacher says.

    Parameters
    ----------
    images : ndarray of shape (n, H, W, C), dtype uint8
    one_hot : ndarray of shape (n, n_classes), dtype float32
        The labels.
    class_names : tuple of str
    options : TrainingOptions
        Its ``teacher``, ``distillation_weight`` and ``distillation_temperature``.
    answers : Path
        Where the teacher's answers are kept, so that a training that is resumed need not ask again.

    Returns
    -------
    ndarray of shape (n, n_classes), dtype float32

    Raises
    ------
    ArtifactError
        The teacher tells apart other classes.

    References
    ----------
    G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network", 2015.
    """
    if options.teacher is None:
        return one_hot
    if not answers.exists():
        said = _ask_teacher(images, class_names, options)
        answers.parent.mkdir(exist_ok=True)
        with atomic_write(answers) as path, path.open("wb") as file:
            np.save(file, said)
    soft = scale_logits(np.load(answers), 1 / options.distillation_temperature)
    return (options.distillation_weight * soft + (1 - options.distillation_weight) * one_hot).astype(np.float32)


def append_votes(
    targets: np.ndarray, names: np.ndarray, class_names: tuple[str, ...], options: TrainingOptions
) -> np.ndarray:
    """Return the targets and beside them, if there are raters to learn from, the share of their votes for each class.

    Parameters
    ----------
    targets : ndarray of shape (n, n_classes), dtype float32
    names : ndarray of shape (n,), dtype str
        The images' names.
    class_names : tuple of str
    options : TrainingOptions
        Its ``votes``.

    Returns
    -------
    ndarray of shape (n, n_classes) or (n, 2 * n_classes), dtype float32
        The right half is zero, so that it says nothing, for images that are not in the file or that fewer than half
        the raters saw one of the classes in.

    Raises
    ------
    DataError
        The file is no table of votes, has none for these images, or knows nothing of one of the classes.
    """
    if options.votes is None:
        return targets
    strangers = [name for name in class_names if name not in (*FERPLUS_EMOTIONS.values(), *FERPLUS_OTHERS)]
    if strangers:
        raise DataError(f"The raters were not asked for {', '.join(strangers)}; train without votes.")
    votes = read_votes(options.votes, names)
    counts = np.nan_to_num(votes[list(class_names)].to_numpy())
    total = counts.sum(axis=1, keepdims=True)
    clear = (total > 0) & (2 * total >= votes[["n"]].to_numpy())
    shares = np.where(clear, counts / np.maximum(total, 1), 0)
    return np.concatenate([targets, shares.astype(np.float32)], axis=1)


def _ask_teacher(images: np.ndarray, class_names: tuple[str, ...], options: TrainingOptions) -> np.ndarray:
    """Return what a teacher says of all training images, as if it had not seen them: float32 (n, n_classes)."""
    teacher = load_classifier(options.teacher)
    if teacher.class_names != tuple(class_names):
        raise ArtifactError(
            f"{options.teacher} tells apart {', '.join(teacher.class_names)}, not {', '.join(class_names)}."
        )
    return predict_out_of_fold(teacher, images)
