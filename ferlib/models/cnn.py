"""Convolutional networks in Keras 3: pictures of 0 to 255 in, probabilities out, on any of its backends."""

import itertools
from typing import TYPE_CHECKING, Any

from ferlib.models.registry import register_model
from ferlib.quiet import start_keras

if TYPE_CHECKING:
    import keras


@register_model(kind="cnn")
def compact_cnn(
    n_classes: int,
    *,
    image_size: tuple[int, int] = (48, 48),
    channels: int = 1,
    widths: tuple[int, ...] = (48, 96, 192),
    dropout: float = 0.3,
    seed: int = 0,
    dtype: str = "float32",
) -> "keras.Model":
    """Three stages of residual 3x3 convolutions and global average pooling; small enough for two CPU cores.

    A 5x5 convolution of stride 2 comes first, because full resolution is where a CPU spends its time. Each stage is
    two convolutions with batch normalisation, the picture halved between stages; where the number of channels stays,
    the input of a convolution is added to its output.

    Parameters
    ----------
    n_classes : int
    image_size : tuple of int
        (height, width) in pixels, at least 8 a side for three stages.
    channels : int
        1 for grey, 3 for RGB.
    widths : tuple of int
        Channels of each stage.
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

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016.
    """
    keras = start_keras()
    layers = keras.layers
    seeds = itertools.count(seed * 1000)
    inputs = keras.Input((*image_size, channels), name="images")
    x = layers.Rescaling(1 / 127.5, offset=-1, dtype=dtype)(inputs)
    x = _conv(x, widths[0], kernel_size=5, strides=2, seed=next(seeds), dtype=dtype)
    for stage, width in enumerate(widths):
        x = _residual(x, width, seed=next(seeds), dtype=dtype)
        x = _residual(x, width, seed=next(seeds), dtype=dtype)
        if stage < len(widths) - 1:
            x = layers.MaxPooling2D(dtype=dtype)(x)
    x = layers.GlobalAveragePooling2D(dtype=dtype)(x)
    x = layers.Dropout(dropout, seed=next(seeds), dtype=dtype)(x)
    outputs = layers.Dense(
        n_classes,
        activation="softmax",
        kernel_initializer=keras.initializers.GlorotUniform(next(seeds)),
        dtype="float32",
        name="probabilities",
    )(x)
    return keras.Model(inputs, outputs, name="compact_cnn")


def _conv(x: Any, width: int, *, kernel_size: int = 3, strides: int = 1, seed: int, dtype: str) -> Any:
    """Convolution, batch normalisation and ReLU: (n, H, W, C) to (n, H / strides, W / strides, width)."""
    from keras import initializers, layers

    x = layers.Conv2D(
        width,
        kernel_size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer=initializers.HeNormal(seed),
        dtype=dtype,
    )(x)
    # Keras's momentum of 0.99 needs a thousand steps before its means can be used; small samples have fewer.
    x = layers.BatchNormalization(momentum=0.9, dtype=dtype)(x)
    return layers.Activation("relu", dtype=dtype)(x)


def _residual(x: Any, width: int, *, seed: int, dtype: str) -> Any:
    """Convolution with its input added where the shapes agree: (n, H, W, C) to (n, H, W, width)."""
    from keras import layers

    y = _conv(x, width, seed=seed, dtype=dtype)
    return layers.Add(dtype=dtype)([x, y]) if x.shape == y.shape else y
