"""Networks that begin with what another one has learned from other images."""

import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ferlib.core.backend import import_keras
from ferlib.core.errors import FerlibError
from ferlib.models.registry import register_model

if TYPE_CHECKING:
    import keras

#: What is tried and documented; any other backbone of keras.applications works by its name too.
BACKBONES = ("MobileNetV3Small", "EfficientNetV2B0", "ResNet50", "VGG16")


@register_model(kind="cnn", epochs=20, frozen_epochs=5, learning_rate=1e-3, weight_decay=0.01)
def transfer(
    n_classes: int,
    *,
    image_size: tuple[int, int] = (48, 48),
    channels: int = 1,
    backbone: str = "MobileNetV3Small",
    weights: str | None = "imagenet",
    upscale: int = 2,
    dropout: float = 0.3,
    seed: int = 0,
    dtype: str = "float32",
) -> "keras.Model":
    """Network of keras.applications under a new head: first the head is trained, then everything.

    Images are enlarged inside the network, because these backbones halve theirs five times, and gray ones are shown
    as color. The backbone's own preprocessing is part of the network.

    Parameters
    ----------
    n_classes : int
    image_size : tuple of int
        (height, width) in pixels.
    channels : int
        1 for gray, 3 for RGB.
    backbone : str
        A class of `keras.applications`: MobileNetV3Small, EfficientNetV2B0, ResNet50, VGG16 and others.
    weights : str or None
        ``"imagenet"``, which Keras downloads once; the path of a file of weights without the top layers; None or
        ``"none"`` for random ones.
    upscale : int
        How many times larger than the images what the backbone sees is; it wants 32 pixels a side at least.
    dropout : float
        Fraction of the pooled features that is dropped in training.
    seed, dtype
        As for `compact_cnn`.

    Returns
    -------
    keras.Model
        As from `compact_cnn`; its layer ``backbone`` is what `TrainingOptions.frozen_epochs` freezes.

    Raises
    ------
    FerlibError
        The backbone is unknown, or its weights can be neither found nor downloaded.

    References
    ----------
    J. Yosinski, J. Clune, Y. Bengio, H. Lipson, "How transferable are features in deep neural networks?", NeurIPS 2014.
    """
    keras = import_keras()
    layers = keras.layers
    inputs = keras.Input((*image_size, channels), name="images")
    # Not Resizing: it counts as augmentation, and Keras 3.15 then runs what follows it as in training (seen).
    x = inputs if upscale == 1 else layers.UpSampling2D(upscale, interpolation="bilinear", dtype="float32")(inputs)
    if channels == 1:
        x = layers.Concatenate(dtype="float32")([x, x, x])
    network, preprocess = _build_backbone(backbone, weights, (x.shape[1], x.shape[2]), seed, dtype)
    x = network(preprocess(x))
    x = layers.GlobalAveragePooling2D(dtype="float32")(x)
    x = layers.Dropout(dropout, seed=seed, dtype="float32")(x)
    outputs = layers.Dense(
        n_classes,
        activation="softmax",
        kernel_initializer=keras.initializers.GlorotUniform(seed),
        dtype="float32",
        name="probabilities",
    )(x)
    return keras.Model(inputs, outputs, name="transfer")


def _build_backbone(name: str, weights: str | None, size: tuple[int, int], seed: int, dtype: str) -> tuple:
    """Return a backbone named ``backbone``, and the function that prepares images of 0 to 255 for it."""
    keras = import_keras()
    build = getattr(keras.applications, name, None)
    if not callable(build):
        known = [each for each in dir(keras.applications) if each[0].isupper()]
        raise FerlibError(f"keras.applications has no backbone '{name}'; it has {', '.join(known)}.")
    wanted = None if weights in (None, "none") else weights
    if wanted not in (None, "imagenet") and not Path(wanted).is_file():
        raise FerlibError(f"There is no file of weights {wanted}; weights is a file, 'imagenet' or 'none'.")
    options = {"include_top": False, "weights": None, "input_shape": (*size, 3)}
    # Where a backbone can prepare images itself, it does so by default.
    prepares_itself = "include_preprocessing" in inspect.signature(build).parameters
    # These builders take neither a seed nor a dtype: both go through Keras's global state, which is put back.
    policy = keras.config.dtype_policy()
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(dtype)
    try:
        network = build(**options)
        if wanted is not None:
            _load_backbone(network, build, name, wanted, options)
    finally:
        keras.config.set_dtype_policy(policy)
    network.name = "backbone"
    module = sys.modules[build.__module__]
    return network, (lambda x: x) if prepares_itself else module.preprocess_input


def _load_backbone(network: "keras.Model", build: object, name: str, weights: str, options: dict) -> None:
    """Load ImageNet's weights, or those of a file, into a backbone."""
    if weights != "imagenet":
        try:
            network.load_weights(weights)
        # Keras and h5py have many kinds of error for a file that does not fit.
        except Exception as error:
            raise FerlibError(f"{weights} does not fit {name} without its top layers ({error}).") from error
        return
    try:
        pretrained = build(**{**options, "weights": "imagenet"})
    # get_file raises a bare Exception when there is no network.
    except Exception as error:
        raise FerlibError(
            f"The ImageNet weights of {name} could not be downloaded ({error}). On a machine with a network, "
            f"`import keras; keras.applications.{name}(include_top=False).save_weights('{name}.weights.h5')` makes the "
            f"file; give it as weights, on the command line --model-option weights={name}.weights.h5, or begin with "
            f"random weights: --model-option weights=none."
        ) from error
    network.set_weights(pretrained.get_weights())
