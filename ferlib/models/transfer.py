"""Transfer learning: pretrained networks with a new head."""

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ferlib.core.backend import import_keras
from ferlib.core.errors import FerlibError, OptionError
from ferlib.models.blocks import Blocks
from ferlib.models.face_resnet import build_trunk, load_trunk_weights
from ferlib.models.registry import CountOrZero, Rate, register_model

if TYPE_CHECKING:
    import keras


#: The backbone that ships with ferlib; its weights were learned on faces.
FACES = "face_resnet"

_RANDOM = (None, "none")


def _check_transfer(*, backbone: str, weights: str | None, channels: int = 1, **_: Any) -> None:
    if backbone == FACES:
        if channels != 1 or weights not in ("pretrained", *_RANDOM):
            raise OptionError(
                f"transfer with backbone={FACES} takes gray images, and weights that are pretrained or none; "
                f"got {channels} channels and weights={weights}."
            )
        return
    applications = import_keras().applications
    if not (backbone[:1].isupper() and callable(getattr(applications, backbone, None))):
        known = ", ".join([FACES, *(name for name in dir(applications) if name[0].isupper())])
        raise OptionError(f"Invalid value {backbone!r} for transfer option 'backbone': expected one of {known}.")
    if weights not in (*_RANDOM, "pretrained", "imagenet") and not Path(weights or "").is_file():
        raise OptionError(
            f"Invalid value {weights!r} for transfer option 'weights': expected 'pretrained', 'none' or an existing "
            "file."
        )


@register_model(kind="cnn", check=_check_transfer)
def transfer(
    n_classes: int,
    *,
    image_size: tuple[int, int] = (48, 48),
    channels: int = 1,
    backbone: str = "MobileNetV3Small",
    weights: str | None = "pretrained",
    upscale: CountOrZero = 0,
    dropout: Rate = 0.3,
    seed: int = 0,
    dtype: str = "float32",
) -> "keras.Model":
    """Pretrained network with a new head; the head is trained first, then all layers.

    A network of keras.applications gets enlarged images, because it reduces them 32-fold, with a gray channel repeated
    three times; its own preprocessing is included. `TrainingOptions.frozen_epochs` freezes the layer ``backbone``. See
    `ferlib.models.cnn` for the parameters of all networks and the result.

    Parameters
    ----------
    backbone : str
        A class of `keras.applications` (MobileNetV3Small, EfficientNetV2B0, ResNet50 and VGG16 are tested), or
        ``"face_resnet"``, the trunk of `ferlib.models.face_resnet`.
    weights : str or None
        ``"pretrained"``: for keras.applications those of ImageNet (also called ``"imagenet"``), which Keras downloads
        once; for face_resnet those that ship with ferlib. Or the path of a weights file without the top layers; None or
        ``"none"`` for random weights.
    upscale : int
        Factor by which images are enlarged; 0 for the backbone's own: 1 for face_resnet, 2 for the others, most of
        which need at least 32 pixels per side.
    dropout : float
        Dropout rate of the pooled features.

    Raises
    ------
    FerlibError
        The weights do not fit the backbone or cannot be downloaded.

    References
    ----------
    J. Yosinski, J. Clune, Y. Bengio, H. Lipson, "How transferable are features in deep neural networks?", NeurIPS 2014.
    """
    keras = import_keras()
    layers = keras.layers
    inputs = keras.Input((*image_size, channels), name="images")
    upscale = upscale or (1 if backbone == FACES else 2)
    # Not Resizing: Keras 3.15 treats it as augmentation and then runs the following layers in training mode.
    x = inputs if upscale == 1 else layers.UpSampling2D(upscale, interpolation="bilinear", dtype="float32")(inputs)
    if channels == 1 and backbone != FACES:
        x = layers.Concatenate(dtype="float32")([x, x, x])
    network, preprocess = _build_backbone(backbone, weights, (x.shape[1], x.shape[2]), seed, dtype)
    blocks = Blocks(seed, "float32")
    x = blocks.dropout(blocks.average(network(preprocess(x))), dropout)
    return blocks.model(inputs, x, n_classes, "transfer")


def _build_backbone(
    name: str, weights: str | None, size: tuple[int, int], seed: int, dtype: str
) -> tuple["keras.Model", Callable[[Any], Any]]:
    """Return a backbone named ``backbone`` and its preprocessing function for images of 0 to 255."""
    keras = import_keras()
    if name == FACES:
        network = keras.Model(*build_trunk(image_size=size, seed=seed, dtype=dtype), name="backbone")
        if weights not in _RANDOM:
            load_trunk_weights(network)
        return network, lambda x: x
    build = getattr(keras.applications, name)
    options: dict[str, Any] = {"include_top": False, "weights": None, "input_shape": (*size, 3)}
    # These builders take neither seed nor dtype, so both go through Keras's global state, which is restored.
    policy = keras.config.dtype_policy()
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(dtype)
    try:
        network = build(**options)
        if weights in ("pretrained", "imagenet"):
            network.set_weights(_download_imagenet(build, name, options).get_weights())
        elif weights not in _RANDOM:
            _load_weights(network, name, str(weights))
    finally:
        keras.config.set_dtype_policy(policy)
    network.name = "backbone"
    if "include_preprocessing" in inspect.signature(build).parameters:
        return network, lambda x: x
    return network, sys.modules[build.__module__].preprocess_input


def _load_weights(network: "keras.Model", name: str, path: str) -> None:
    try:
        network.load_weights(path)
    # Keras and h5py raise many types of errors for a file that does not fit.
    except Exception as error:
        raise FerlibError(f"{path} does not fit {name} without its top layers ({error}).") from error


def _download_imagenet(build: Callable[..., "keras.Model"], name: str, options: dict[str, Any]) -> "keras.Model":
    try:
        return build(**{**options, "weights": "imagenet"})
    # get_file raises a bare Exception when there is no network.
    except Exception as error:
        raise FerlibError(
            f"The ImageNet weights of {name} could not be downloaded ({error}). On a machine with a network, run "
            f"`import keras; keras.applications.{name}(include_top=False).save_weights('{name}.weights.h5')` and pass "
            f"the file with --model-option weights={name}.weights.h5, or start from random weights with "
            f"--model-option weights=none."
        ) from error
