"""A teacher says of images that it learned from what it would have said without them."""

import numpy as np
import pytest

from ferlib.runs.classifier import load_classifier
from ferlib.training import TrainingOptions, train_model
from ferlib.training.out_of_fold import predict_out_of_fold


@pytest.fixture(scope="module")
def words_run(drawn_faces, tmp_path_factory):
    options = {"n_words": 100, "C": 1000.0}
    return train_model("bovw", drawn_faces, tmp_path_factory.mktemp("runs") / "words", model_options=options)


def test_what_was_learned_by_heart_is_not_taught(words_run, drawn_faces):
    train, new = drawn_faces.split("train"), drawn_faces.split("test")
    classifier = load_classifier(words_run)

    def accuracy(probabilities, labels):
        return (probabilities.argmax(axis=1) == labels).mean()

    unseen = predict_out_of_fold(classifier, train.images)
    np.testing.assert_allclose(unseen.sum(axis=1), 1, atol=5e-3)
    # What it says of training images is then as often right as what it says of new ones, not more often.
    assert accuracy(classifier.predict_proba(train.images), train.labels) > 0.95
    of_new = accuracy(classifier.predict_proba(new.images), new.labels)
    assert accuracy(unseen, train.labels) == pytest.approx(of_new, abs=0.15)
    np.testing.assert_allclose(
        predict_out_of_fold(classifier, new.images), classifier.predict_proba(new.images), atol=1e-6
    )


def test_an_ensemble_asks_each_member_so(words_run, drawn_faces, tmp_path):
    options = {"members": f"{words_run},{words_run}"}
    both = load_classifier(train_model("ensemble", drawn_faces, tmp_path / "both", model_options=options))
    train = drawn_faces.split("train").images
    np.testing.assert_allclose(
        predict_out_of_fold(both, train), predict_out_of_fold(load_classifier(words_run), train), atol=1e-5
    )


def test_a_linear_bag_leaves_none_out(drawn_faces, tmp_path):
    options = {"n_words": 30, "classifier": "logistic"}
    run_dir = train_model("bovw", drawn_faces, tmp_path / "run", TrainingOptions(), model_options=options)
    classifier, images = load_classifier(run_dir), drawn_faces.split("train").images
    assert not (run_dir / "out_of_fold.npz").exists()
    np.testing.assert_array_equal(predict_out_of_fold(classifier, images), classifier.predict_proba(images))
