import zipfile
from collections import Counter

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import FerlibError
from ferlib.core.images import decode_image
from ferlib.synthetic.generate import draw_faces, write_synthetic

HAPPY, SURPRISE, NEUTRAL = (EMOTIONS.index(name) for name in ("happy", "surprise", "neutral"))


@pytest.fixture(scope="module")
def faces() -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(840) % 7
    return draw_faces(labels, seed=1), labels


@pytest.fixture(scope="module")
def emotions() -> np.ndarray:
    """Return (7, 30, 48, 48) faces: the same thirty people with each emotion."""
    return np.stack([draw_faces(np.full(30, code), seed=4)[..., 0] for code in range(7)]).astype(float)


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> dict[str, bytes]:
    """Return the files of a sample of 800 training and 70 test images, by name."""
    path = write_synthetic(tmp_path_factory.mktemp("sample") / "synthetic.zip", train_size=800, test_size=70, seed=5)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def faults(sample) -> dict[str, list[str]]:
    """Return the image names in the sample's note, by kind of fault."""
    lines = sample["SYNTHETIC.txt"].decode().split("Deliberate faults")[1].splitlines()[1:]
    return {kind.strip().split(":")[0]: names.split() for kind, names in zip(lines[::2], lines[1::2], strict=True)}


@settings(max_examples=25, deadline=None)
@given(
    labels=st.lists(st.integers(0, 6), max_size=3),
    image_size=st.tuples(st.integers(8, 100), st.integers(8, 100)),
    seed=st.integers(0, 2**63),
)
def test_any_size_and_seed_gives_images_with_contrast(labels, image_size, seed):
    images = draw_faces(np.array(labels, dtype=int), image_size=image_size, seed=seed)
    assert images.shape == (len(labels), *image_size, 1)
    assert images.dtype == np.uint8
    assert all(np.ptp(image) > 10 for image in images)


def test_seed_determines_the_faces(faces):
    images, labels = faces
    np.testing.assert_array_equal(draw_faces(labels[:20], seed=1), images[:20])
    other = draw_faces(labels[:20], seed=2)
    assert all((a != b).any() for a, b in zip(other, images, strict=False))


def test_image_does_not_depend_on_other_images(faces):
    images, labels = faces
    np.testing.assert_array_equal(draw_faces(labels[:3], seed=1), images[:3])
    swapped = labels[:5].copy()
    swapped[:4] = HAPPY
    np.testing.assert_array_equal(draw_faces(swapped, seed=1)[4], images[4])


def test_all_images_differ(faces):
    images, _ = faces
    assert len({image.tobytes() for image in images}) == len(images)


def test_other_label_gives_the_same_person(emotions):
    happy, neutral = emotions[HAPPY], emotions[NEUTRAL]
    same = np.abs(happy - neutral).mean(axis=(1, 2))
    other = np.abs(happy - np.roll(neutral, 1, axis=0)).mean(axis=(1, 2))
    assert (same > 0.2).all()
    assert same.mean() < other.mean() / 3


def test_mean_faces_of_emotions_differ(emotions):
    means = emotions.mean(axis=1)
    distances = np.abs(means[:, np.newaxis] - means).mean(axis=(2, 3))
    assert (distances[~np.eye(7, dtype=bool)] > 0.5).all()
    # An open mouth is dark: surprise has one, a neutral face rarely.
    assert (means[NEUTRAL] - means[SURPRISE])[30:42, 18:30].max() > 20


def _linear_accuracy(features: np.ndarray, labels: np.ndarray, *, train: int) -> float:
    model = make_pipeline(StandardScaler(), RidgeClassifier(alpha=1000.0)).fit(features[:train], labels[:train])
    return model.score(features[train:], labels[train:])


def test_shapes_are_more_informative_than_pixels(faces):
    images, labels = faces
    hog = cv2.HOGDescriptor((48, 48), (16, 16), (8, 8), (8, 8), 9)
    pixels = _linear_accuracy(images.reshape(len(images), -1).astype(np.float32), labels, train=560)
    shapes = _linear_accuracy(np.array([hog.compute(image).ravel() for image in images]), labels, train=560)
    assert 1.5 / 7 < pixels < 0.55
    assert pixels + 0.1 < shapes < 0.95


