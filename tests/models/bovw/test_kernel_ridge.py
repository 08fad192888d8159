"""Kernel ridge regression, compared with scikit-learn."""

import numpy as np
import pytest
from sklearn.datasets import make_blobs, make_moons
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.utils.estimator_checks import parametrize_with_checks

from ferlib.models.bovw.kernel_ridge import KernelRidgeClassifier


@parametrize_with_checks([KernelRidgeClassifier(gamma=0.5, random_state=0)])
def test_classifier_passes_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def moons():
    X, y = make_moons(400, noise=0.25, random_state=0)
    return X.astype(np.float16).astype(np.float64), y  # the precision of stored vectors


def test_scores_equal_those_of_scikit_learn(moons):
    X, y = moons
    ours = KernelRidgeClassifier(gamma=2.0, alpha=0.3, n_components=0).fit(X[:300], y[:300])
    targets = np.eye(2)[y[:300]]
    theirs = KernelRidge(alpha=0.3, kernel="rbf", gamma=2.0).fit(X[:300], targets - targets.mean(axis=0))
    expected = theirs.predict(X[300:]) + targets.mean(axis=0)
    np.testing.assert_allclose(ours._score(X[300:]), expected, atol=2e-3)


def test_leave_one_out_scores_equal_refits(moons):
    X, y = moons[0][:60], moons[1][:60]
    options = {"gamma": 2.0, "alpha": 0.3, "n_components": 0}
    one_hot = np.eye(2)[y]
    prior = one_hot.mean(axis=0)
    scores = []
    for left in range(60):
        others = np.arange(60) != left
        kernel = KernelRidge(alpha=0.3, kernel="rbf", gamma=2.0).fit(X[others], (one_hot - prior)[others])
        scores.append(kernel.predict(X[left : left + 1])[0] + prior)
    ours = KernelRidgeClassifier(**options).fit(X, y)
    expected = ours.calibrator_.predict_proba(np.array(scores))
    np.testing.assert_allclose(ours.loo_proba_, expected, atol=2e-3)
    assert np.abs(ours.loo_proba_ - ours.predict_proba(X)).max() > 0.05


def test_kernel_beats_a_linear_model_on_moons(moons):
    X, y = moons
    ours = KernelRidgeClassifier(gamma=2.0, n_components=0).fit(X[:300], y[:300])
    line = LogisticRegression().fit(X[:300], y[:300])
    assert ours.score(X[300:], y[300:]) > line.score(X[300:], y[300:]) + 0.03
    assert log_loss(y[300:], ours.predict_proba(X[300:])) < log_loss(y[300:], line.predict_proba(X[300:]))


def test_balanced_weights_raise_recall_of_a_rare_class():
    X, y = make_blobs([570, 30], 2, centers=[[0, 0], [1.5, 0]], random_state=0)
    recalls = []
    for class_weight in (None, "balanced"):
        model = KernelRidgeClassifier(gamma=0.5, alpha=1.0, class_weight=class_weight, n_components=0).fit(X, y)
        recalls.append((model._score(X).argmax(axis=1)[y == 1] == 1).mean())
    assert recalls[1] > recalls[0] + 0.1


def test_training_vectors_are_limited_with_a_warning(moons, caplog):
    model = KernelRidgeClassifier(gamma=2.0, max_vectors=100, n_components=0, random_state=0).fit(*moons)
    assert model.vectors_.shape == (100, 2)
    assert "100 of 400" in caplog.text
