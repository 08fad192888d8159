"""How a model is trained: one record of options, stored in the run's configuration."""

from dataclasses import asdict, dataclass, field
from typing import Any

from ferlib.core.errors import FerlibError
from ferlib.preprocessing import STRATEGIES, Augmentation

OPTIMIZERS = ("adamw", "adam", "sgd")
SCHEDULES = ("cosine", "plateau", "constant")
CLASS_WEIGHTS = ("none", "balanced")
PRECISIONS = ("auto", "float32", "mixed_bfloat16")


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Options of one training.

    Parameters
    ----------
    epochs : int
        Passes over the training split, at most; a bag of visual words knows no epochs.
    batch_size : int
        Images in one step of the optimizer.
    optimizer : {"adamw", "adam", "sgd"}
        ``"sgd"`` has a Nesterov momentum of 0.9.
    learning_rate : float
        Highest rate; it rises linearly to it over `warmup_epochs`.
    schedule : {"cosine", "plateau", "constant"}
        After the rise: a fall to zero along a cosine; halving after every third epoch in a row without a lower
        validation loss; or no change.
    warmup_epochs : float
        Length of the rise, in epochs; none for a schedule that is not a cosine.
    weight_decay : float
        Decoupled decay of convolution and dense kernels, relative to the learning rate; no effect with ``"adam"``.
    label_smoothing : float
        Share of each label's weight that is spread over all classes, 0 to 1.
    mixup : float
        Parameter of the beta distribution that a batch's blending with itself is drawn from; 0 for none.
    cutmix : float
        The same for rectangles that are pasted from one image into another; with both, each batch has either.
    ema : float
        Momentum of the exponential moving average of the weights, which is what is validated and kept; 0 for none.
    patience : int
        Training ends early after so many epochs without a better validation accuracy.
    start_from : str or None
        A finished run's folder with a network of the same kind, whose weights this training begins with (fine-tuning)
        instead of random ones.
    frozen_epochs : int
        So many epochs first, in which the layers of a ``backbone`` keep their weights; for ``transfer``. After them the
        learning rate starts anew, at a tenth.
    teacher : str or None
        A run's folder whose model's probabilities for the training images are learned beside the labels
        (distillation); see `ferlib.training.out_of_fold` for those that it learned from itself.
    distillation : float
        Share of those probabilities in the target, 0 to 1.
    temperature : float
        What the teacher's logarithms of probabilities are divided by; above 1 it sounds less sure.
    votes : str or None
        A file of raters' votes for the training images (FER+), as `ferlib.data.votes.read_votes` reads it. What
        the raters said is learned beside the labels, by a second output on the same features that is dropped when
        training ends (multi-task learning).
    votes_weight : float
        Weight of the second output's loss beside the first one's.
    resample : str
        Resampling of the training split, one of `ferlib.preprocessing.STRATEGIES`.
    class_weight : {"none", "balanced"}
        ``"balanced"`` weighs the loss by the inverse of each class's share.
    augmentation : Augmentation or None
        Random changes of the training images; None for none.
    precision : {"auto", "float32", "mixed_bfloat16"}
        ``"auto"`` takes mixed bfloat16 where the processor has instructions for it.
    seed : int
        Seeds the initial weights, the order of the images, augmentation, dropout and resampling.

    Raises
    ------
    FerlibError
        An option has a value that it cannot have.

    References
    ----------
    I. Loshchilov, F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017 (cosine schedule), and
    "Decoupled Weight Decay Regularization", ICLR 2019 (AdamW). C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens,
    Z. Wojna, "Rethinking the Inception Architecture for Computer Vision", CVPR 2016 (label smoothing). H. Zhang,
    M. Cisse, Y. Dauphin, D. Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", ICLR 2018. S. Yun et al.,
    "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features", ICCV 2019. B. Polyak,
    A. Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM J. Control Optim. 1992 (averaged
    weights). G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network", 2015. R. Caruana,
    "Multitask Learning", Machine Learning 1997. E. Barsoum et al., "Training Deep Networks for Facial Expression
    Recognition with Crowd-Sourced Label Distribution", ICMI 2016 (FER+).
    """

    epochs: int = 50
    batch_size: int = 64
    optimizer: str = "adamw"
    learning_rate: float = 2e-3
    schedule: str = "cosine"
    warmup_epochs: float = 2.0
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    mixup: float = 0.0
    cutmix: float = 0.0
    ema: float = 0.0
    patience: int = 15
    start_from: str | None = None
    frozen_epochs: int = 0
    teacher: str | None = None
    distillation: float = 0.5
    temperature: float = 1.0
    votes: str | None = None
    votes_weight: float = 1.0
    resample: str = "none"
    class_weight: str = "none"
    augmentation: Augmentation | None = field(default_factory=Augmentation)
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values that no training could use."""
        for name in ("epochs", "batch_size", "patience"):
            _require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        for name in ("learning_rate", "temperature"):
            _require(0 < getattr(self, name) < float("inf"), name, "above 0", getattr(self, name))
        for name in ("seed", "warmup_epochs", "weight_decay", "mixup", "cutmix", "votes_weight", "frozen_epochs"):
            _require(0 <= getattr(self, name) < float("inf"), name, "at least 0", getattr(self, name))
        for name in ("label_smoothing", "ema"):
            _require(0 <= getattr(self, name) < 1, name, "from 0 to below 1", getattr(self, name))
        if self.votes is not None and self.resample != "none":
            raise FerlibError("Votes are of the images as they are: with them, resample must be none.")
        _require(0 <= self.distillation <= 1, "distillation", "from 0 to 1", self.distillation)
        choices = {
            "optimizer": OPTIMIZERS,
            "schedule": SCHEDULES,
            "resample": STRATEGIES,
            "class_weight": CLASS_WEIGHTS,
            "precision": PRECISIONS,
        }
        for name, allowed in choices.items():
            _require(getattr(self, name) in allowed, name, f"one of {', '.join(allowed)}", f"'{getattr(self, name)}'")

    def peak_rate(self, epochs_done: int) -> float:
        """Return the highest learning rate from an epoch on."""
        # A high rate would spoil a backbone's weights as soon as they may change.
        return self.learning_rate * (0.1 if 0 < self.frozen_epochs <= epochs_done else 1.0)

    def to_config(self) -> dict[str, Any]:
        """Return the options as JSON can hold them."""
        return asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TrainingOptions":
        """Return the options that `to_config` wrote."""
        augmentation = config.get("augmentation")
        return cls(**{**config, "augmentation": Augmentation(**augmentation) if augmentation else None})


def _require(holds: bool, name: str, allowed: str, value: Any) -> None:
    """Raise with the option's name unless a condition holds."""
    if not holds:
        raise FerlibError(f"{name} must be {allowed}, got {value}.")
