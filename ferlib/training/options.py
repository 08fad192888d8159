"""The options of a training."""

# ruff: noqa: RUF009 (`partial` hides from ruff that these are calls of `option`)

from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any, Literal

from ferlib.core.errors import OptionError
from ferlib.core.options import check_options, option
from ferlib.preprocessing import Augmentation, Strategy

Optimizer = Literal["adamw", "adam"]
Schedule = Literal["cosine", "plateau", "constant"]
ClassWeight = Literal["none", "balanced"]
Precision = Literal["auto", "float32", "mixed_bfloat16"]

_training = partial(option, group="training (default: the model's own)", default_text="")
_start = partial(option, group="initial weights")
_targets = partial(option, group="training targets")


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Options of one training.

    The help texts of the fields describe them. Some need more words:

    - ``optimizer``: ``"adam"`` ignores the weight decay.
    - ``schedule``: ``"cosine"`` is a linear warm-up, then a cosine decay to zero; ``"plateau"`` halves the rate after
      three epochs without a lower validation loss.
    - ``ema``: momentum of the exponential moving average of the weights, which is validated and kept.
    - ``patience``: training stops after this many epochs without a higher validation accuracy.
    - ``class_weight``: ``"balanced"`` weights the loss by the inverse frequency of each class.
    - ``precision``: ``"auto"`` is mixed bfloat16 on processors with bfloat16 instructions.
    - ``frozen_epochs``: the layer ``backbone`` of ``transfer`` is not trained; the learning rate then restarts at a
      tenth.
    - ``teacher``: its probabilities for the training images are blended with the labels. Images that it was trained on
      get its out-of-fold probabilities where the run has them.
    - ``votes``: raters' votes, which an auxiliary output learns (multi-task learning); it is removed after training.

    Raises
    ------
    OptionError
        A value has the wrong type or is out of range, or `votes` is combined with `resample`.

    References
    ----------
    I. Loshchilov, F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017 (cosine schedule), and
    "Decoupled Weight Decay Regularization", ICLR 2019 (AdamW). C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens,
    Z. Wojna, "Rethinking the Inception Architecture for Computer Vision", CVPR 2016 (label smoothing). H. Zhang,
    M. Cisse, Y. Dauphin, D. Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", ICLR 2018. B. Polyak, A. Juditsky,
    "Acceleration of Stochastic Approximation by Averaging", SIAM J. Control Optim. 1992 (averaged
    weights). G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network", 2015. R. Caruana,
    "Multitask Learning", Machine Learning 1997. E. Barsoum et al., "Training Deep Networks for Facial Expression
    Recognition with Crowd-Sourced Label Distribution", ICMI 2016 (FER+).
    """

    epochs: int = _training(50, help="maximum number of epochs", minimum=1)
    batch_size: int = _training(64, help="images per optimizer step", minimum=1)
    optimizer: Optimizer = _training("adamw", help="optimizer")
    learning_rate: float = _training(2e-3, help="peak learning rate", above=0)
    schedule: Schedule = _training("cosine", help="learning-rate schedule")
    warmup_epochs: float = _training(2.0, help="warm-up of the cosine schedule, in epochs", minimum=0)
    weight_decay: float = _training(0.05, help="decoupled weight decay of the kernels", minimum=0)
    label_smoothing: float = _training(0.1, help="share of the label spread over all classes", minimum=0, below=1)
    mixup: float = _training(0.0, help="mixup: parameter of the beta distribution, 0 for none", minimum=0)
    ema: float = _training(0.0, help="momentum of the averaged weights, 0 for none", minimum=0, below=1)
    patience: int = _training(15, help="epochs without improvement before stopping", minimum=1)
    resample: Strategy = _training("none", help="resampling of the train split")
    class_weight: ClassWeight = _training("none", help="class weights in the loss")
    augmentation: Augmentation | None = _training(
        Augmentation,
        flag="--augment",
        help="random changes of the training images, such as rotation=20 or crop=0.8",
    )
    precision: Precision = _training("auto", help="floating-point precision of training")
    seed: int = _training(0, help="random seed", minimum=0, default_text=None)
    init_from: str | None = _start(None, help="start with the weights of this run (fine-tuning)", metavar="RUN")
    frozen_epochs: int = _start(0, help="first epochs without training the backbone", minimum=0, default_text="")
    teacher: str | None = _targets(None, help="run to distill from", metavar="RUN")
    distillation_weight: float = _targets(0.5, help="share of the teacher in the targets", minimum=0, maximum=1)
    distillation_temperature: float = _targets(1.0, help="softmax temperature of the teacher", above=0)
    votes: str | None = _targets(None, help="CSV of FER+ votes, learned by an auxiliary output", metavar="CSV")
    aux_loss_weight: float = _targets(1.0, help="weight of the auxiliary output's loss", minimum=0)

    def __post_init__(self) -> None:
        """Check types, ranges and combinations."""
        check_options(self)
        if self.votes is not None and self.resample != "none":
            raise OptionError("--votes cannot be combined with --resample: votes belong to the original images.")

    def peak_rate(self, epochs_done: int) -> float:
        """Return the highest learning rate from an epoch on."""
        # A high rate would destroy the backbone's pretrained weights once they are trained too.
        return self.learning_rate * (0.1 if 0 < self.frozen_epochs <= epochs_done else 1.0)

    def to_config(self) -> dict[str, Any]:
        """Return the options as JSON can hold them."""
        return asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TrainingOptions":
        """Return the options that `to_config` wrote; options that no longer exist are ignored."""
        values = {field.name: config[field.name] for field in fields(cls) if field.name in config}
        augmentation = config.get("augmentation")
        return cls(**{**values, "augmentation": Augmentation(**augmentation) if augmentation else None})
