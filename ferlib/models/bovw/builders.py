"""Bag-of-visual-words models: one builder and its presets."""

from typing import TYPE_CHECKING, Any, Literal

from ferlib.core.errors import OptionError
from ferlib.models.registry import Count, CountOrZero, NonNegative, Positive, register_model, register_preset

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def _check_bovw(*, encoding: str, spatial_stats: bool, position_weight: float, **_: Any) -> None:
    if spatial_stats and encoding != "histogram":
        raise OptionError("spatial_stats can only be combined with encoding=histogram.")
    if position_weight and encoding != "fisher":
        raise OptionError("position_weight can only be combined with encoding=fisher.")


@register_model(kind="bovw", check=_check_bovw)
def bovw(
    *,
    random_state: int,
    n_words: Count = 2000,
    encoding: Literal["histogram", "fisher"] = "histogram",
    levels: tuple[Count, ...] = (1,),
    n_components: CountOrZero = 64,
    spatial_stats: bool = False,
    position_weight: NonNegative = 0.0,
    flip_invariant: bool = True,
    classifier: Literal["logistic", "kernel"] = "kernel",
    C: Positive = 5.0,
    gamma: Positive = 3.0,
) -> "Pipeline":
    """Histogram of visual words from dense SIFT and k-means, classified with a Gaussian kernel.

    Parameters
    ----------
    random_state : int
        Determines the vocabulary and the classifier.
    n_words, encoding, levels, n_components, spatial_stats, position_weight, flip_invariant
        See `ferlib.models.bovw.transformer.BagOfVisualWords`.
    classifier : {"logistic", "kernel"}
        Logistic regression, which `ferlib.models.bovw.inspection.most_discriminative_words` needs, or
        `ferlib.models.bovw.kernel_ridge.KernelRidgeClassifier`, which stores all training vectors and is about nine
        points more accurate on FER2013.
    C : float
        Inverse regularization strength.
    gamma : float
        Coefficient of the Gaussian kernel.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Not fitted; ``fit(images, labels)`` and ``predict_proba(images)`` take images uint8 (n, H, W, C).

    References
    ----------
    G. Csurka, C. Dance, L. Fan, J. Willamowski, C. Bray, "Visual Categorization with Bags of Keypoints", ECCV
    workshop 2004. J. Sanchez, F. Perronnin, T. Mensink, J. Verbeek, "Image Classification with the Fisher Vector:
    Theory and Practice", IJCV 2013. J. Sanchez, F. Perronnin, T. de Campos, "Modeling the spatial layout of images
    beyond spatial pyramids", Pattern Recognition Letters 2012 (positions as part of descriptors).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from ferlib.models.bovw.kernel_ridge import KernelRidgeClassifier
    from ferlib.models.bovw.transformer import BagOfVisualWords

    bag = BagOfVisualWords(
        n_words=n_words,
        encoding=encoding,
        levels=tuple(levels),
        n_components=n_components,
        spatial_stats=spatial_stats,
        position_weight=position_weight,
        flip_invariant=flip_invariant,
        random_state=random_state,
    )
    if classifier == "logistic":
        return make_pipeline(bag, LogisticRegression(C=C, max_iter=300))
    return make_pipeline(bag, KernelRidgeClassifier(gamma=gamma, alpha=1 / C, random_state=random_state))


register_preset(
    "bovw_spatial",
    "bovw",
    "Histogram of visual words with the mean position and spread of each word.",
    spatial_stats=True,
    # Vectors with positions are farther apart.
    gamma=1.0,
)
register_preset(
    "bovw_fisher",
    "bovw",
    "Fisher vectors of dense SIFT descriptors and their positions.",
    encoding="fisher",
    n_words=128,
    position_weight=1.0,
    C=10.0,
)
