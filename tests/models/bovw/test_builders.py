"""Bags of visual words by name learn, and say how sure they are."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from ferlib.core.errors import FerlibError
from ferlib.models import get_model
from ferlib.runs.classifier import load_classifier
from ferlib.runs.folder import read_config
from ferlib.training import TrainingOptions, train_model

SMALL = {"bovw": {"n_words": 200}, "bovw_spatial": {"n_words": 100}, "bovw_fisher": {"n_words": 8, "n_components": 16}}


CLASSIFIED = [(name, {}) for name in SMALL] + [
    ("bovw", {"classifier": "svm"}),
    ("bovw", {"classifier": "chi2"}),
    ("bovw", {"classifier": "logistic", "mirror": False}),
    ("bovw_fisher", {"classifier": "logistic"}),
]


@pytest.mark.parametrize(("name", "options"), CLASSIFIED)
def test_the_pipeline_beats_chance_on_new_faces(name, options, drawn_faces):
    train, new = drawn_faces.split("train"), drawn_faces.select(drawn_faces.splits != "train")
    pipeline = get_model(name).build(random_state=0, **SMALL[name], **options).fit(train.images, train.labels)
    probabilities = pipeline.predict_proba(new.images)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    # Chance is 1/7; with 120 images its accuracy stays below 0.25 in 999 of 1,000 draws.
    assert (probabilities.argmax(axis=1) == new.labels).mean() > 0.25


def test_chi_square_is_refused_where_nothing_is_counted():
    for name in ("bovw_spatial", "bovw_fisher"):
        with pytest.raises(FerlibError, match="compares counts"):
            get_model(name).build(random_state=0, classifier="chi2")
    with pytest.raises(FerlibError, match="one of logistic, svm, chi2, kernel"):
        get_model("bovw").build(random_state=0, classifier="forest")


@pytest.mark.parametrize("classifier", ["svm", "chi2", "kernel"])
def test_every_classifier_is_weighed_saved_and_loaded(classifier, drawn_faces, tmp_path):
    options = TrainingOptions(class_weight="balanced")
    model_options = {"n_words": 50, "classifier": classifier}
    run_dir = train_model("bovw", drawn_faces, tmp_path / "run", options, model_options=model_options)
    assert read_config(run_dir)["status"] == "finished"
    probabilities = load_classifier(run_dir).predict_proba(drawn_faces.images[:5])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_words_and_classifier_are_searched_together(drawn_faces):
    train = drawn_faces.split("train")
    pipeline = get_model("bovw").build(random_state=0, n_words=30, mirror=False, classifier="logistic")
    grid = {"bagofvisualwords__encoding": ["histogram", "presence"], "logisticregression__C": [0.01, 10.0]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(train.images[:140], train.labels[:140])
    assert len(search.cv_results_["mean_test_score"]) == 4
    assert search.best_score_ > 1 / 7
    assert search.best_estimator_[0].encoding == search.best_params_["bagofvisualwords__encoding"]
