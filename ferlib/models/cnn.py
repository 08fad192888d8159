"""Convolutional networks in Keras 3: images of 0 to 255 in, probabilities out, on any of its backends."""

from typing import TYPE_CHECKING

from ferlib.core.errors import FerlibError
from ferlib.models.blocks import Layers
from ferlib.models.registry import register_model
from ferlib.preprocessing import Augmentation

if TYPE_CHECKING:
    import keras

POOLINGS = ("max", "average", "stride")

#: How `compact_cnn` is trained unless told otherwise; an ensemble's members are too.
COMPACT_TRAINING = {"epochs": 46, "patience": 20, "label_smoothing": 0.05}

# What the field's usual projects change in training images: turns, sizes, shifts and mirror images, nothing else.
_USUAL_CHANGES = Augmentation(rotation=10, scale=0.1, shift=0.1, brightness=0, contrast=0, erase=0, blur=0, noise=0)


@register_model(kind="cnn", **COMPACT_TRAINING)
def compact_cnn(
    n_classes: int,
    *,
    image_size: tuple[int | None, int | None] = (48, 48),
    channels: int = 1,
    stem: tuple[int, ...] = (),
    widths: tuple[int, ...] = (64, 128, 256),
    depth: int | tuple[int, ...] = 2,
    squeeze: int = 8,
    dropout: float = 0.3,
    seed: int = 0,
    dtype: str = "float32",
) -> "keras.Model":
    """Three stages of residual 3x3 convolutions and global average pooling; small enough for two CPU cores.

    A convolution of stride 2 comes first or after the `stem`, because full resolution costs a CPU much. Each stage is
    `depth` convolutions with batch normalization, the image halved between stages; where the number of channels
    stays, the input of a convolution is added to its output. At the end of a stage the channels are weighed by what the
    whole image shows (squeeze and excitation).

    Parameters
    ----------
    n_classes : int
    image_size : tuple of int
        (height, width) in pixels, at least 8 a side for three stages; (None, None) for images of any size.
    channels : int
        1 for gray, 3 for RGB.
    stem : tuple of int
        Channels of 3x3 convolutions at full resolution; without them the first convolution, of stride 2, is 5x5.
    widths : tuple of int
        Channels of each stage.
    depth : int or tuple of int
        Convolutions in each stage, or in every one.
    squeeze : int
        Squeeze and excitation goes through a layer of 1 / `squeeze` of the channels; 0 for none.
    dropout : float
        Fraction of the pooled features that is dropped in training.
    seed : int
        Seeds the initial weights and dropout.
    dtype : str
        Keras's policy for the layers: ``"float32"`` or ``"mixed_bfloat16"``. The probabilities are float32 in both.

    Returns
    -------
    keras.Model
        Input (n, *image_size, channels), 0 to 255; output (n, n_classes), rows summing to 1. Not compiled.

    Raises
    ------
    FerlibError
        There are not as many depths as widths.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016. J. Hu, L. Shen, G. Sun,
    "Squeeze-and-Excitation Networks", CVPR 2018.
    """
    depths = (depth,) * len(widths) if isinstance(depth, int) else depth
    if len(depths) != len(widths):
        raise FerlibError(f"depth must have as many numbers as widths, {len(widths)}, got {len(depths)}.")
    make = Layers(seed, dtype)
    inputs, x = make.input(image_size, channels)
    for width in stem:
        x = make.residual(x, width)
    x = make.conv(x, widths[0], kernel_size=3 if stem else 5, strides=2)
    for stage, (width, convolutions) in enumerate(zip(widths, depths, strict=True)):
        if stage:
            x = make.pool(x)
        for _ in range(convolutions):
            x = make.residual(x, width)
        if squeeze:
            x = make.squeeze_excite(x, squeeze)
    x = make.dropout(make.average(x), dropout)
    return make.model(inputs, x, n_classes, "compact_cnn")


