"""Kernel ridge regression as a classifier with calibrated probabilities."""

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

logger = logging.getLogger(__name__)

# Vectors that the principal components are computed from; more take memory and hardly change them.
_MAX_FOR_PCA = 8000

# Vectors that are compared with all training vectors at a time.
_CHUNK = 1000


class KernelRidgeClassifier(ClassifierMixin, BaseEstimator):
    """Kernel ridge regression on one-hot labels with a Gaussian kernel, calibrated by leave-one-out scores.

    Least squares has a closed-form solution, and so have the leave-one-out scores of the training vectors. A logistic
    regression on these scores turns scores into probabilities.

    Parameters
    ----------
    gamma : float
        Coefficient of the kernel ``exp(-gamma * |x - z|²)``.
    alpha : float
        Regularization strength.
    n_components : int
        Principal components of the vectors to keep; 0 for the vectors as they are.
    max_vectors : int
        Maximum number of training vectors, chosen at random: the kernel takes 4 n² bytes during training, 2.5 GB for
        25,000 vectors, and its factorization n³ operations.
    class_weight : {"balanced"}, dict or None
        As in scikit-learn.
    random_state : int, RandomState or None
        Determines the principal components and the choice of training vectors.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    kept_ : ndarray of shape (n_kept,), dtype int
        Indices of the training vectors that are used.
    vectors_ : ndarray of shape (n_kept, n_components), dtype float16
    coefficients_ : ndarray of shape (n_kept, n_classes), dtype float32
    loo_proba_ : ndarray of shape (n_kept, n_classes), dtype float32
        Leave-one-out probabilities of the training vectors.

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
        """Fit to vectors (n, d) and their classes (n,)."""
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"KernelRidgeClassifier needs at least two classes, got one class: {self.classes_[0]}")
        rng = check_random_state(self.random_state)
        self.kept_ = np.arange(len(X))
        if len(X) > self.max_vectors:
            logger.warning("using %d of %d training vectors (max_vectors)", self.max_vectors, len(X))
            self.kept_ = np.sort(rng.permutation(len(X))[: self.max_vectors])
            X, codes = X[self.kept_], codes[self.kept_]
        self._fit_components(X, rng)
        # Rounded as they are stored, so that training and prediction use the same numbers.
        self.vectors_ = self._reduce(X).astype(np.float16)
        targets = np.eye(len(self.classes_), dtype=np.float32)[codes]
        self.prior_ = targets.mean(axis=0)
        sample_weight = compute_sample_weight(self.class_weight, self.classes_[codes])
        self.coefficients_, scores = self._solve(targets - self.prior_, sample_weight)
        class_weight = self.class_weight
        if isinstance(class_weight, dict):
            class_weight = {code: class_weight.get(name, 1) for code, name in enumerate(self.classes_)}
        self.calibrator_ = LogisticRegression(max_iter=1000, class_weight=class_weight).fit(scores, codes)
        self.loo_proba_ = self.calibrator_.predict_proba(scores).astype(np.float32)
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return the probabilities of the classes, (n, n_classes)."""
        check_is_fitted(self)
        return self.calibrator_.predict_proba(self._score(X))

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the most probable classes, (n,)."""
        most_probable = self.predict_proba(X).argmax(axis=1)
        return self.classes_[most_probable]

    def _fit_components(self, X: np.ndarray, rng: np.random.RandomState) -> None:
        """Compute the principal components; float16 halves the size of the model."""
        self.components_ = self.mean_ = None
        n_components = min(self.n_components, *X.shape)
        if n_components:
            subset = X[np.sort(rng.permutation(len(X))[:_MAX_FOR_PCA])]
            pca = PCA(n_components, svd_solver="randomized", iterated_power=2, random_state=rng).fit(subset)
            self.components_, self.mean_ = pca.components_.astype(np.float16), pca.mean_.astype(np.float32)

    def _reduce(self, X: np.ndarray) -> np.ndarray:
        """Return the principal components of vectors, (n, n_components) in the dtype of `X`."""
        if self.components_ is None:
            return X
        components = self.components_.astype(X.dtype)
        return X @ components.T - components @ self.mean_

    def _solve(self, targets: np.ndarray, sample_weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the coefficients and the leave-one-out scores of the training vectors, both (n, n_classes)."""
        vectors = self.vectors_.astype(np.float32)
        logger.info("solving kernel ridge regression for %d vectors", len(vectors))
        kernel = rbf_kernel(vectors, gamma=self.gamma)
        kernel.flat[:: len(kernel) + 1] += self.alpha / sample_weight
        # In place; the transpose of the symmetric kernel has LAPACK's memory order.
        factor, info = lapack.spotrf(kernel.T, lower=1, clean=0, overwrite_a=1)
        if info:
            raise ValueError(f"alpha={self.alpha} is too small for a kernel of {len(kernel)} vectors")
        coefficients, _ = lapack.spotrs(factor, targets, lower=1)
        inverse, _ = lapack.spotri(factor, lower=1, overwrite_c=1)
        return coefficients, targets - coefficients / np.diag(inverse)[:, np.newaxis] + self.prior_

    def _score(self, X: np.ndarray) -> np.ndarray:
        """Return the scores of the classes, float64 (n, n_classes)."""
        X = validate_data(self, X, dtype=(np.float32, np.float64), reset=False)
        vectors = self.vectors_.astype(np.float64)
        chunks = (X[start : start + _CHUNK].astype(np.float64) for start in range(0, len(X), _CHUNK))
        parts = [rbf_kernel(self._reduce(chunk), vectors, gamma=self.gamma) @ self.coefficients_ for chunk in chunks]
        return np.concatenate(parts) + self.prior_
