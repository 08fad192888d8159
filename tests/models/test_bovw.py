"""Bags of visual words by name learn, and say how sure they are."""

import numpy as np
import pytest

from ferlib.models import get_model

SMALL = {"bovw": {"n_words": 200}, "bovw_means": {"n_words": 100}, "bovw_fisher": {"n_words": 8, "n_components": 16}}


@pytest.mark.parametrize("name", SMALL)
def test_the_pipeline_beats_chance_on_new_faces(name, drawn_faces):
    train, new = drawn_faces.split("train"), drawn_faces.select(drawn_faces.splits != "train")
    pipeline = get_model(name).build(random_state=0, **SMALL[name]).fit(train.images, train.labels)
    probabilities = pipeline.predict_proba(new.images)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    # Chance is 1/7; with 120 pictures its accuracy stays below 0.25 in 999 of 1,000 draws.
    assert (probabilities.argmax(axis=1) == new.labels).mean() > 0.25
