"""Convolutional networks in Keras 3: images of 0 to 255 in, probabilities out, on any Keras backend.

All builders share these parameters: `n_classes`; `image_size`, (height, width) in pixels; `channels`, 1 for gray and 3
for RGB; `seed` of the initial weights and of dropout; `dtype`, the Keras policy of the layers, ``"float32"`` or
``"mixed_bfloat16"``. They return a network that is not compiled: input ``(n, *image_size, channels)``, 0 to 255; output
float32 (n, n_classes), rows sum to 1. `ModelSpec.build` checks the options.
"""

from typing import TYPE_CHECKING, Any, Literal

from ferlib.core.errors import OptionError
from ferlib.models.blocks import Blocks
from ferlib.models.registry import Count, CountOrZero, NonNegative, Rate, register_model

if TYPE_CHECKING:
    import keras


def _check_compact(*, widths: tuple[int, ...], depth: int | tuple[int, ...], **_: Any) -> None:
    if not isinstance(depth, int) and len(depth) != len(widths):
        raise OptionError(f"compact_cnn needs one depth per width: got {len(depth)} depths and {len(widths)} widths.")


@register_model(kind="cnn", check=_check_compact)
def compact_cnn(
    n_classes: int,
    *,
    image_size: tuple[int | None, int | None] = (48, 48),
    channels: int = 1,
    stem: tuple[Count, ...] = (),
    widths: tuple[Count, ...] = (64, 128, 256),
    depth: Count | tuple[Count, ...] = 2,
    se_reduction: CountOrZero = 8,
    dropout: Rate = 0.3,
    seed: int = 0,
    dtype: str = "float32",
) -> "keras.Model":
    """Residual network with squeeze-and-excitation and global average pooling, small enough for a CPU.

    A convolution of stride 2 halves the image, before or after the `stem`, because full resolution is slow on a CPU.
    Each stage has `depth` 3x3 convolutions with batch normalization and ReLU, and residual connections where the
    number of channels does not change. Squeeze-and-excitation ends a stage. Max-pooling separates stages.

    Parameters
    ----------
    image_size : tuple of int
        At least 8 pixels per side for three stages; (None, None) for any size.
    stem : tuple of int
        Channels of 3x3 convolutions at full resolution. Without a stem the first convolution is 5x5.
    widths : tuple of int
        Channels per stage.
    depth : int or tuple of int
        Convolutions in every stage, or per stage.
    se_reduction : int
        Squeeze-and-excitation has a bottleneck of 1 / `se_reduction` of the channels; 0 disables it.
    dropout : float
        Dropout rate of the pooled features.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016. J. Hu, L. Shen, G. Sun,
    "Squeeze-and-Excitation Networks", CVPR 2018.
    """
    depths = (depth,) * len(widths) if isinstance(depth, int) else depth
    blocks = Blocks(seed, dtype)
    inputs, x = blocks.input(image_size, channels)
    for width in stem:
        x = blocks.residual(x, width)
    x = blocks.conv(x, widths[0], kernel_size=3 if stem else 5, strides=2)
    for stage, (width, convolutions) in enumerate(zip(widths, depths, strict=True)):
        if stage:
            x = blocks.pool(x)
        for _ in range(convolutions):
            x = blocks.residual(x, width)
        if se_reduction:
            x = blocks.squeeze_excite(x, se_reduction)
    x = blocks.dropout(blocks.average(x), dropout)
    return blocks.model(inputs, x, n_classes, "compact_cnn")


@register_model(kind="cnn")
def gap_cnn(
    n_classes: int,
    *,
    image_size: tuple[int | None, int | None] = (48, 48),
    channels: int = 1,
    widths: tuple[Count, ...] = (32, 64, 128, 256),
    dense: Count = 128,
    dropout: Rate = 0.3,
    seed: int = 0,
    dtype: str = "float32",
) -> "keras.Model":
    """Four convolutional stages, global average pooling and one dense layer.

    Each stage is a 3x3 convolution, max-pooling and batch normalization; `widths` are their channels. An image has at
    least 16 pixels per side for four stages. `dense` is the number of units, `dropout` the rate after the dense layer.
    Networks of this kind are published in Kaggle notebooks with about 62 % on the 7,178 images of FER2013's two test
    splits.

    References
    ----------
    M. Lin, Q. Chen, S. Yan, "Network In Network", ICLR 2014 (global average pooling).
    """
    blocks = Blocks(seed, dtype)
    inputs, x = blocks.input(image_size, channels)
    for width in widths:
        x = blocks.normalize(blocks.pool(blocks.plain_conv(x, width)))
    x = blocks.dropout(blocks.dense(blocks.average(x), dense), dropout)
    return blocks.model(inputs, x, n_classes, "gap_cnn")


def _check_vgg(
    *, widths: tuple[int, ...], convolutions: tuple[int, ...], dropouts: tuple[float, ...], **_: Any
) -> None:
    if not len(widths) == len(convolutions) == len(dropouts):
        raise OptionError("vgg_dense needs widths, convolutions and dropouts of equal length, one per block.")


