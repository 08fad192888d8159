"""The class prior: how frequent each emotion is where a model is used, and probabilities re-weighted for it."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import OptionError
from ferlib.runs.classifier import Classifier

PriorName = Literal["photographs", "training"]

#: The names of priors that `make_prior` takes, besides one share per class.
PRIORS: tuple[PriorName, ...] = get_args(PriorName)

#: Faces of each emotion in ExpW, which was collected by image searches on the web: 91,793 faces as published by
#: Z. Zhang, P. Luo, C. C. Loy, X. Tang, "From Facial Expression Recognition to Interpersonal Relation Prediction",
#: IJCV 2018. They stand for photographs in general: two thirds of the faces are neutral or happy.
PHOTOGRAPH_COUNTS = {
    "angry": 3_671,
    "disgust": 3_995,
    "fear": 1_088,
    "happy": 30_537,
    "sad": 10_559,
    "surprise": 7_060,
    "neutral": 34_883,
}

# A smaller probability could be 0, and a row with nothing but zeros cannot be normalized.
_MIN_PROBABILITY = 1e-12

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClassPrior:
    """Factors that turn probabilities under the class shares of the training data into those under other shares.

    Attributes
    ----------
    name : str
        ``"training"``, ``"photographs"``, or the shares as text. Records store it, and `parse_prior` reads it.
    factors : tuple of float, or None
        The wanted share of each class divided by its share in the training data; None changes nothing.

    Notes
    -----
    By Bayes' rule, a class's probability is proportional to its share times the likelihood of the image. Only the
    shares differ, so each probability is multiplied by its factor, and the row is normalized.

    References
    ----------
    M. Saerens, P. Latinne, C. Decaestecker, "Adjusting the Outputs of a Classifier to New a Priori Probabilities: A
    Simple Procedure", Neural Computation 2002.

    Examples
    --------
    >>> prior = make_prior((0.9, 0.1), class_names=("happy", "sad"), training_shares=(0.5, 0.5))
    >>> prior.apply(np.array([[0.5, 0.5]])).round(2).tolist()
    [[0.9, 0.1]]
    """

    name: str
    factors: tuple[float, ...] | None = None

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """Return probabilities (..., n_classes) under this prior, in the same dtype; rows sum to 1."""
        if self.factors is None:
            return probabilities
        weighted = np.maximum(probabilities.astype(float), _MIN_PROBABILITY) * self.factors
        return (weighted / weighted.sum(axis=-1, keepdims=True)).astype(probabilities.dtype)


#: The prior that changes nothing: the class shares of the training data.
TRAINING_PRIOR = ClassPrior("training")


def parse_prior(prior: str | Sequence[float], name: str = "prior") -> PriorName | tuple[float, ...]:
    """Return a prior's name, or its shares, which sum to 1.

    Parameters
    ----------
    prior : str or sequence of float
        ``"photographs"``, ``"training"``, or a share per class, also as text with commas: not negative, not all zero.
    name : str
        What an error calls it, such as ``"--prior"``.

    Raises
    ------
    OptionError
        It is something else.

    Examples
    --------
    >>> parse_prior("photographs"), parse_prior("3,1")
    ('photographs', (0.75, 0.25))
    """
    for known in PRIORS:
        if isinstance(prior, str) and prior == known:
            return known
    try:
        shares = [float(share) for share in (prior.split(",") if isinstance(prior, str) else prior)]
    except (TypeError, ValueError):
        shares = []
    total = sum(shares)
    if len(shares) < 2 or not math.isfinite(total) or total <= 0 or min(shares) < 0:
        raise OptionError(
            f"{name}: expected {' or '.join(PRIORS)}, or a comma-separated share of each class, at least 0, "
            f"got {prior if isinstance(prior, str) else repr(prior)}."
        )
    return tuple(share / total for share in shares)


def make_prior(
    prior: str | Sequence[float] | ClassPrior,
    *,
    class_names: Sequence[str],
    training_shares: Sequence[float] | None,
    photographs: bool = False,
    name: str = "prior",
) -> ClassPrior:
    """Return a prior for a model.

    Parameters
    ----------
    prior : str, sequence of float or ClassPrior
        As `parse_prior` takes it. ``"photographs"`` applies to the seven emotions and to subsets of them. A model with
        other classes keeps its training prior, and so does one whose training shares are unknown; this is logged.
    class_names : sequence of str
        The model's classes, in whose order the shares are.
    training_shares : sequence of float, or None
        The share of each class in the training data, above 0; None if it is unknown.
    photographs : bool
        Whether the probabilities are already those for photographs; then ``"photographs"`` changes nothing.
    name : str
        What an error calls it, such as ``"--prior"``.

    Raises
    ------
    OptionError
        The prior is none of these, the number of shares is not that of the classes, or there are shares for a model
        whose training shares are unknown.
    """
    if isinstance(prior, ClassPrior):
        return prior
    parsed = parse_prior(prior, name)
    if parsed == "training":
        return TRAINING_PRIOR
    if parsed == "photographs" and photographs:
        return ClassPrior("photographs")
    if parsed == "photographs":
        if training_shares is None or not set(class_names) <= set(EMOTIONS):
            why = "has other classes" if training_shares else "does not record its training images per class"
            logger.warning("the photographs prior cannot be used: this model %s; its training prior is kept", why)
            return TRAINING_PRIOR
        counts = [PHOTOGRAPH_COUNTS[emotion] for emotion in class_names]
        shares, label = [count / sum(counts) for count in counts], "photographs"
    else:
        shares, label = list(parsed), ",".join(f"{share:.4g}" for share in parsed)
        if len(shares) != len(class_names):
            raise OptionError(f"{name}: expected {len(class_names)} shares ({', '.join(class_names)}), got {label}.")
        if training_shares is None:
            raise OptionError(f"{name}: shares cannot be used, because the run does not record its training images.")
    return ClassPrior(label, tuple(share / trained for share, trained in zip(shares, training_shares, strict=True)))


def apply_prior(
    classifier: Classifier, prior: str | Sequence[float] | ClassPrior, name: str = "prior"
) -> tuple[Classifier, ClassPrior]:
    """Return the classifier whose answers suit a prior, and the prior for its answers.

    That is `Classifier.for_photographs` unless the prior is the training prior. The parameters and errors are those of
    `make_prior`; a `ClassPrior` belongs to the classifier as it is.
    """
    if isinstance(prior, ClassPrior):
        return classifier, prior
    # A classifier of one's own need not have more than class names and probabilities.
    if parse_prior(prior, name) != "training" and hasattr(classifier, "for_photographs"):
        classifier = classifier.for_photographs()
    chosen = make_prior(
        prior,
        class_names=classifier.class_names,
        training_shares=getattr(classifier, "training_shares", None),
        photographs=getattr(classifier, "photographs", False),
        name=name,
    )
    return classifier, chosen
