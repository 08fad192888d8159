"""Bags of visual words: images as vectors of visual words, and what classifies these."""

from typing import TYPE_CHECKING

from ferlib.core.errors import FerlibError
from ferlib.models.registry import register_model

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from ferlib.models.bovw.transformer import BagOfVisualWords

#: What classifies the vectors of words.
CLASSIFIERS = ("logistic", "svm", "chi2", "kernel")


@register_model(kind="bovw")
def bovw(
    *,
    random_state: int,
    n_words: int = 2000,
    features: str = "dense_sift",
    encoding: str = "histogram",
    levels: tuple[int, ...] = (1,),
    n_components: int = 64,
    mirror: bool = True,
    classifier: str = "kernel",
    C: float = 5.0,
    gamma: float = 3.0,
) -> "Pipeline":
    """Dense SIFT, a k-means vocabulary, one histogram of words for an image and its mirror image, a Gaussian kernel.

    Parameters
    ----------
    random_state : int
        Seeds the vocabulary's sample and k-means.
    n_words, features, encoding, levels, n_components, mirror
        See `ferlib.models.bovw.transformer.BagOfVisualWords`.
    classifier : {"logistic", "svm", "chi2", "kernel"}
        Logistic regression; a linear support vector machine whose margins are made probabilities by cross-validation
        (Platt); logistic regression after an explicit map of the additive chi-square kernel, for encodings that count;
        or `ferlib.models.bovw.kernel_ridge.KernelRidgeClassifier`, which compares with all training images and is worth
        about nine points on FER2013. `ferlib.models.bovw.inspection.most_discriminative_words` needs ``"logistic"``.
    C : float
        Inverse strength of the classifier's L2 penalty.
    gamma : float
        How fast similarity falls with distance, for ``"kernel"``.

    Returns
    -------
    sklearn.pipeline.Pipeline
        ``fit(images, labels)`` and ``predict_proba(images)`` on uint8 (n, H, W, C).

    References
    ----------
    G. Csurka, C. Dance, L. Fan, J. Willamowski, C. Bray, "Visual Categorization with Bags of Keypoints", ECCV
    workshop 2004. A. Vedaldi, A. Zisserman, "Efficient Additive Kernels via Explicit Feature Maps", IEEE PAMI 2012
    (chi-square). J. Platt, "Probabilistic Outputs for Support Vector Machines", 1999.
    """
    from ferlib.models.bovw.transformer import BagOfVisualWords

    words = BagOfVisualWords(
        n_words=n_words,
        features=features,
        encoding=encoding,
        levels=tuple(levels),
        n_components=n_components,
        mirror=mirror,
        random_state=random_state,
    )
    return _classify(words, classifier, C, gamma)


@register_model(kind="bovw")
def bovw_spatial(
    *,
    random_state: int,
    n_words: int = 2000,
    features: str = "dense_sift",
    encoding: str = "histogram",
    levels: tuple[int, ...] = (1,),
    n_components: int = 64,
    mirror: bool = True,
    classifier: str = "kernel",
    C: float = 5.0,
    gamma: float = 1.0,
) -> "Pipeline":
    """Words as in `bovw`, and beside each one's count its mean place in the image and its spread.

    Parameters
    ----------
    random_state, n_words, features, encoding, levels, n_components, mirror, classifier, C, gamma
        As for `bovw`; with places these vectors lie farther apart, so similarity falls more slowly.

    Returns
    -------
    sklearn.pipeline.Pipeline
        As from `bovw`.

    References
    ----------
    As for `bovw`.
    """
    from ferlib.models.bovw.transformer import BagOfVisualWords

    words = BagOfVisualWords(
        n_words=n_words,
        features=features,
        encoding=encoding,
        levels=tuple(levels),
        n_components=n_components,
        means=True,
        mirror=mirror,
        random_state=random_state,
    )
    return _classify(words, classifier, C, gamma)


@register_model(kind="bovw")
def bovw_fisher(
    *,
    random_state: int,
    n_words: int = 128,
    features: str = "dense_sift",
    levels: tuple[int, ...] = (1,),
    n_components: int = 64,
    position_weight: float = 1.0,
    mirror: bool = True,
    classifier: str = "kernel",
    C: float = 10.0,
    gamma: float = 3.0,
) -> "Pipeline":
    """Dense SIFT with its place, a mixture of Gaussians for words, Fisher vectors, a Gaussian kernel.

    Parameters
    ----------
    random_state, n_words, features, levels, n_components, mirror, classifier, C, gamma
        As for `bovw`.
    position_weight : float
        How much a point's place counts as part of its descriptor.

    Returns
    -------
    sklearn.pipeline.Pipeline
        As from `bovw`.

    References
    ----------
    J. Sanchez, F. Perronnin, T. Mensink, J. Verbeek, "Image Classification with the Fisher Vector: Theory and
    Practice", IJCV 2013. J. Sanchez, F. Perronnin, T. de Campos, "Modeling the spatial layout of images beyond spatial
    pyramids", Pattern Recognition Letters 2012 (places as part of descriptors).
    """
    from ferlib.models.bovw.transformer import BagOfVisualWords

    words = BagOfVisualWords(
        n_words=n_words,
        features=features,
        encoding="fisher",
        levels=tuple(levels),
        n_components=n_components,
        position_weight=position_weight,
        mirror=mirror,
        random_state=random_state,
    )
    return _classify(words, classifier, C, gamma)


def _classify(words: "BagOfVisualWords", classifier: str, C: float, gamma: float) -> "Pipeline":
    """Return the pipeline of an encoding and a classifier with probabilities."""
    import numpy as np
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.kernel_approximation import AdditiveChi2Sampler
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer
    from sklearn.svm import LinearSVC

    from ferlib.models.bovw.kernel_ridge import KernelRidgeClassifier

    if classifier not in CLASSIFIERS:
        raise FerlibError(f"classifier must be one of {', '.join(CLASSIFIERS)}, got '{classifier}'.")
    if classifier == "kernel":
        return make_pipeline(words, KernelRidgeClassifier(gamma=gamma, alpha=1 / C, random_state=words.random_state))
    if classifier == "svm":
        return make_pipeline(words, CalibratedClassifierCV(LinearSVC(C=C), ensemble=False))
    logistic = LogisticRegression(C=C, max_iter=300)
    if classifier == "logistic":
        return make_pipeline(words, logistic)
    if words.means or words.encoding in ("vlad", "fisher"):
        raise FerlibError("The chi-square kernel compares counts: it goes with encodings that count, without means.")
    # The histogram's square roots become shares again, which is what the kernel compares.
    return make_pipeline(words, FunctionTransformer(np.square), AdditiveChi2Sampler(), logistic)
