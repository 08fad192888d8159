"""What a model says of the images that it learned from, had it not seen them."""

import hashlib
from pathlib import Path

import numpy as np

from ferlib.core.console import progress_bar
from ferlib.core.files import atomic_write
from ferlib.core.images import fit_to_model
from ferlib.runs.classifier import Classifier, Ensemble
from ferlib.runs.folder import OUT_OF_FOLD


def write_out_of_fold(run_dir: str | Path, images: np.ndarray, probabilities: np.ndarray) -> None:
    """Keep in a run's folder what its model would say of training images had they been left out.

    Parameters
    ----------
    run_dir : path
    images : ndarray of shape (n, H, W, C), dtype uint8
        As the model takes them.
    probabilities : ndarray of shape (n, n_classes)
    """
    with atomic_write(Path(run_dir) / OUT_OF_FOLD) as path, path.open("wb") as file:
        np.savez(file, digests=np.array(_digest(images)), probabilities=probabilities.astype(np.float16))


def predict_out_of_fold(classifier: Classifier, images: np.ndarray) -> np.ndarray:
    """Return a classifier's probabilities, float32 (n, n_classes), of images that it may have learned from.

    What a model has learned by heart teaches nothing beyond the labels: of images whose left-out answers are in the
    run's folder, or in that of an ensemble's member, these are taken.

    Parameters
    ----------
    classifier : Classifier
    images : ndarray of shape (n, H, W, C), dtype uint8
    """
    if isinstance(classifier, Ensemble):
        members = [predict_out_of_fold(member, images) for member in classifier.members]
        return classifier.calibrate(np.mean(members, axis=0, dtype=np.float32))
    probabilities = np.empty((len(images), len(classifier.class_names)), np.float32)
    unknown = np.ones(len(images), bool)
    path = classifier.run.path / OUT_OF_FOLD
    if path.exists():
        with np.load(path) as kept:
            rows = {digest: row for row, digest in enumerate(kept["digests"])}
            answers = kept["probabilities"].astype(np.float32)
        fitted = fit_to_model(images, image_size=classifier.image_size, channels=classifier.channels)
        found = np.array([rows.get(digest, -1) for digest in _digest(fitted)])
        unknown = found < 0
        probabilities[~unknown] = classifier.calibrate(answers[found[~unknown]])
    asked = np.flatnonzero(unknown)
    for start in progress_bar(range(0, len(asked), 256), desc=f"ask the teacher ({classifier.name})", unit="batch"):
        batch = asked[start : start + 256]
        probabilities[batch] = classifier.predict_proba(images[batch])
    return probabilities


def _digest(images: np.ndarray) -> list[str]:
    """Return a hash of each image's pixels."""
    return [hashlib.blake2b(np.ascontiguousarray(image), digest_size=16).hexdigest() for image in images]
