"""The comparison of ways to cut out faces."""

import crop_experiment as experiment
import numpy as np
import pandas as pd
import pytest

from ferlib.core.crops import DEFAULT_CROP
from ferlib.core.emotions import EMOTIONS
from ferlib.faces import Face
from ferlib.runs.prior import TRAINING_PRIOR


class CenterClassifier:
    """The brightness of the center decides between angry (dark) and neutral."""

    class_names, image_size, channels = EMOTIONS, (8, 8), 1

    def predict_proba(self, images):
        bright = images[:, 3:5, 3:5].mean(axis=(1, 2, 3)) / 255
        y_proba = np.full((len(images), 7), 1e-6)
        y_proba[:, 0], y_proba[:, 6] = 1 - bright, bright
        return y_proba / y_proba.sum(axis=1, keepdims=True)


@pytest.fixture
def faces():
    """Return bright faces on dark ground, in the corner of an image; half of the labels are right."""
    image = np.zeros((60, 80, 1), np.uint8)
    image[:20, :10] = 255
    labels = np.array([6, 6, 0, 0])
    return experiment.FaceSet(
        "drawn", [image] * 4, [Face((0, 0, 10, 20), 1.0)] * 4, labels, CenterClassifier(), TRAINING_PRIOR
    )


def test_every_way_classifies_the_same_faces(faces):
    variants = experiment.make_variants()
    table = experiment.compare_crops([faces, faces], variants)
    assert list(table.index) == list(variants)
    assert (table["drawn_n"] == 4).all()
    assert (table["accuracy"] == 0.5).all()
    assert (table["p_value"] == 1).all()


def test_a_worse_way_has_a_small_p_value(faces):
    images, found, labels = faces.images * 5, faces.faces * 5, np.full(20, 6)
    faces = experiment.FaceSet("drawn", images, found, labels, CenterClassifier(), TRAINING_PRIOR)
    default = experiment.name_geometry(DEFAULT_CROP)
    variants = {default: experiment.make_variants()[default], "ground": lambda image, face: image[30:50, 30:50]}
    table = experiment.compare_crops([faces], variants)
    assert table.loc["ground", "difference"] == -1
    assert table.loc["ground", "p_value"] == pytest.approx(2 * 0.5**20)


def test_the_default_is_not_worse_than_what_was_measured():
    table = pd.read_csv(experiment.TABLE, index_col="crop")
    assert experiment.name_geometry(DEFAULT_CROP) in table.index
    better = table[(table["difference"] > 0) & (table["p_value"] < 0.05)]
    assert better.empty
