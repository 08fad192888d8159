"""A residual network that starts from the weights of a face-recognition network."""

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ferlib.core.backend import import_keras
from ferlib.core.errors import OptionError
from ferlib.models.blocks import Blocks
from ferlib.models.registry import Rate, register_model

if TYPE_CHECKING:
    import keras

#: The converted weights; `tools/convert_dlib.py` writes them, and the README next to them gives their source.
WEIGHTS = Path(str(resources.files("ferlib"))) / "assets" / "face_resnet" / "weights.npz"

# Channels of each stage, and its number of residual blocks that keep the size.
_STAGES = ((32, 3), (64, 3), (128, 2), (256, 2))

#: Names of the arrays of a batch normalization in the file of weights, in the order of the layer's weights.
STATISTICS = ("gamma", "beta", "mean", "variance")


@register_model(kind="cnn")
def face_resnet(
    n_classes: int,
    *,
    image_size: tuple[int | None, int | None] = (48, 48),
    channels: int = 1,
    pretrained: bool = True,
    dropout: Rate = 0.3,
    seed: int = 0,
    dtype: str = "float32",
) -> "keras.Model":
    """Residual network pretrained on face recognition, with a new output layer.

    The convolutions are those of dlib's face-recognition network without its last stage: 4.4 million parameters. The
    other parameters are explained in `ferlib.models.cnn`.

    Parameters
    ----------
    channels : int
        1, because the pretrained weights are for gray images.
    pretrained : bool
        Start from the pretrained weights instead of random ones.
    dropout : float
        Dropout rate of the pooled features.

    Raises
    ------
    OptionError
        `channels` is not 1.

    References
    ----------
    D. King, "Dlib-ml: A Machine Learning Toolkit", JMLR 2009. K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning
    for Image Recognition", CVPR 2016.
    """
    if channels != 1:
        raise OptionError(f"face_resnet takes gray images only: expected channels 1, got {channels}.")
    inputs, features = build_trunk(image_size=image_size, seed=seed, dtype=dtype)
    blocks = Blocks(seed, dtype)
    model = blocks.model(inputs, blocks.dropout(blocks.average(features), dropout), n_classes, "face_resnet")
    if pretrained:
        load_trunk_weights(model)
    return model


def build_trunk(
    *, image_size: tuple[int | None, int | None] = (48, 48), seed: int = 0, dtype: str = "float32"
) -> tuple[Any, Any]:
    """Return the input (n, H, W, 1), 0 to 255, and the last feature map (n, H / 16, W / 16, 256) of the network."""
    keras = import_keras()
    layers, initializers = keras.layers, iter(range(seed * 1000, seed * 1000 + 1000))

    def conv(x: Any, width: int, name: str, *, size: int = 3, strides: int = 1) -> Any:
        """Apply a convolution and batch normalization."""
        initializer = keras.initializers.HeNormal(next(initializers))
        options = {"strides": strides, "padding": "same", "use_bias": False, "kernel_initializer": initializer}
        x = layers.Conv2D(width, size, dtype=dtype, name=name, **options)(x)
        return layers.BatchNormalization(momentum=0.9, dtype=dtype, name=f"{name}_bn")(x)

    def relu(x: Any) -> Any:
        return layers.Activation("relu", dtype=dtype)(x)

    inputs = keras.Input((*image_size, 1), name="images")
    x = relu(conv(inputs, 32, "conv32_down", size=5))
    x = layers.MaxPooling2D(3, strides=2, padding="same", dtype=dtype)(x)
    for stage, (width, n_blocks) in enumerate(_STAGES):
        if stage:
            y = relu(conv(x, width, f"conv{width}_down_conv1", strides=2))
            y = conv(y, width, f"conv{width}_down_conv2")
            shortcut = layers.AveragePooling2D(2, padding="same", dtype=dtype)(x)
            # The shortcut has half of the channels; the others are zero.
            zeros = layers.Rescaling(0.0, dtype=dtype)(shortcut)
            shortcut = layers.Concatenate(dtype=dtype)([shortcut, zeros])
            x = relu(layers.Add(dtype=dtype)([shortcut, y]))
        for number in range(1, n_blocks + 1):
            y = relu(conv(x, width, f"conv{width}_{number}_conv1"))
            y = conv(y, width, f"conv{width}_{number}_conv2")
            x = relu(layers.Add(dtype=dtype)([x, y]))
    return inputs, x


def load_trunk_weights(model: "keras.Model") -> None:
    """Load the pretrained convolutions, int8 with a scale per channel, and batch normalizations of `build_trunk`."""
    import numpy as np

    with np.load(WEIGHTS) as arrays:
        for name in [key.removesuffix("_scale") for key in arrays if key.endswith("_scale")]:
            model.get_layer(name).set_weights([arrays[name] * arrays[f"{name}_scale"]])
            model.get_layer(f"{name}_bn").set_weights([arrays[f"{name}_{part}"] for part in STATISTICS])
