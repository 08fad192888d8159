"""How a model is trained: one record of options, stored in the run's configuration."""

from dataclasses import asdict, dataclass, field
from typing import Any

from ferlib.errors import FerlibError
from ferlib.prepare import STRATEGIES, Augmentation


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Options of one training.

    Parameters
    ----------
    epochs : int
        Passes over the training split, at most; a bag of visual words knows no epochs.
    batch_size : int
        Pictures in one step of the optimizer.
    learning_rate : float
        Highest rate; it rises linearly over `warmup_epochs` and falls to zero along a cosine.
    warmup_epochs : float
        Length of the rise, in epochs.
    weight_decay : float
        AdamW's decay of convolution and dense kernels, relative to the learning rate.
    label_smoothing : float
        Share of each label's weight that is spread over all classes.
    patience : int
        Training ends early after so many epochs without a better validation accuracy.
    resample : {"none", "random_over", "random_under", "smote"}
        Resampling of the training split; see `ferlib.prepare.resample_images`.
    class_weight : {"none", "balanced"}
        ``"balanced"`` weighs the loss by the inverse of each class's share.
    augmentation : Augmentation or None
        Random changes of the training pictures; None for none.
    precision : {"auto", "float32", "mixed_bfloat16"}
        ``"auto"`` takes mixed bfloat16 where the processor has instructions for it.
    seed : int
        Seeds the initial weights, the order of the pictures, augmentation, dropout and resampling.

    Raises
    ------
    FerlibError
        An option has a value that it cannot have.

    References
    ----------
    I. Loshchilov, F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017 (cosine schedule), and
    "Decoupled Weight Decay Regularization", ICLR 2019 (AdamW). C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens,
    Z. Wojna, "Rethinking the Inception Architecture for Computer Vision", CVPR 2016 (label smoothing).
    """

    epochs: int = 50
    batch_size: int = 64
    learning_rate: float = 2e-3
    warmup_epochs: float = 2.0
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    patience: int = 15
    resample: str = "none"
    class_weight: str = "none"
    augmentation: Augmentation | None = field(default_factory=Augmentation)
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values that no training could use."""
        for name in ("epochs", "batch_size", "patience"):
            if getattr(self, name) < 1:
                raise FerlibError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if not 0 < self.learning_rate < float("inf"):
            raise FerlibError(f"learning_rate must be above 0, got {self.learning_rate}.")
        if self.seed < 0:
            raise FerlibError(f"seed must be at least 0, got {self.seed}.")
        choices = {
            "resample": STRATEGIES,
            "class_weight": ("none", "balanced"),
            "precision": ("auto", "float32", "mixed_bfloat16"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise FerlibError(f"{name} must be one of {', '.join(allowed)}, got '{getattr(self, name)}'.")

    def to_config(self) -> dict[str, Any]:
        """Return the options as JSON can hold them."""
        return asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TrainingOptions":
        """Return the options that `to_config` wrote."""
        augmentation = config.get("augmentation")
        return cls(**{**config, "augmentation": Augmentation(**augmentation) if augmentation else None})