@register_model(kind="cnn", check=_check_vgg)
def vgg_dense(
    n_classes: int,
    *,
    image_size: tuple[int, int] = (48, 48),
    channels: int = 1,
    widths: tuple[Count, ...] = (64, 128, 256, 512),
    convolutions: tuple[Count, ...] = (2, 2, 3, 2),
    dropouts: tuple[Rate, ...] = (0.25, 0.3, 0.4, 0.5),
    dense: tuple[Count, ...] = (1024, 512),
    l2: NonNegative = 1e-4,
    seed: int = 0,
    dtype: str = "float32",
) -> "keras.Model":
    """Four VGG blocks and two large dense layers, 10.5 million parameters.

    A published network for FER2013, reported with 66.13 % on the 7,178 images of its two test splits. The number of
    convolutions per block was not published; this choice gives the published number of parameters.

    Parameters
    ----------
    image_size : tuple of int
        At least 16 pixels per side for four blocks.
    widths, convolutions, dropouts : tuple
        Channels, number of 3x3 convolutions and dropout rate per block.
    dense : tuple of int
        Units per dense layer; each is followed by dropout of 0.5.
    l2 : float
        L2 penalty of the kernels.

    References
    ----------
    K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015.
    """
    blocks = Blocks(seed, dtype, l2=l2)
    inputs, x = blocks.input(image_size, channels)
    for width, n_convolutions, dropout in zip(widths, convolutions, dropouts, strict=True):
        for _ in range(n_convolutions):
            x = blocks.conv(x, width)
        x = blocks.dropout(blocks.pool(x), dropout)
    x = blocks.flatten(x)
    for units in dense:
        x = blocks.dropout(blocks.dense(x, units, normalize=True), 0.5)
    return blocks.model(inputs, x, n_classes, "vgg_dense")


@register_model(kind="cnn", image_size=(64, 64), channels=3)
def three_block_cnn(
    n_classes: int,
    *,
    image_size: tuple[int, int] = (64, 64),
    channels: int = 3,
    widths: tuple[Count, ...] = (32, 64, 128),
    dense: tuple[Count, ...] = (256, 128),
    dropouts: tuple[Rate, Rate] = (0.25, 0.5),
    seed: int = 0,
    dtype: str = "float32",
) -> "keras.Model":
    """Three convolutional blocks on 64x64 RGB images, the usual network for ExpW.

    Each block is a 3x3 convolution with batch normalization, max-pooling and dropout. The dense layers are batch
    normalized, unlike in some published versions: without it, Adam's first steps can push every unit below zero, and
    the network then predicts one class for every image.

    `widths` are the blocks' channels, `dense` the units per dense layer, `dropouts` the rates after each block and
    after each dense layer. An image has at least 8 pixels per side for three blocks.

    References
    ----------
    Z. Zhang, P. Luo, C. C. Loy, X. Tang, "From Facial Expression Recognition to Interpersonal Relation Prediction",
    IJCV 2018 (the ExpW dataset).
    """
    blocks = Blocks(seed, dtype)
    inputs, x = blocks.input(image_size, channels)
    for width in widths:
        x = blocks.dropout(blocks.pool(blocks.conv(x, width)), dropouts[0])
    x = blocks.flatten(x)
    for units in dense:
        x = blocks.dropout(blocks.dense(x, units, normalize=True), dropouts[1])
    return blocks.model(inputs, x, n_classes, "three_block_cnn")


def _check_plain(*, depth: int, image_size: tuple[int, int] = (48, 48), **_: Any) -> None:
    if min(image_size) < 2**depth:
        raise OptionError(f"plain_cnn cannot halve images of {image_size[0]}x{image_size[1]} pixels {depth} times.")


@register_model(kind="cnn", check=_check_plain)
def plain_cnn(
    n_classes: int,
    *,
    image_size: tuple[int, int] = (48, 48),
    channels: int = 1,
    depth: Count = 3,
    width: Count = 32,
    pooling: Literal["max", "average", "stride"] = "max",
    dense: CountOrZero = 128,
    batch_norm: bool = False,
    dropout: Rate = 0.0,
    seed: int = 0,
    dtype: str = "float32",
) -> "keras.Model":
    """Small sequential network for experiments with its layers.

    Parameters
    ----------
    image_size : tuple of int
        At least 2 ** `depth` pixels per side.
    depth : int
        Number of stages, each a 3x3 convolution and pooling.
    width : int
        Channels of the first stage, doubled in every further stage.
    pooling : {"max", "average", "stride"}
        How a stage halves the image; ``"stride"`` uses a convolution of stride 2 instead of pooling.
    dense : int
        Units of the dense layer; 0 for none.
    batch_norm : bool
        Whether batch normalization follows each convolution.
    dropout : float
        Dropout rate of the last features.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998.
    """
    blocks = Blocks(seed, dtype)
    inputs, x = blocks.input(image_size, channels)
    convolve = blocks.conv if batch_norm else blocks.plain_conv
    for stage in range(depth):
        x = convolve(x, width * 2**stage, strides=2 if pooling == "stride" else 1)
        if pooling != "stride":
            x = blocks.pool(x, pooling)
    x = blocks.flatten(x)
    if dense:
        x = blocks.dense(x, dense)
    return blocks.model(inputs, blocks.dropout(x, dropout), n_classes, "plain_cnn")
