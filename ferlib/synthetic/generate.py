"""Draw many faces, and write them as a dataset with deliberate faults."""

from pathlib import Path

import cv2
import numpy as np

from ferlib.core.apportion import apportion
from ferlib.core.console import progress_bar
from ferlib.core.emotions import EMOTIONS
from ferlib.core.files import atomic_write, write_zip
from ferlib.synthetic import SYNTHETIC_NOTE
from ferlib.synthetic.drawing import draw_face

# Fractions of the emotions in the order of their codes, close to FER2013's; disgust has 1.5 % there, which would leave
# a small sample with hardly any.
_SHARES = (0.14, 0.04, 0.14, 0.24, 0.17, 0.11, 0.16)

# Faults of the training split, as in real datasets: one in so many images. One in four copies has a different label.
_BLANK_EVERY, _COPY_EVERY, _WRONG_EVERY, _CONFLICT_EVERY = 700, 200, 100, 4

# One in so many test images is a copy of a training image, as in FER2013 (280 of 3,589).
_LEAK_EVERY = 14

_NOTE = """SYNTHETIC faces, drawn by ferlib from parameters. No person is shown.

They exist so that every step runs on a machine without a dataset. Results on them show that the code works. They show
nothing about emotions, about people, or about how well a model works on photographs.

{train} training and {test} test images, gray PNG of 48 x 48 pixels, seed {seed}.

Deliberate faults, for an audit to find:
{faults}
"""


def draw_faces(labels: np.ndarray, *, image_size: tuple[int, int] = (48, 48), seed: int) -> np.ndarray:
    """Draw one face per label; people, poses, light and strength of the expression vary, so that emotions overlap.

    Each face shows the facial action units that are usual for its emotion, from weak to strong. Image `i` depends only
    on its label, on `i` and on the seed, which is not negative: another label draws the same person with another
    emotion. The labels (n,) are codes 0 to 6 into ``EMOTIONS``; height and width are at least 8 pixels. The images are
    gray, uint8 of shape (n, height, width, 1).

    Examples
    --------
    >>> draw_faces(np.array([3, 0]), seed=0).shape
    (2, 48, 48, 1)
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or (labels.size and not np.isin(labels, range(len(EMOTIONS))).all()):
        raise ValueError(f"expected labels of shape (n,) with codes 0 to {len(EMOTIONS) - 1}, got {labels!r}")
    if min(image_size) < 8:
        raise ValueError(f"expected an image_size of at least 8 x 8 pixels, got {image_size}")
    images = np.empty((len(labels), *image_size, 1), np.uint8)
    # A thousand faces take about two seconds.
    for i, code in enumerate(progress_bar(labels, desc="Drawing faces", unit="face", disable=len(labels) < 1000)):
        images[i, :, :, 0] = draw_face(EMOTIONS[int(code)], image_size, np.random.default_rng([seed, i]))
    return images


def write_synthetic(path: str | Path, *, train_size: int = 2800, test_size: int = 700, seed: int = 0) -> Path:
    """Write a zip of drawn faces in FER2013's folder layout, with a few faults.

    It contains ``train/<emotion>/<number>.png``, ``test/<emotion>/<number>.png`` and ``SYNTHETIC.txt``, which lists
    the blank images, exact copies, wrong labels and copies of training images in test. The same arguments give the
    same bytes. Each split has at least 7 images; the fractions of the emotions are about FER2013's.
    """
    if min(train_size, test_size) < len(EMOTIONS):
        raise ValueError(f"expected at least {len(EMOTIONS)} images per split, got {train_size} and {test_size}")
    # No image number is as large as this, so these random numbers are independent of those of the faces.
    rng = np.random.default_rng([seed, 2**32 - 1])
    labels = np.concatenate([_sample_labels(train_size, rng), _sample_labels(test_size, rng)])
    images = draw_faces(labels, seed=seed)
    faults = _add_faults(images[:train_size], labels[:train_size], rng)
    faults["test images that are exact copies of a training image"] = _add_leaks(images, labels, train_size, rng)
    splits = ["train"] * train_size + ["test"] * test_size
    names = [f"{splits[i]}/{EMOTIONS[code]}/{i:05d}.png" for i, code in enumerate(labels)]
    lines = [f"  {what}: {len(which)}\n    {' '.join(names[i] for i in which)}" for what, which in faults.items()]
    note = _NOTE.format(train=train_size, test=test_size, seed=seed, faults="\n".join(lines))
    files = {name: cv2.imencode(".png", image)[1].tobytes() for name, image in zip(names, images, strict=True)}
    with atomic_write(path) as temporary:
        write_zip(temporary, [(SYNTHETIC_NOTE, note.encode()), *sorted(files.items())])
    return Path(path)


def _sample_labels(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return `size` shuffled labels with the fractions of the emotions, every emotion at least once."""
    return rng.permutation(np.repeat(np.arange(len(EMOTIONS)), apportion(size, _SHARES, minimum=1)))


def _add_faults(images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> dict[str, list[int]]:
    """Add faults to images (n, H, W, 1) and labels (n,) in place; return the affected rows by kind of fault."""
    n = len(images)
    n_blank, n_copies, n_wrong = n // _BLANK_EVERY, n // _COPY_EVERY, n // _WRONG_EVERY
    bounds = np.cumsum([n_blank, n_copies, n_copies, n_wrong])
    blank, copy, original, mislabeled, _ = np.split(rng.permutation(n), bounds)
    # Each blank image has its own gray level, so that no two are identical.
    images[blank] = np.linspace(0, 255, n_blank).astype(np.uint8)[:, np.newaxis, np.newaxis, np.newaxis]
    images[copy], labels[copy] = images[original], labels[original]
    conflicting = copy[: n_copies // _CONFLICT_EVERY]
    for i in np.concatenate([conflicting, mislabeled]):
        others = np.where(np.arange(len(EMOTIONS)) == labels[i], 0.0, _SHARES)
        labels[i] = rng.choice(len(EMOTIONS), p=others / others.sum())
    return {
        "blank images": sorted(blank.tolist()),
        "exact copies of another training image": sorted(copy.tolist()),
        "of these copies, with another label than the original": sorted(conflicting.tolist()),
        "wrong labels": sorted(mislabeled.tolist()),
    }


def _add_leaks(images: np.ndarray, labels: np.ndarray, train_size: int, rng: np.random.Generator) -> list[int]:
    """Replace some test images (the rows from `train_size`) by training images in place; return their rows."""
    n_leaks = (len(images) - train_size) // _LEAK_EVERY
    sound = np.flatnonzero(images[:train_size].std(axis=(1, 2, 3)))
    test_rows = rng.choice(np.arange(train_size, len(images)), n_leaks, replace=False)
    train_rows = rng.choice(sound, n_leaks, replace=False)
    images[test_rows], labels[test_rows] = images[train_rows], labels[train_rows]
    return sorted(test_rows.tolist())
