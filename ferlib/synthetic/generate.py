"""A synthetic sample of faces drawn from parameters, for machines that have no data set at hand."""

import zipfile
from pathlib import Path

import cv2
import numpy as np

from ferlib.core.console import progress_bar
from ferlib.core.emotions import EMOTIONS
from ferlib.core.files import atomic_write
from ferlib.synthetic import SYNTHETIC_NOTE
from ferlib.synthetic.drawing import draw_face

# Shares of the emotions in the order of their codes, close to FER2013's: happy leads, disgust is rare.
_SHARES = (0.14, 0.02, 0.14, 0.25, 0.17, 0.11, 0.17)

# Faults of the training part, as real data sets have them: one in so many images.
_ONE_BLANK_IN, _ONE_COPY_IN, _ONE_WRONG_IN = 700, 200, 100

# Of so many copies one is filed under another emotion than its original.
_ONE_CONFLICT_IN = 4

_NOTE = """SYNTHETIC faces, drawn by ferlib from parameters. No person is shown.

They exist so that every step runs on a machine without a data set. Results on them say that the code works; they say
nothing about emotions, about people, or about how a model does on photographs.

{train} training and {test} test images, gray PNG of 48 x 48 pixels, seed {seed}.

Faults put into the training part on purpose, for an audit to find:
{faults}
"""


def draw_faces(labels: np.ndarray, *, image_size: tuple[int, int] = (48, 48), seed: int) -> np.ndarray:
    """Draw one face a label: people, poses, light and strength of the expression vary, so that emotions overlap.

    Each face shows the facial action units that are usual for its emotion, from barely to fully. Image `i` depends
    on its label, its number `i` and the seed alone, not on how many are drawn.

    Parameters
    ----------
    labels : ndarray of shape (n,), dtype int
        Codes 0 to 6 into ``EMOTIONS``.
    image_size : tuple of int
        Height and width in pixels, at least 8 each.
    seed : int
        Not negative. The same seed draws the same people; with another label, the same person in another mood.

    Returns
    -------
    ndarray of shape (n, *image_size, 1), dtype uint8
        Gray, 0 to 255.

    Raises
    ------
    ValueError
        A label is no code of an emotion, or the size is too small.

    References
    ----------
    P. Ekman and W. V. Friesen, "Facial Action Coding System", Consulting Psychologists Press, 1978.

    S. Du, Y. Tao and A. M. Martinez, "Compound facial expressions of emotion", Proceedings of the National Academy of
    Sciences 111 (15), 2014.

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
    # Below a thousand faces it is over within two seconds or so.
    for i, code in enumerate(progress_bar(labels, desc="Drawing faces", unit="face", disable=len(labels) < 1000)):
        images[i, :, :, 0] = draw_face(EMOTIONS[int(code)], tuple(image_size), np.random.default_rng([seed, i]))
    return images


def write_synthetic(path: str | Path, *, train_size: int = 2800, test_size: int = 700, seed: int = 0) -> Path:
    """Write a zip of drawn faces in FER2013's folder layout, with a few faults in its training part.

    It holds ``train/<emotion>/<number>.png``, ``test/<emotion>/<number>.png`` and a note, ``SYNTHETIC.txt``, which
    names the blank images, exact copies and wrong labels. The same arguments give the same bytes.

    Parameters
    ----------
    path : str or Path
        Where the zip goes; its folder is made, and an old file replaced, once all is written.
    train_size, test_size : int
        Numbers of images, at least 7 each. The emotions' shares are about FER2013's.
    seed : int
        Not negative.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    ValueError
        A size is under 7.
    FerlibError
        The file cannot be written.
    """
    if min(train_size, test_size) < len(EMOTIONS):
        raise ValueError(f"expected at least {len(EMOTIONS)} images a split, got {train_size} and {test_size}")
    # No image number is as large as this, so the order of the images has a stream of its own.
    rng = np.random.default_rng([seed, 2**32 - 1])
    labels = np.concatenate([_share_out(train_size, rng), _share_out(test_size, rng)])
    images = draw_faces(labels, seed=seed)
    faults = _add_faults(images[:train_size], labels[:train_size], rng)
    names = [
        f"{'train' if i < train_size else 'test'}/{EMOTIONS[code]}/{i:05d}.png"
        for i, code in enumerate(labels.tolist())
    ]
    lines = [f"  {what}: {len(which)}\n    {' '.join(names[i] for i in which)}" for what, which in faults.items()]
    note = _NOTE.format(train=train_size, test=test_size, seed=seed, faults="\n".join(lines))
    with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        _add_entry(archive, SYNTHETIC_NOTE, note.encode())
        for name, image in sorted(zip(names, images, strict=True), key=lambda pair: pair[0]):
            _add_entry(archive, name, cv2.imencode(".png", image)[1].tobytes())
    return Path(path)


def _share_out(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return `size` shuffled labels with the emotions' shares, every emotion at least once."""
    exact = np.array(_SHARES) * (size - len(EMOTIONS))
    counts = 1 + np.floor(exact).astype(int)
    most_wanting = np.argsort(np.floor(exact) - exact, kind="stable")
    counts[most_wanting[: size - counts.sum()]] += 1
    return rng.permutation(np.repeat(np.arange(len(EMOTIONS)), counts))


def _add_faults(images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> dict[str, list[int]]:
    """Spoil some of the images (n, H, W, 1) and labels (n,) in place; return which, by kind of fault."""
    n = len(images)
    blanks, copies, wrong = n // _ONE_BLANK_IN, n // _ONE_COPY_IN, n // _ONE_WRONG_IN
    blank, copy, original, mislabelled, _ = np.split(rng.permutation(n), np.cumsum([blanks, copies, copies, wrong]))
    # Each blank has a gray of its own, so that no two are copies of each other.
    images[blank] = np.linspace(0, 255, blanks).astype(np.uint8)[:, np.newaxis, np.newaxis, np.newaxis]
    images[copy], labels[copy] = images[original], labels[original]
    conflicting = copy[: copies // _ONE_CONFLICT_IN]
    for i in np.concatenate([conflicting, mislabelled]):
        others = np.where(np.arange(len(EMOTIONS)) == labels[i], 0.0, _SHARES)
        labels[i] = rng.choice(len(EMOTIONS), p=others / others.sum())
    return {
        "blank images": sorted(blank.tolist()),
        "exact copies of another training image": sorted(copy.tolist()),
        "of these copies, filed under another emotion than the original": sorted(conflicting.tolist()),
        "wrong labels": sorted(mislabelled.tolist()),
    }


def _add_entry(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Add a file to a zip with a fixed date, system and mode, so that the zip's bytes depend on its content only."""
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system, entry.external_attr = 3, 0o644 << 16
    archive.writestr(entry, data)
