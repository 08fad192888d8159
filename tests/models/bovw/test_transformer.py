"""One transformer for all encodings: vectors as long as they should be, that say what the images say."""

import numpy as np
import pytest
from sklearn.base import clone

from ferlib.models.bovw.encodings import ENCODINGS, mean_positions
from ferlib.models.bovw.transformer import BagOfVisualWords, iterate_words

QUICK = {"step": 4, "patch_sizes": (12, 16), "random_state": 0}


@pytest.fixture(scope="module")
def faces(drawn_faces):
    return drawn_faces.images[:30]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("levels", [(1,), (1, 2)])
def test_every_part_of_a_vector_has_length_1(encoding, levels, faces):
    bag = BagOfVisualWords(n_words=12, encoding=encoding, levels=levels, n_components=16, **QUICK).fit(faces)
    vectors = bag.transform(faces)
    cells = sum(level**2 for level in levels)
    length = {"vlad": 12 * 16, "fisher": 2 * 12 * 16}.get(encoding, 12)
    assert vectors.shape == (30, cells * length)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors.reshape(30, cells, length), axis=2), 1, rtol=1e-4)
    np.testing.assert_allclose(bag.transform(faces[3:4]), vectors[3:4], atol=1e-5)


def test_histograms_count_the_nearest_words(faces):
    bag = BagOfVisualWords(n_words=8, **QUICK).fit(faces)
    [(descriptors, _)] = bag._local().describe(faces[:1])
    distances = ((descriptors[:, np.newaxis] - bag.vocabulary_) ** 2).sum(axis=2)
    counts = np.bincount(distances.argmin(axis=1), minlength=8)
    np.testing.assert_allclose(bag.transform(faces[:1])[0], np.sqrt(counts / counts.sum()), atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"means": True}, {"encoding": "fisher", "position_weight": 1.0}])
def test_a_face_and_its_mirror_image_are_one_bag(options, faces):
    bag = BagOfVisualWords(n_words=8, n_components=16, mirror=True, **options, **QUICK).fit(faces)
    alone = BagOfVisualWords(n_words=8, n_components=16, **options, **QUICK).fit(faces)
    mirrored = faces[:, :, ::-1]
    np.testing.assert_allclose(bag.transform(faces), bag.transform(mirrored), atol=1e-4)
    assert np.abs(alone.transform(faces) - alone.transform(mirrored)).max() > 0.05


def test_presence_and_tfidf_by_hand(faces):
    words, _ = next(iterate_words(BagOfVisualWords(n_words=40, **QUICK).fit(faces), faces[:1]))
    counts = np.bincount(words, minlength=40)
    presence = BagOfVisualWords(n_words=40, encoding="presence", **QUICK).fit(faces).transform(faces[:1])[0]
    np.testing.assert_allclose(presence, (counts > 0) / np.sqrt((counts > 0).sum()), atol=1e-6)
    bag = BagOfVisualWords(n_words=40, encoding="tfidf", **QUICK).fit(faces)
    # A word that every image has says nothing.
    values = bag.transform(faces[:1])[0]
    everywhere = bag.document_shares_ == 1
    assert (values[everywhere] == 0).all()
    rare = counts * np.log(1 / np.minimum(1, bag.document_shares_ + 1e-4))
    np.testing.assert_allclose(values, rare / np.linalg.norm(rare), atol=1e-5)


def test_soft_assignment_shares_points_and_keeps_their_number(faces):
    hard, soft = (
        BagOfVisualWords(n_words=30, encoding=encoding, **QUICK).fit(faces).transform(faces[:5]) ** 2
        for encoding in ("histogram", "soft")
    )
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-4)
    assert ((soft > 0).sum(axis=1) >= (hard > 0).sum(axis=1)).all()
    assert (soft * hard).sum() > 0.5 * (hard * hard).sum()


def test_means_say_where_words_are(faces):
    bag = BagOfVisualWords(n_words=10, means=True, **QUICK).fit(faces)
    vectors = bag.transform(faces[:1])
    assert vectors.shape == (1, 10 + 4 * 10)
    words, places = next(iterate_words(bag, faces[:1]))
    counts, means, _ = mean_positions(words, places, 10)
    usual = np.maximum(bag.place_deviations_, 0.05)
    expected = np.sqrt(counts / counts.sum())[:, np.newaxis] * np.clip((means - bag.places_) / usual, -3, 3)
    np.testing.assert_allclose(vectors[0, 10:30], expected.ravel(), atol=1e-5)
    # A histogram is blind to a mirror image's places; the means are not.
    there, back = (bag.transform(view)[0, 10:30].reshape(10, 2) for view in (faces[:1], faces[:1, :, ::-1]))
    assert np.abs(there - back).max() > 0.1


def test_places_belong_to_fisher_vectors_if_asked(faces):
    plain = BagOfVisualWords(n_words=4, encoding="fisher", n_components=8, **QUICK).fit(faces)
    placed = BagOfVisualWords(n_words=4, encoding="fisher", n_components=8, position_weight=1.0, **QUICK).fit(faces)
    assert plain.vocabulary_.shape == (4, 8)
    assert placed.vocabulary_.shape == (4, 10)
    assert placed.transform(faces[:2]).shape == (2, 2 * 4 * 10)
    posteriors = placed._posteriors(placed._reduce(*next(placed._local().describe(faces[:1]))))
    np.testing.assert_allclose(posteriors.sum(axis=1), 1, atol=1e-3)


@pytest.mark.parametrize("features", ["sift", "orb"])
def test_images_in_which_nothing_is_found_become_zeros(features, faces):
    bag = BagOfVisualWords(n_words=10, features=features, means=True, levels=(1, 2), random_state=0).fit(faces)
    flat = bag.transform(np.full((1, 48, 48, 1), 200, np.uint8))
    assert (flat == 0).all()


def test_a_vocabulary_larger_than_the_sample_is_cut(faces):
    assert len(BagOfVisualWords(n_words=10_000, **QUICK).fit(faces[:2]).vocabulary_) == 100


def test_it_is_a_scikit_learn_estimator(faces):
    bag = BagOfVisualWords(n_words=5, levels=(1, 3), **QUICK)
    assert clone(bag).get_params() == bag.get_params()
    first, again = (clone(bag).fit(faces).vocabulary_ for _ in range(2))
    np.testing.assert_array_equal(first, again)
    with pytest.raises(ValueError, match="encoding must be one of"):
        clone(bag).set_params(encoding="magic").fit(faces)


def test_light_changes_little(faces):
    bag = BagOfVisualWords(n_words=12, **QUICK).fit(faces)
    darker = (faces * 0.6).astype(np.uint8)
    assert (bag.transform(faces) * bag.transform(darker)).sum(axis=1).mean() > 0.95
