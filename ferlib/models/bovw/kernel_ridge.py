"""A classifier by similarity to all training vectors: kernel ridge regression with probabilities."""

import logging

import numpy as np
from scipy.linalg import lapack
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from ferlib.core.console import progress_bar

logger = logging.getLogger(__name__)

# Rows that principal components are found from: more change them little and cost memory.
_N_FOR_COMPONENTS = 8000

# New vectors that are compared with all training vectors at a time.
_CHUNK = 1000


class KernelRidgeClassifier(ClassifierMixin, BaseEstimator):
    """Classify by a Gaussian kernel: each training vector speaks for its class, the more the nearer it is.

    Least squares towards the one-hot labels, which has a solution in one step, and so have its predictions of each
    training vector from all the others. On these leave-one-out scores a logistic regression learns what probabilities
    the scores stand for.

    Parameters
    ----------
    gamma : float
        Of the kernel ``exp(-gamma * |x - z|²)``.
    alpha : float
        Weight of the penalty: the larger, the smoother.
    n_components : int
        Principal components that vectors are reduced to before they are compared; 0 leaves them as they are.
    max_vectors : int
        How many training vectors are kept at most, drawn at random: the kernel takes 4 n² bytes in training, 2.5 GB
        for 25,000, and its solution n³ operations.
    class_weight : {"balanced"}, dict or None
        As in scikit-learn.
    random_state : int, RandomState or None
        Seeds the principal components and the draw.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    vectors_ : ndarray of shape (n_kept, n_components), dtype float16
    coefficients_ : ndarray of shape (n_kept, n_classes), dtype float32
    kept_ : ndarray of shape (n_kept,), dtype int
        Which of the training vectors these are.
    loo_proba_ : ndarray of shape (n_kept, n_classes), dtype float32
        Probabilities of each kept training vector, predicted from all the others.

    References
    ----------
    C. Saunders, A. Gammerman, V. Vovk, "Ridge Regression Learning Algorithm in Dual Variables", ICML 1998. R. Rifkin,
    R. Lippert, "Notes on Regularized Least Squares", MIT 2007 (leave-one-out in closed form).
    """

    def __init__(
        self,
        *,
        gamma: float = 3.0,
        alpha: float = 0.1,
        n_components: int = 512,
        max_vectors: int = 30_000,
        class_weight: str | dict | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.gamma = gamma
        self.alpha = alpha
        self.n_components = n_components
        self.max_vectors = max_vectors
        self.class_weight = class_weight
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: np.ndarray) -> "KernelRidgeClassifier":
        """Learn from vectors, (n, d), and their classes."""
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"A classifier needs two classes at least, got one class: {self.classes_[0]}")
        rng = check_random_state(self.random_state)
        self.kept_ = np.arange(len(X))
        if len(X) > self.max_vectors:
            logger.warning("learning from %d of %d training vectors, as max_vectors says", self.max_vectors, len(X))
            self.kept_ = np.sort(rng.permutation(len(X))[: self.max_vectors])
            X, codes = X[self.kept_], codes[self.kept_]
        self._fit_components(X, rng)
        # As they are kept, so that training and prediction compare the same numbers.
        self.vectors_ = self._reduce(X).astype(np.float16)
        targets = np.eye(len(self.classes_), dtype=np.float32)[codes]
        self.prior_ = targets.mean(axis=0)
        weights = compute_sample_weight(self.class_weight, self.classes_[codes])
        self.coefficients_, scores = self._solve(targets - self.prior_, weights)
        self.calibrator_ = LogisticRegression(max_iter=1000, class_weight=self._weights_of_codes()).fit(scores, codes)
        self.loo_proba_ = self.calibrator_.predict_proba(scores).astype(np.float32)
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return the probabilities of the classes, (n, n_classes)."""
        check_is_fitted(self)
        return self.calibrator_.predict_proba(self._score(X))

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the likeliest classes, (n,)."""
        likeliest = self.predict_proba(X).argmax(axis=1)
        return self.classes_[likeliest]

    def _weights_of_codes(self) -> str | dict | None:
        """Return `class_weight` for classes that are numbered."""
        if not isinstance(self.class_weight, dict):
            return self.class_weight
        return {code: self.class_weight.get(name, 1) for code, name in enumerate(self.classes_)}

    def _fit_components(self, X: np.ndarray, rng: np.random.RandomState) -> None:
        """Find the principal components, kept as float16, which halves the model."""
        n_components = min(self.n_components, *X.shape)
        if not n_components:
            self.components_ = self.mean_ = None
            return
        some = X[np.sort(rng.permutation(len(X))[:_N_FOR_COMPONENTS])]
        pca = PCA(n_components, svd_solver="randomized", iterated_power=2, random_state=rng).fit(some)
        self.components_, self.mean_ = pca.components_.astype(np.float16), pca.mean_.astype(np.float32)

    def _reduce(self, X: np.ndarray) -> np.ndarray:
        """Return vectors in their principal components, (n, n_components) of the dtype of `X`."""
        if self.components_ is None:
            return X
        components = self.components_.astype(X.dtype)
        return X @ components.T - components @ self.mean_

    def _solve(self, targets: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the coefficients of all training vectors, and each one's scores by all the others."""
        bar = progress_bar(total=4, desc="fit the kernel", unit="step")
        vectors = self.vectors_.astype(np.float32)
        kernel = rbf_kernel(vectors, gamma=self.gamma)
        kernel.flat[:: len(kernel) + 1] += self.alpha / weights
        bar.update()
        # All in the kernel's own memory; its transpose is itself, and in the order that LAPACK wants.
        factor, info = lapack.spotrf(kernel.T, lower=1, clean=0, overwrite_a=1)
        if info:
            raise ValueError(f"alpha = {self.alpha} is too small for a kernel of {len(kernel)} vectors")
        bar.update()
        coefficients, _ = lapack.spotrs(factor, targets, lower=1)
        bar.update()
        inverse, _ = lapack.spotri(factor, lower=1, overwrite_c=1)
        bar.update()
        bar.close()
        left_out = targets - coefficients / np.diag(inverse)[:, np.newaxis]
        return coefficients, left_out + self.prior_

    def _score(self, X: np.ndarray) -> np.ndarray:
        """Return how much the training vectors speak for each class, float64 (n, n_classes)."""
        X = validate_data(self, X, dtype=(np.float32, np.float64), reset=False)
        vectors = self.vectors_.astype(np.float64)
        chunks = (X[start : start + _CHUNK].astype(np.float64) for start in range(0, len(X), _CHUNK))
        parts = [rbf_kernel(self._reduce(chunk), vectors, gamma=self.gamma) @ self.coefficients_ for chunk in chunks]
        return np.concatenate(parts) + self.prior_
