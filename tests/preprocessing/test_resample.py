import numpy as np
import pytest
from imblearn.over_sampling import ADASYN, SMOTE, BorderlineSMOTE

from ferlib.core.errors import FerlibError
from ferlib.preprocessing import resample_images


@pytest.fixture
def unbalanced():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [20, 8, 3])
    # Each class has its own gray level, so that a blend of two classes is detected.
    images = (labels * 80)[:, np.newaxis, np.newaxis, np.newaxis] + rng.integers(0, 40, (31, 6, 5, 1))
    return images.astype(np.uint8), labels


@pytest.mark.parametrize(
    ("strategy", "size"), [("random_over", 20), ("random_under", 3), ("smote", 20), ("smote_features", 20)]
)
def test_classes_become_equal(unbalanced, strategy, size):
    images, labels = resample_images(*unbalanced, strategy, random_state=0)
    np.testing.assert_array_equal(np.bincount(labels), [size] * 3)
    assert images.shape == (3 * size, 6, 5, 1)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images.reshape(len(images), -1).min(axis=1) // 80, labels)


def test_none_returns_the_input(unbalanced):
    images, labels = resample_images(*unbalanced, "none", random_state=0)
    assert images is unbalanced[0]
    assert labels is unbalanced[1]


@pytest.mark.parametrize("strategy", ["random_over", "random_under"])
def test_random_strategies_repeat_or_drop_images(unbalanced, strategy):
    known = {image.tobytes() for image in unbalanced[0]}
    images, _ = resample_images(*unbalanced, strategy, random_state=0)
    assert {image.tobytes() for image in images} <= known


@pytest.fixture
def overlapping():
    """Two overlapping classes."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [60, 20])
    images = rng.normal(100 + labels * 15, 12, (4, 3, 1, 80)).transpose(3, 0, 1, 2)
    return np.clip(images, 0, 255).astype(np.uint8), labels


@pytest.mark.parametrize(
    ("strategy", "theirs"),
    [
        ("smote", SMOTE(random_state=3)),
        ("borderline_smote", BorderlineSMOTE(random_state=3)),
        ("adasyn", ADASYN(random_state=3)),
    ],
)
def test_blends_are_those_of_imbalanced_learn(overlapping, strategy, theirs):
    images, labels = overlapping
    pixels, expected_labels = theirs.fit_resample(images.reshape(80, -1).astype(float), labels)
    made, made_labels = resample_images(images, labels, strategy, random_state=3)
    np.testing.assert_array_equal(made_labels, expected_labels)
    assert np.abs(made.reshape(len(made), -1) - pixels).max() <= 0.51
    np.testing.assert_array_equal(made[:80], images)


def test_smote_features_uses_other_neighbors(drawn_faces):
    train = drawn_faces.select((drawn_faces.splits == "train") & ((drawn_faces.labels != 1) | (np.arange(420) < 100)))
    by_pixels, by_features = (
        resample_images(train.images, train.labels, name, random_state=0)[0] for name in ("smote", "smote_features")
    )
    assert by_pixels.shape == by_features.shape
    assert (by_pixels != by_features).any()


def test_smote_keeps_images_and_blends_within_a_class(unbalanced):
    images, labels = resample_images(*unbalanced, "smote", random_state=0)
    np.testing.assert_array_equal(images[:31], unbalanced[0])
    rare, new = unbalanced[0][unbalanced[1] == 2].astype(int), images[31:][labels[31:] == 2].astype(int)
    assert len({image.tobytes() for image in new} - {image.tobytes() for image in rare}) > 10
    assert (new >= rare.min(axis=0)).all()
    assert (new <= rare.max(axis=0)).all()


def test_random_state_determines_the_result(unbalanced):
    first, again, other = (resample_images(*unbalanced, "smote", random_state=s)[0] for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_impossible_resampling_is_an_error(unbalanced):
    with pytest.raises(FerlibError, match="expected one of none, random_over"):
        resample_images(*unbalanced, "magic", random_state=0)
    images, labels = unbalanced
    with pytest.raises(FerlibError, match="at least two"):
        resample_images(images[:29], labels[:29], "smote", random_state=0)
    # Without neighbors of other classes nothing is hard to learn.
    with pytest.raises(FerlibError, match="adasyn cannot balance classes"):
        resample_images(images[:28], labels[:28], "adasyn", random_state=0)