@pytest.mark.parametrize("labels", [[7], [-1], [0.5], [[0, 1]]])
def test_invalid_label_is_an_error(labels):
    with pytest.raises(ValueError, match="codes 0 to 6"):
        draw_faces(np.array(labels), seed=0)


def test_too_small_image_is_an_error():
    with pytest.raises(ValueError, match="at least 8"):
        draw_faces(np.array([0]), image_size=(48, 4), seed=0)


def test_sample_has_the_layout_of_fer2013(sample):
    assert sample["SYNTHETIC.txt"].startswith(b"SYNTHETIC")
    images = [name.split("/") for name in sample if name.endswith(".png")]
    assert Counter(split for split, _, _ in images) == {"train": 800, "test": 70}
    for split in ("train", "test"):
        counts = Counter(emotion for part, emotion, _ in images if part == split)
        assert set(counts) == set(EMOTIONS)
        assert max(counts, key=counts.get) == "happy"
        assert min(counts, key=counts.get) == "disgust"


def test_sample_contains_the_drawn_faces(sample, faults):
    faulty = {name for names in faults.values() for name in names}
    sound = {int(name[-9:-4]): name for name in sample if name.startswith("train/") and name not in faulty}
    labels = np.array([EMOTIONS.index(sound[i].split("/")[1]) if i in sound else 0 for i in range(80)])
    drawn = draw_faces(labels, seed=5)
    for i in sound.keys() & set(range(80)):
        np.testing.assert_array_equal(decode_image(sample[sound[i]]), drawn[i], err_msg=sound[i])


def test_note_lists_blank_images_and_copies(sample, faults):
    images = {name: data for name, data in sample.items() if name.startswith("train/")}
    assert faults["blank images"] == [name for name, data in images.items() if np.ptp(decode_image(data)) == 0]
    copies = faults["exact copies of another training image"]
    times = Counter(images.values())
    assert [times[images[name]] for name in copies] == [2, 2, 2, 2]
    assert len(images) - len(times) == len(copies)


def test_note_lists_test_images_that_are_in_train(sample, faults):
    train = {data for name, data in sample.items() if name.startswith("train/")}
    leaked = [name for name, data in sample.items() if name.startswith("test/") and data in train]
    assert len(leaked) == 70 // 14
    assert faults["test images that are exact copies of a training image"] == sorted(leaked, key=lambda name: name[-9:])


def test_note_lists_conflicting_and_wrong_labels(sample, faults):
    (conflicting,) = faults["of these copies, with another label than the original"]
    assert (
        len({name.split("/")[1] for name, data in sample.items() if data == sample[conflicting] and "train" in name})
        == 2
    )
    assert len(faults["wrong labels"]) == 8
    name = faults["wrong labels"][0]
    number = int(name[-9:-4])
    as_labeled = draw_faces(np.full(number + 1, EMOTIONS.index(name.split("/")[1])), seed=5)[number]
    assert (decode_image(sample[name]) != as_labeled).any()


def test_sample_depends_only_on_the_arguments(tmp_path):
    first, second, other = (
        write_synthetic(tmp_path / name, train_size=10, test_size=7, seed=seed).read_bytes()
        for name, seed in (("a.zip", 3), ("b.zip", 3), ("c.zip", 4))
    )
    assert first == second != other


def test_sample_replaces_an_existing_file(tmp_path):
    (tmp_path / "s.zip").write_text("old")
    path = write_synthetic(str(tmp_path / "s.zip"), train_size=7, test_size=7)
    assert zipfile.is_zipfile(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.zip"]


def test_unwritable_path_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FerlibError, match="cannot be written"):
        write_synthetic(tmp_path / "file" / "s.zip", train_size=7, test_size=7)


def test_too_small_sample_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="at least 7"):
        write_synthetic(tmp_path / "s.zip", train_size=100, test_size=6)
