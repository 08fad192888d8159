"""Leave-one-out predictions as distillation targets."""

import numpy as np
import pytest

from ferlib.runs.classifier import load_classifier
from ferlib.training import train_model
from ferlib.training.out_of_fold import predict_out_of_fold


@pytest.fixture(scope="module")
def kernel_run(drawn_faces, tmp_path_factory):
    options = {"n_words": 100, "C": 1000.0}
    return train_model("bovw", drawn_faces, tmp_path_factory.mktemp("runs") / "kernel", model_options=options)


def test_memorized_images_get_out_of_fold_predictions(kernel_run, drawn_faces):
    train, test = drawn_faces.split("train"), drawn_faces.split("test")
    classifier = load_classifier(kernel_run)

    def accuracy(probabilities, labels):
        return (probabilities.argmax(axis=1) == labels).mean()

    out_of_fold = predict_out_of_fold(classifier, train.images)
    np.testing.assert_allclose(out_of_fold.sum(axis=1), 1, atol=5e-3)
    assert accuracy(classifier.predict_proba(train.images), train.labels) > 0.95
    on_test = accuracy(classifier.predict_proba(test.images), test.labels)
    assert accuracy(out_of_fold, train.labels) == pytest.approx(on_test, abs=0.15)
    np.testing.assert_allclose(
        predict_out_of_fold(classifier, test.images), classifier.predict_proba(test.images), atol=1e-6
    )


def test_an_ensemble_uses_those_of_its_members(kernel_run, drawn_faces, tmp_path):
    options = {"members": f"{kernel_run.path},{kernel_run.path}"}
    run = train_model("ensemble", drawn_faces, tmp_path / "both", model_options=options)
    ensemble, images = load_classifier(run, calibrated=False), drawn_faces.split("train").images
    expected = predict_out_of_fold(load_classifier(kernel_run), images)
    np.testing.assert_allclose(predict_out_of_fold(ensemble, images), expected, atol=1e-5)


def test_a_linear_model_has_none(bovw_run, drawn_faces):
    classifier, images = load_classifier(bovw_run), drawn_faces.split("train").images[:20]
    assert not (bovw_run / "out_of_fold.npz").exists()
    np.testing.assert_array_equal(predict_out_of_fold(classifier, images), classifier.predict_proba(images))
