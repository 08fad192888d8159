"""Bag-of-visual-words models learn and return probabilities."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from ferlib.models import get_model
from ferlib.runs.classifier import load_classifier
from ferlib.training import TrainingOptions, train_model

SMALL = {"bovw": {"n_words": 200}, "bovw_spatial": {"n_words": 100}, "bovw_fisher": {"n_words": 8, "n_components": 16}}


@pytest.mark.parametrize(
    ("name", "classifier"),
    [("bovw", "logistic"), ("bovw", "kernel"), ("bovw_spatial", "kernel"), ("bovw_fisher", "logistic")],
)
def test_pipeline_beats_chance_on_new_faces(name, classifier, drawn_faces):
    train, new = drawn_faces.split("train"), drawn_faces.select(drawn_faces.splits != "train")
    options = {**SMALL[name], "classifier": classifier, "flip_invariant": False}
    pipeline = get_model(name).build(random_state=0, **options).fit(train.images, train.labels)
    probabilities = pipeline.predict_proba(new.images)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    # Chance is 1/7; with 120 images its accuracy stays below 0.25 in 999 of 1,000 draws.
    assert (probabilities.argmax(axis=1) == new.labels).mean() > 0.25


@pytest.mark.parametrize("classifier", ["logistic", "kernel"])
def test_weighted_pipeline_is_saved_and_loaded(classifier, drawn_faces, tmp_path):
    options = TrainingOptions(class_weight="balanced")
    model_options = {"n_words": 20, "classifier": classifier, "flip_invariant": False}
    run_dir = train_model("bovw", drawn_faces, tmp_path / "run", options, model_options=model_options)
    classifier = load_classifier(run_dir)
    probabilities = classifier.predict_proba(drawn_faces.images[:5])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_grid_search_over_words_and_classifier(drawn_faces):
    train = drawn_faces.split("train")
    pipeline = get_model("bovw").build(random_state=0, n_words=30, flip_invariant=False, classifier="logistic")
    pipeline.set_params(bagofvisualwords__step=4, bagofvisualwords__patch_sizes=(12, 16))
    grid = [
        {"bagofvisualwords__levels": [(1,)], "logisticregression__C": [0.01]},
        {"bagofvisualwords__levels": [(1, 2)]},
    ]
    search = GridSearchCV(pipeline, grid, cv=2).fit(train.images[:140], train.labels[:140])
    assert len(search.cv_results_["mean_test_score"]) == 2
    assert search.best_score_ > 1 / 7
    assert search.best_estimator_[0].levels == search.best_params_["bagofvisualwords__levels"]
