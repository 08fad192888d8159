"""A plain network of 3x3 convolutions, for many faces per second."""

from typing import TYPE_CHECKING, Any

from ferlib.core.backend import import_keras
from ferlib.core.errors import OptionError
from ferlib.models.blocks import Blocks
from ferlib.models.registry import Count, Rate, register_model

if TYPE_CHECKING:
    import keras


def _check_fast(*, widths: tuple[int, ...], depths: tuple[int, ...], **_: Any) -> None:
    if len(depths) != len(widths):
        raise OptionError(f"fast_cnn needs one depth per width: got {len(depths)} depths and {len(widths)} widths.")


@register_model(kind="cnn", check=_check_fast)
def fast_cnn(
    n_classes: int,
    *,
    image_size: tuple[int | None, int | None] = (48, 48),
    channels: int = 1,
    stem: Count = 32,
    widths: tuple[Count, ...] = (48, 64, 128),
    depths: tuple[Count, ...] = (1, 3, 4),
    dropout: Rate = 0.2,
    seed: int = 0,
    dtype: str = "float32",
) -> "keras.Model":
    """Plain network of 3x3 convolutions with extra branches in training (RepVGG).

    In training each convolution is the sum of a 3x3 convolution, a 1x1 convolution and, where the shape stays, the
    identity, each with batch normalization. Export folds the sum into one 3x3 convolution with a bias, which computes
    the same. The common parameters are explained in `ferlib.models.cnn`.

    Parameters
    ----------
    stem : int
        Channels of the first convolution, at full resolution.
    widths, depths : tuple of int
        Channels and number of convolutions of each stage; the first convolution of a stage halves the image.
    dropout : float
        Dropout rate of the pooled features.

    References
    ----------
    X. Ding, X. Zhang, N. Ma, J. Han, G. Ding, J. Sun, "RepVGG: Making VGG-style ConvNets Great Again", CVPR 2021.
    """
    layers = import_keras().layers
    blocks = Blocks(seed, dtype)
    inputs, x = blocks.input(image_size, channels)
    x = rep_block(blocks, x, stem, name="stem")
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True), start=1):
        for number in range(1, depth + 1):
            x = rep_block(blocks, x, width, strides=2 if number == 1 else 1, name=f"stage{stage}_{number}")
    features = blocks.dropout(layers.GlobalAveragePooling2D(dtype=dtype)(x), dropout)
    return blocks.model(inputs, features, n_classes, "fast_cnn")


def rep_block(blocks: Blocks, x: Any, width: int, *, name: str, strides: int = 1) -> Any:
    """Apply ReLU to a sum of branches: (n, H, W, C) to (n, H / strides, W / strides, width).

    The layers are ``NAME_conv3`` and ``NAME_conv3_bn``, ``NAME_conv1`` and ``NAME_conv1_bn``, ``NAME_identity_bn``.
    """
    branches = [
        blocks.conv_bn(x, width, kernel_size=size, strides=strides, name=f"{name}_conv{size}") for size in (3, 1)
    ]
    if strides == 1 and x.shape[-1] == width:
        branches.append(blocks.normalize(x, name=f"{name}_identity_bn"))
    return blocks.relu(blocks.add(branches))