@register_model(
    kind="cnn",
    optimizer="adam",
    learning_rate=1e-3,
    schedule="constant",
    label_smoothing=0.0,
    patience=10,
    resample="random_over",
    augmentation=_USUAL_CHANGES,
)
def gap_cnn(
    n_classes: int,
    *,
    image_size: tuple[int | None, int | None] = (48, 48),
    channels: int = 1,
    widths: tuple[int, ...] = (32, 64, 128, 256),
    dense: int = 128,
    dropout: float = 0.3,
    seed: int = 0,
    dtype: str = "float32",
) -> "keras.Model":
    """Convolution, max-pooling and batch normalization four times, global average pooling, one dense layer.

    Trained on the oversampled, augmented train split with Adam and early stopping. Networks of this kind are published
    in notebooks on Kaggle with about 62 % on the 7,178 images of FER2013's two test splits. Their sparse categorical
    cross-entropy is the cross-entropy of `ferlib.training`, which takes labels as one-hot vectors.

    Parameters
    ----------
    n_classes : int
    image_size : tuple of int
        (height, width) in pixels, at least 16 a side for four stages; (None, None) for images of any size.
    channels : int
        1 for gray, 3 for RGB.
    widths : tuple of int
        Channels of each stage.
    dense : int
        Units of the dense layer.
    dropout : float
        Fraction of the dense layer's output that is dropped in training.
    seed, dtype
        As for `compact_cnn`.

    Returns
    -------
    keras.Model
        As from `compact_cnn`.

    References
    ----------
    M. Lin, Q. Chen, S. Yan, "Network In Network", ICLR 2014 (global average pooling).
    """
    make = Layers(seed, dtype)
    inputs, x = make.input(image_size, channels)
    for width in widths:
        x = make.normalize(make.pool(make.plain_conv(x, width)))
    x = make.dropout(make.dense(make.average(x), dense), dropout)
    return make.model(inputs, x, n_classes, "gap_cnn")


@register_model(
    kind="cnn",
    epochs=100,
    optimizer="adam",
    learning_rate=1e-3,
    schedule="plateau",
    label_smoothing=0.0,
    patience=15,
    class_weight="balanced",
    augmentation=_USUAL_CHANGES,
)
def vgg_dense(
    n_classes: int,
    *,
    image_size: tuple[int, int] = (48, 48),
    channels: int = 1,
    widths: tuple[int, ...] = (64, 128, 256, 512),
    convolutions: tuple[int, ...] = (2, 2, 3, 2),
    dropouts: tuple[float, ...] = (0.25, 0.3, 0.4, 0.5),
    dense: tuple[int, ...] = (1024, 512),
    l2: float = 1e-4,
    seed: int = 0,
    dtype: str = "float32",
) -> "keras.Model":
    """Four VGG-like blocks of 64 to 512 channels and two dense layers of 1,024 and 512: 10.5 million parameters.

    As published for FER2013 with 66.13 % on the 7,178 images of its two test splits: batch normalization, ReLU, 2x2
    max-pooling and dropout in each block, dropout 0.5 after each dense layer, L2 1e-4, class weights, up to 100 epochs
    with a learning rate that falls on plateaus. How many convolutions a block has was not told; these give the number
    of parameters that was. Nor was the augmentation: it is the usual one of small turns, shifts and mirror images.

    Parameters
    ----------
    n_classes : int
    image_size : tuple of int
        (height, width) in pixels, at least 16 a side for four blocks.
    channels : int
        1 for gray, 3 for RGB.
    widths, convolutions, dropouts : tuple
        Channels, number of convolutions and dropout of each block.
    dense : tuple of int
        Units of each dense layer.
    l2 : float
        Weight of the squared kernels in the loss.
    seed, dtype
        As for `compact_cnn`.

    Returns
    -------
    keras.Model
        As from `compact_cnn`.

    References
    ----------
    K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015.
    """
    make = Layers(seed, dtype, l2=l2)
    inputs, x = make.input(image_size, channels)
    for width, convolutions_here, dropout in zip(widths, convolutions, dropouts, strict=True):
        for _ in range(convolutions_here):
            x = make.conv(x, width)
        x = make.dropout(make.pool(x), dropout)
    x = make.flatten(x)
    for units in dense:
        x = make.dropout(make.dense(x, units, normalize=True), 0.5)
    return make.model(inputs, x, n_classes, "vgg_dense")


