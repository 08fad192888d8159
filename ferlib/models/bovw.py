"""Bags of visual words: pictures as vectors of visual words, and what classifies these."""

from typing import TYPE_CHECKING

import numpy as np

from ferlib.errors import FerlibError
from ferlib.models.registry import register_model
from ferlib.words.bag import BagOfVisualWords

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

#: What classifies the vectors of words.
CLASSIFIERS = ("logistic", "svm", "chi2")


@register_model(kind="bovw")
def bovw(
    *,
    random_state: int,
    n_words: int = 2000,
    features: str = "dense_sift",
    encoding: str = "histogram",
    levels: tuple[int, ...] = (1,),
    n_components: int = 0,
    classifier: str = "logistic",
    C: float = 1.0,
) -> "Pipeline":
    """Dense SIFT, a k-means vocabulary, one histogram of words a picture, a linear classifier.

    Parameters
    ----------
    random_state : int
        Seeds the vocabulary's sample and k-means.
    n_words, features, encoding, levels, n_components
        See `ferlib.words.bag.BagOfVisualWords`.
    classifier : {"logistic", "svm", "chi2"}
        Logistic regression; a linear support vector machine whose margins are made probabilities by cross-validation
        (Platt); or logistic regression after an explicit map of the additive chi-square kernel, for encodings that
        count.
    C : float
        Inverse strength of the classifier's L2 penalty.

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
    words = BagOfVisualWords(
        n_words=n_words,
        features=features,
        encoding=encoding,
        levels=tuple(levels),
        n_components=n_components,
        random_state=random_state,
    )
    return _classify(words, classifier, C)


@register_model(kind="bovw")
def bovw_means(
    *,
    random_state: int,
    n_words: int = 2000,
    features: str = "dense_sift",
    encoding: str = "histogram",
    levels: tuple[int, ...] = (1,),
    n_components: int = 0,
    classifier: str = "logistic",
    C: float = 1.0,
) -> "Pipeline":
    """Words as in `bovw`, and beside each one's count its mean place in the picture and its spread.

    Parameters
    ----------
    random_state, n_words, features, encoding, levels, n_components, classifier, C
        As for `bovw`.

    Returns
    -------
    sklearn.pipeline.Pipeline
        As from `bovw`.

    References
    ----------
    As for `bovw`.
    """
    words = BagOfVisualWords(
        n_words=n_words,
        features=features,
        encoding=encoding,
        levels=tuple(levels),
        n_components=n_components,
        means=True,
        random_state=random_state,
    )
    return _classify(words, classifier, C)


@register_model(kind="bovw")
def bovw_fisher(
    *,
    random_state: int,
    n_words: int = 64,
    features: str = "dense_sift",
    levels: tuple[int, ...] = (1,),
    n_components: int = 64,
    place_weight: float = 1.0,
    classifier: str = "logistic",
    C: float = 1.0,
) -> "Pipeline":
    """Dense SIFT with its place, a mixture of Gaussians for words, Fisher vectors, logistic regression.

    Parameters
    ----------
    random_state, n_words, features, levels, n_components, classifier, C
        As for `bovw`.
    place_weight : float
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
    words = BagOfVisualWords(
        n_words=n_words,
        features=features,
        encoding="fisher",
        levels=tuple(levels),
        n_components=n_components,
        place_weight=place_weight,
        random_state=random_state,
    )
    return _classify(words, classifier, C)


def _classify(words: BagOfVisualWords, classifier: str, C: float) -> "Pipeline":
    """Return the pipeline of an encoding and a classifier with probabilities."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.kernel_approximation import AdditiveChi2Sampler
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer
    from sklearn.svm import LinearSVC

    if classifier not in CLASSIFIERS:
        raise FerlibError(f"classifier must be one of {', '.join(CLASSIFIERS)}, got '{classifier}'.")
    if classifier == "svm":
        return make_pipeline(words, CalibratedClassifierCV(LinearSVC(C=C), ensemble=False))
    logistic = LogisticRegression(C=C, max_iter=300)
    if classifier == "logistic":
        return make_pipeline(words, logistic)
    if words.means or words.encoding in ("vlad", "fisher"):
        raise FerlibError("The chi-square kernel compares counts: it goes with encodings that count, without means.")
    # The histogram's square roots become shares again, which is what the kernel compares.
    return make_pipeline(words, FunctionTransformer(np.square), AdditiveChi2Sampler(), logistic)
