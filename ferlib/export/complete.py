"""Make test-time augmentation and calibration part of a network."""

import keras
import numpy as np
from keras import ops

from ferlib.core.errors import FerlibError
from ferlib.runs.records import Calibration, TestTimeAugmentation


def complete_network(
    model: keras.Model, *, views: TestTimeAugmentation = "none", calibration: Calibration | None = None
) -> keras.Model:
    """Return a network that averages the views of an image and calibrates the probabilities.

    Parameters
    ----------
    model : keras.Model
        Maps images (n, H, W, C), 0 to 255, to probabilities (n, n_classes).
    views : {"none", "flip"}
        The image alone, or the image and its mirror image.
    calibration : Calibration, optional
        Of the averaged probabilities.

    Raises
    ------
    FerlibError
        `views` is "ten_crop", which needs resized images.
    """
    if views == "ten_crop":
        raise FerlibError("Ten crops cannot be part of an exported network; use flip or none.")
    if views == "none" and calibration is None:
        return model
    inputs = keras.Input(model.input_shape[1:], name="images")
    n_classes = model.output_shape[-1]
    if views == "flip":
        both = ops.concatenate([inputs, inputs[:, :, ::-1]], axis=0)
        probabilities = ops.mean(ops.reshape(model(both), (2, -1, n_classes)), axis=0)
    else:
        probabilities = model(inputs)
    if calibration is not None:
        logits = ops.log(ops.maximum(probabilities, 1e-12))
        logits = logits - ops.mean(logits, axis=1, keepdims=True)
        scales, biases = (np.asarray(values, np.float32) for values in (calibration.scales, calibration.biases))
        probabilities = ops.softmax(logits * scales + biases)
    return keras.Model(inputs, probabilities, name=model.name)
