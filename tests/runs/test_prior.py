"""Class priors: probabilities under other class shares than those of the training data."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferlib.core.emotions import EMOTIONS, FOUR_EMOTIONS
from ferlib.core.errors import OptionError
from ferlib.runs.classifier import load_classifier
from ferlib.runs.folder import Run, pretrained_run_dir
from ferlib.runs.prior import PHOTOGRAPH_COUNTS, TRAINING_PRIOR, make_prior, parse_prior
from ferlib.runs.records import RunConfig

UNIFORM = (1 / 7,) * 7


def photographs(class_names=EMOTIONS, training_shares=UNIFORM):
    return make_prior("photographs", class_names=class_names, training_shares=training_shares)


def config(**values):
    return RunConfig(model="m", kind="cnn", class_names=("happy", "sad"), image_size=(48, 48), channels=1, **values)


def test_shares_of_photographs_are_those_published_for_expw():
    assert sum(PHOTOGRAPH_COUNTS.values()) == 91_793
    assert set(PHOTOGRAPH_COUNTS) == set(EMOTIONS)
    shares = photographs().apply(np.array([UNIFORM]))[0]
    assert dict(zip(EMOTIONS, shares.round(3).tolist(), strict=True)) == {
        "angry": 0.04,
        "disgust": 0.044,
        "fear": 0.012,
        "happy": 0.333,
        "sad": 0.115,
        "surprise": 0.077,
        "neutral": 0.38,
    }


def test_an_image_that_says_nothing_gets_the_shares_of_the_prior():
    training = np.array(load_classifier().training_shares)
    prior = photographs(training_shares=training)
    expected = np.array(list(PHOTOGRAPH_COUNTS.values())) / 91_793
    order = [list(PHOTOGRAPH_COUNTS).index(name) for name in EMOTIONS]
    np.testing.assert_allclose(prior.apply(training), expected[order])


@given(st.lists(st.floats(1e-6, 1), min_size=7, max_size=7), st.lists(st.floats(0.01, 1), min_size=7, max_size=7))
def test_a_prior_and_its_opposite_cancel(probabilities, shares):
    y_proba = np.array([probabilities]) / sum(probabilities)
    there = make_prior(shares, class_names=EMOTIONS, training_shares=UNIFORM)
    back = make_prior(UNIFORM, class_names=EMOTIONS, training_shares=np.array(shares) / sum(shares))
    np.testing.assert_allclose(back.apply(there.apply(y_proba)), y_proba, rtol=1e-6)


def test_the_training_prior_changes_nothing():
    y_proba = np.array([[0.25, 0.75]], np.float32)
    assert make_prior("training", class_names=("a", "b"), training_shares=None) is TRAINING_PRIOR
    assert TRAINING_PRIOR.apply(y_proba) is y_proba
    same = make_prior((3, 1), class_names=("a", "b"), training_shares=(0.75, 0.25))
    np.testing.assert_allclose(same.apply(y_proba), y_proba)


def test_rows_sum_to_one_in_the_same_dtype():
    y_proba = np.array([[1, 0, 0, 0, 0, 0, 0], UNIFORM], np.float32)
    changed = photographs().apply(y_proba)
    assert changed.dtype == np.float32
    np.testing.assert_allclose(changed.sum(axis=1), 1, rtol=1e-6)
    assert photographs().apply(np.empty((0, 7), np.float32)).shape == (0, 7)


def test_a_class_with_share_zero_is_never_predicted():
    prior = make_prior("1,1,0,1,1,1,1", class_names=EMOTIONS, training_shares=UNIFORM)
    certain = np.eye(7, dtype=np.float32)
    changed = prior.apply(certain)
    assert np.isfinite(changed).all()
    assert (changed[:, EMOTIONS.index("fear")] == 0).all()


def test_a_prior_is_named_as_it_is_written():
    assert photographs().name == parse_prior("photographs")
    prior = make_prior((1, 3), class_names=("a", "b"), training_shares=(0.5, 0.5))
    assert prior.name == "0.25,0.75"
    again = make_prior(prior.name, class_names=("a", "b"), training_shares=(0.5, 0.5))
    assert again == prior
    assert make_prior(prior, class_names=("a", "b"), training_shares=None) is prior


@pytest.mark.parametrize(
    "wrong", ["other", "", "1", "1,x", "1,-1", "0,0", "nan,1", "inf,1", (1,), (1, "x"), (0, 0), None]
)
def test_wrong_priors_are_refused(wrong):
    with pytest.raises(OptionError, match=r"^--prior: expected photographs or training, or a comma-separated share"):
        parse_prior(wrong, "--prior")


def test_the_number_of_shares_is_that_of_the_classes():
    with pytest.raises(OptionError, match=r"expected 4 shares \(angry, happy, sad, neutral\), got 0.5,0.5"):
        make_prior("1,1", class_names=FOUR_EMOTIONS, training_shares=(0.25,) * 4)


def test_a_subset_of_the_emotions_has_their_shares_among_photographs():
    (shares,) = photographs(FOUR_EMOTIONS, (0.25,) * 4).apply(np.full((1, 4), 0.25))
    counts = np.array([PHOTOGRAPH_COUNTS[name] for name in FOUR_EMOTIONS])
    np.testing.assert_allclose(shares, counts / counts.sum())


def test_models_with_other_classes_keep_their_training_prior(caplog):
    prior = make_prior("photographs", class_names=("smile", "frown"), training_shares=(0.5, 0.5))
    assert prior is TRAINING_PRIOR
    assert [record.message for record in caplog.records] == [
        "the photographs prior cannot be used: this model has other classes; its training prior is kept"
    ]


def test_models_without_recorded_shares_keep_their_training_prior(caplog):
    assert make_prior("photographs", class_names=EMOTIONS, training_shares=None) is TRAINING_PRIOR
    assert "does not record its training images per class" in caplog.text
    with pytest.raises(OptionError, match="does not record its training images"):
        make_prior("1,1", class_names=("a", "b"), training_shares=None)


def test_training_shares_are_those_of_the_train_split():
    counts = {"train": {"happy": 30, "sad": 10}, "val": {"happy": 1, "sad": 1}}
    assert config(image_counts=counts).training_shares == (0.75, 0.25)
    assert config().training_shares is None
    assert sum(Run(pretrained_run_dir()).config.training_shares) == pytest.approx(1)


@pytest.mark.parametrize("balanced", [{"resample": "smote"}, {"class_weight": "balanced"}])
def test_after_a_balanced_training_all_shares_are_equal(balanced):
    counts = {"train": {"happy": 30, "sad": 10}}
    assert config(image_counts=counts, training=balanced).training_shares == (0.5, 0.5)


def test_a_class_without_images_counts_as_one():
    assert config(image_counts={"train": {"happy": 3, "sad": 0}}).training_shares == (0.75, 0.25)
