"""Targets from labels, teachers and votes."""

import numpy as np
import pandas as pd
import pytest

from ferlib.core.errors import ArtifactError
from ferlib.data.votes import FERPLUS_EMOTIONS, FERPLUS_OTHERS
from ferlib.runs.classifier import load_classifier
from ferlib.training import TrainingOptions
from ferlib.training.targets import blend_with_teacher, vote_targets


def test_a_teacher_is_blended_with_the_labels(network_run, drawn_faces, tmp_path):
    images, one_hot = drawn_faces.images[:20], np.eye(7, dtype=np.float32)[drawn_faces.labels[:20]]
    teacher = load_classifier(network_run).predict_proba(images)

    def targets(**options):
        options = TrainingOptions(teacher=str(network_run), **options)
        return blend_with_teacher(images, one_hot, drawn_faces.class_names, options, tmp_path / "teacher.npy")

    np.testing.assert_allclose(targets(distillation_weight=0.25), 0.25 * teacher + 0.75 * one_hot, atol=1e-5)
    soft = teacher**0.5 / (teacher**0.5).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(targets(distillation_weight=1, distillation_temperature=2), soft, atol=1e-5)
    np.testing.assert_array_equal(targets(distillation_weight=0), one_hot)


def test_a_teacher_of_other_classes_is_refused(network_run, drawn_faces, tmp_path):
    names = (*drawn_faces.class_names[:-1], "contempt")
    options = TrainingOptions(teacher=str(network_run))
    with pytest.raises(ArtifactError, match="trained on the classes angry"):
        blend_with_teacher(drawn_faces.images[:2], np.eye(7)[:2], names, options, tmp_path / "teacher.npy")


def test_votes_become_distributions(tmp_path):
    columns = [*FERPLUS_EMOTIONS, *FERPLUS_OTHERS]
    table = pd.DataFrame(0, index=range(4), columns=columns)
    table.loc[0, ["happiness", "neutral"]] = [9, 1]
    table.loc[1, ["neutral", "anger", "NF"]] = [3, 1, 6]
    table.loc[2, ["sadness", "contempt"]] = [5, 5]
    table.insert(0, "file_stem", ["a", "b", "c", "d"])
    table.to_csv(tmp_path / "votes.csv", index=False)
    names = np.array(["x/a.png", "b.png", "c.png", "d.png", "missing.png"])
    targets = vote_targets(tmp_path / "votes.csv", names, ("happy", "neutral", "sad", "angry"))
    assert targets.dtype == np.float32
    np.testing.assert_allclose(targets[[0, 2]], [[0.9, 0.1, 0, 0], [0, 0, 1, 0]], atol=1e-6)
    # Too few votes for the classes, no votes at all, and not in the file.
    assert not targets[[1, 3, 4]].any()
