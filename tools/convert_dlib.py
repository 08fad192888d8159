"""Convert dlib's face-recognition network into the initial weights of `face_resnet`.

    npm pack @vladmandic/face-api@1.7.15 && tar xzf vladmandic-face-api-1.7.15.tgz
    python tools/convert_dlib.py package/model --data fer2013.zip

The source is dlib's public-domain network as face-api ships it, mostly with one byte per weight. The conversion

- replaces the 7x7 convolution of stride 2 on an image enlarged twice by the equivalent 5x5 convolution on the image
  itself (equal but for the border), sums the color channels for gray images, and folds the mean color into the bias;
- folds the scaling of each channel after a convolution into the convolution;
- creates batch normalization, which the source does not have, from the mean and the variance of each convolution's
  output on training images: it computes the same function, and makes the network trainable.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from ferlib.core.backend import import_keras
from ferlib.core.console import write_line
from ferlib.core.files import atomic_write
from ferlib.data import load_images, split_dataset
from ferlib.models.face_resnet import STATISTICS, WEIGHTS, build_trunk

#: Mean color of the source's training images, RGB, 0 to 255.
MEAN_COLOR = (122.782, 117.001, 104.298)

#: Training images for the statistics of batch normalization.
N_IMAGES = 2048


def read_weights(folder: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a face-api model folder by name, float32."""
    [manifest] = json.loads((folder / "face_recognition_model-weights_manifest.json").read_text(encoding="utf-8"))
    data, start, tensors = (folder / "face_recognition_model.bin").read_bytes(), 0, {}
    for entry in manifest["weights"]:
        quantization, size = entry.get("quantization"), int(np.prod(entry["shape"]))
        values = np.frombuffer(data, np.uint8 if quantization else "<f4", size, start)
        start += values.nbytes
        if quantization:
            values = values * np.float32(quantization["scale"]) + np.float32(quantization["min"])
        tensors[entry["name"]] = values.reshape(entry["shape"])
    return tensors


def fold_scale(tensors: dict[str, np.ndarray], layer: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a convolution's kernel (h, w, in, out) and bias (out,), with the scaling after it folded in."""
    scale = tensors[f"{layer}/scale/weights"]
    bias = tensors[f"{layer}/conv/bias"] * scale + tensors[f"{layer}/scale/biases"]
    return tensors[f"{layer}/conv/filters"] * scale, bias


def fold_stem(kernel: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the 5x5 kernel (5, 5, 1, out) for gray images of 0 to 255, and the bias (out,)."""
    # Bilinear enlargement by two: a tap is 3/4 of the nearest pixel and 1/4 of the next one on its side.
    spread = np.zeros((7, 5))
    for tap in range(7):
        nearest = tap // 2 + 1
        spread[tap, nearest] += 0.75
        spread[tap, nearest + (1 if tap % 2 else -1)] += 0.25
    bias = bias - np.einsum("hwio,i->o", kernel, np.array(MEAN_COLOR)) / 255
    return np.einsum("hwio,hy,wx->yxo", kernel / 255, spread, spread)[:, :, np.newaxis], bias


def convert(tensors: dict[str, np.ndarray], images: np.ndarray) -> dict[str, np.ndarray]:
    """Return the kernel of each convolution by its name in `face_resnet`, and the arrays of its batch normalization.

    Parameters
    ----------
    tensors : dict
        From `read_weights`.
    images : ndarray of shape (n, 48, 48, 1), dtype uint8
        Training images for the statistics.
    """
    keras = import_keras()
    inputs, features = build_trunk()
    model, arrays = keras.Model(inputs, features), {}
    for layer in [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]:
        kernel, bias = fold_scale(tensors, layer.name.replace("_conv", "/conv"))
        if layer.name == "conv32_down":
            kernel, bias = fold_stem(kernel, bias)
        layer.set_weights([kernel])
        outputs = keras.Model(inputs, layer.output).predict(images.astype(np.float32), batch_size=128, verbose=0)
        mean, variance = outputs.mean(axis=(0, 1, 2)), outputs.var(axis=(0, 1, 2))
        normalization = model.get_layer(f"{layer.name}_bn")
        statistics = (np.sqrt(variance + normalization.epsilon), mean + bias, mean, variance)
        normalization.set_weights(statistics)
        arrays[layer.name] = kernel
        arrays |= {f"{layer.name}_{name}": values for name, values in zip(STATISTICS, statistics, strict=True)}
    return arrays


def pack(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays with kernels as int8 and a scale per output channel."""
    packed = {name: values.astype(np.float32) for name, values in arrays.items() if values.ndim == 1}
    for name, kernel in arrays.items():
        if kernel.ndim == 4:
            scale = np.abs(kernel).max(axis=(0, 1, 2)) / 127
            packed[name], packed[f"{name}_scale"] = np.round(kernel / scale).astype(np.int8), scale.astype(np.float32)
    return packed


def main() -> None:
    """Convert the network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder model/ of the npm package")
    parser.add_argument("--data", required=True, help="FER2013; its train split gives the statistics")
    arguments = parser.parse_args()
    train = split_dataset(load_images(arguments.data), "official", seed=0).split("train")
    rows = np.random.default_rng(0).choice(len(train), N_IMAGES, replace=False)
    packed = pack(convert(read_weights(arguments.source), train.images[rows]))
    with atomic_write(WEIGHTS) as path, path.open("wb") as file:
        np.savez_compressed(file, **packed)
    write_line(f"wrote {WEIGHTS} ({WEIGHTS.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
