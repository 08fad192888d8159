"""Leave-one-out predictions on the training set, used as distillation targets.

A model that has memorized its training images gives almost one-hot probabilities for them, which teach a student
nothing beyond the labels. Models that can compute leave-one-out probabilities store them in their run folder.
"""

import hashlib

import numpy as np

from ferlib.core.files import atomic_write
from ferlib.core.images import fit_to_model
from ferlib.runs.classifier import Classifier, Ensemble
from ferlib.runs.folder import OUT_OF_FOLD, Run


def write_out_of_fold(run: Run, images: np.ndarray, probabilities: np.ndarray) -> None:
    """Store a model's leave-one-out probabilities for its training images.

    `images` are in the model's format, uint8 (n, H, W, C); `probabilities` have shape (n, n_classes).
    """
    with atomic_write(run.path / OUT_OF_FOLD) as path, path.open("wb") as file:
        np.savez(file, digests=np.array(_digests(images)), probabilities=probabilities.astype(np.float16))


def predict_out_of_fold(classifier: Classifier, images: np.ndarray) -> np.ndarray:
    """Return a classifier's probabilities, out-of-fold ones for images that are stored in its run folder.

    For an ensemble, each member's own out-of-fold probabilities are averaged. `images` are uint8 of shape
    (n, H, W, C), the probabilities float32 of shape (n, n_classes).
    """
    if isinstance(classifier, Ensemble):
        members = [predict_out_of_fold(member, images) for member in classifier.members]
        return classifier.calibrate(np.stack(members).mean(axis=0, dtype=np.float32))
    path = classifier.run.path / OUT_OF_FOLD
    if not path.exists():
        return classifier.predict_proba(images, progress=True)
    with np.load(path) as stored:
        rows = {digest: row for row, digest in enumerate(stored["digests"])}
        out_of_fold = stored["probabilities"].astype(np.float32)
    fitted = fit_to_model(images, image_size=classifier.image_size, channels=classifier.channels)
    found = np.array([rows.get(digest, -1) for digest in _digests(fitted)])
    probabilities = np.empty((len(images), len(classifier.class_names)), np.float32)
    probabilities[found >= 0] = classifier.calibrate(out_of_fold[found[found >= 0]])
    probabilities[found < 0] = classifier.predict_proba(images[found < 0], progress=True)
    return probabilities


def _digests(images: np.ndarray) -> list[str]:
    """Return a hash of each image's pixels."""
    return [hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest() for image in images]