@register_model(
    kind="cnn",
    image_size=(64, 64),
    channels=3,
    epochs=50,
    batch_size=32,
    optimizer="adam",
    learning_rate=1e-3,
    schedule="constant",
    label_smoothing=0.0,
    augmentation=_USUAL_CHANGES,
)
def three_block_cnn(
    n_classes: int,
    *,
    image_size: tuple[int, int] = (64, 64),
    channels: int = 3,
    widths: tuple[int, ...] = (32, 64, 128),
    dense: tuple[int, ...] = (256, 128),
    dropouts: tuple[float, float] = (0.25, 0.5),
    seed: int = 0,
    dtype: str = "float32",
) -> "keras.Model":
    """Three blocks of convolution, batch normalization, max-pooling and dropout over 64x64 RGB: the usual ExpW model.

    Trained with categorical cross-entropy on one-hot labels, Adam, batches of 32, 50 epochs. The dense layers have
    batch normalization, which not every project of this kind tells of: without it, Adam's first steps over 8,192
    inputs of one sign drove every unit below 0, and on FER2013 the network said "happy" to everything for 28 epochs.

    Parameters
    ----------
    n_classes : int
    image_size : tuple of int
        (height, width) in pixels, at least 8 a side for three blocks.
    channels : int
        1 for gray, 3 for RGB.
    widths : tuple of int
        Channels of each block.
    dense : tuple of int
        Units of each dense layer.
    dropouts : tuple of float
        Dropout after each block, and after each dense layer.
    seed, dtype
        As for `compact_cnn`.

    Returns
    -------
    keras.Model
        As from `compact_cnn`.

    References
    ----------
    Z. Zhang, P. Luo, C. C. Loy, X. Tang, "From Facial Expression Recognition to Interpersonal Relation Prediction",
    IJCV 2018 (the data set ExpW).
    """
    make = Layers(seed, dtype)
    inputs, x = make.input(image_size, channels)
    for width in widths:
        x = make.dropout(make.pool(make.conv(x, width)), dropouts[0])
    x = make.flatten(x)
    for units in dense:
        x = make.dropout(make.dense(x, units, normalize=True), dropouts[1])
    return make.model(inputs, x, n_classes, "three_block_cnn")


@register_model(
    kind="cnn",
    optimizer="adam",
    learning_rate=1e-3,
    schedule="constant",
    label_smoothing=0.0,
    augmentation=None,
)
def plain_cnn(
    n_classes: int,
    *,
    image_size: tuple[int, int] = (48, 48),
    channels: int = 1,
    depth: int = 3,
    width: int = 32,
    pooling: str = "max",
    dense: int = 128,
    batch_norm: bool = False,
    dropout: float = 0.0,
    seed: int = 0,
    dtype: str = "float32",
) -> "keras.Model":
    """Small sequential network whose layers can be chosen, for experiments with layers.

    Parameters
    ----------
    n_classes : int
    image_size : tuple of int
        (height, width) in pixels, at least 2 ** `depth` a side.
    channels : int
        1 for gray, 3 for RGB.
    depth : int
        How many times convolution and pooling, each of which halves the image.
    width : int
        Channels of the first convolution; they double with every further one.
    pooling : {"max", "average", "stride"}
        How the image is halved: by pooling, or by convolutions of stride 2.
    dense : int
        Units of the dense layer; 0 for none.
    batch_norm : bool
        Whether batch normalization follows each convolution.
    dropout : float
        Fraction of the last features that is dropped in training.
    seed, dtype
        As for `compact_cnn`.

    Returns
    -------
    keras.Model
        As from `compact_cnn`.

    Raises
    ------
    FerlibError
        `pooling` is unknown, or the image is too small for the depth.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998.
    """
    if pooling not in POOLINGS:
        raise FerlibError(f"pooling must be one of {', '.join(POOLINGS)}, got '{pooling}'.")
    if min(image_size) < 2**depth:
        raise FerlibError(f"Images of {image_size[0]} x {image_size[1]} pixels cannot be halved {depth} times.")
    make = Layers(seed, dtype)
    inputs, x = make.input(image_size, channels)
    for level in range(depth):
        convolve = make.conv if batch_norm else make.plain_conv
        x = convolve(x, width * 2**level, strides=2 if pooling == "stride" else 1)
        if pooling != "stride":
            x = make.pool(x, pooling)
    x = make.flatten(x)
    if dense:
        x = make.dense(x, dense)
    return make.model(inputs, make.dropout(x, dropout), n_classes, "plain_cnn")
