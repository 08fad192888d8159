"""Building blocks of the convolutional networks."""

import itertools
from typing import TYPE_CHECKING, Any, Literal

from ferlib.core.backend import import_keras

if TYPE_CHECKING:
    import keras


class Blocks:
    """Keras layers with a common dtype, L2 penalty and seed; images are (n, H, W, C).

    The seed determines all initial weights and dropout, `dtype` is a Keras dtype policy, and `l2` is the penalty of all
    kernels but the last.
    """

    def __init__(self, seed: int, dtype: str, l2: float = 0.0) -> None:
        self._keras = import_keras()
        self._seeds = itertools.count(seed * 1000)
        self._dtype = dtype
        self._l2 = l2

    def input(self, image_size: tuple[int | None, int | None], channels: int) -> tuple[Any, Any]:
        """Return the network's input, 0 to 255, and the input rescaled to -1 to 1."""
        inputs = self._keras.Input((*image_size, channels), name="images")
        return inputs, self._keras.layers.Rescaling(1 / 127.5, offset=-1, dtype=self._dtype)(inputs)

    def model(self, inputs: Any, features: Any, n_classes: int, name: str) -> "keras.Model":
        """Return the network with a softmax layer on its features; probabilities are float32 (n, n_classes)."""
        outputs = self._keras.layers.Dense(
            n_classes,
            activation="softmax",
            kernel_initializer=self._keras.initializers.GlorotUniform(next(self._seeds)),
            dtype="float32",
            name="probabilities",
        )(features)
        return self._keras.Model(inputs, outputs, name=name)

    def conv(self, x: Any, width: int, *, kernel_size: int = 3, strides: int = 1) -> Any:
        """Apply convolution, batch normalization and ReLU: (n, H, W, C) to (n, H / strides, W / strides, width)."""
        return self.relu(self.normalize(self._convolve(x, width, kernel_size, strides, use_bias=False)))

    def conv_bn(self, x: Any, width: int, *, kernel_size: int, strides: int = 1, name: str) -> Any:
        """Apply the convolution ``name`` and the batch normalization ``name_bn``."""
        x = self._convolve(x, width, kernel_size, strides, use_bias=False, name=name)
        return self.normalize(x, name=f"{name}_bn")

    def residual(self, x: Any, width: int) -> Any:
        """Apply a 3x3 `conv`, and add the input if it has as many channels."""
        y = self.conv(x, width)
        return self.add([x, y]) if x.shape[-1] == width else y

    def add(self, branches: list[Any]) -> Any:
        """Add tensors of the same shape."""
        return self._keras.layers.Add(dtype=self._dtype)(branches)

    def plain_conv(self, x: Any, width: int, *, strides: int = 1) -> Any:
        """Apply a 3x3 convolution and ReLU: (n, H, W, C) to (n, H / strides, W / strides, width)."""
        return self.relu(self._convolve(x, width, 3, strides, use_bias=True))

    def normalize(self, x: Any, *, name: str | None = None) -> Any:
        """Apply batch normalization."""
        # Keras's default momentum of 0.99 needs about a thousand steps; trainings on small samples have fewer.
        return self._keras.layers.BatchNormalization(momentum=0.9, dtype=self._dtype, name=name)(x)

    def pool(self, x: Any, pooling: Literal["max", "average"] = "max") -> Any:
        """Apply 2x2 pooling: (n, H, W, C) to (n, H / 2, W / 2, C)."""
        layers = self._keras.layers
        layer = layers.MaxPooling2D if pooling == "max" else layers.AveragePooling2D
        return layer(2, dtype=self._dtype)(x)

    def squeeze_excite(self, x: Any, reduction: int) -> Any:
        """Scale each channel by a gate from 0 to 1, computed from the means of all channels."""
        layers, channels = self._keras.layers, x.shape[-1]
        gates = layers.GlobalAveragePooling2D(keepdims=True, dtype=self._dtype)(x)
        gates = self.dense(gates, max(1, channels // reduction))
        gates = layers.Activation("sigmoid", dtype=self._dtype)(self._dense(gates, channels))
        return layers.Multiply(dtype=self._dtype)([x, gates])

    def average(self, x: Any) -> Any:
        """Apply global average pooling: (n, H, W, C) to (n, C)."""
        return self._keras.layers.GlobalAveragePooling2D(dtype=self._dtype)(x)

    def flatten(self, x: Any) -> Any:
        """Flatten (n, H, W, C) to (n, H * W * C)."""
        return self._keras.layers.Flatten(dtype=self._dtype)(x)

    def dense(self, x: Any, units: int, *, normalize: bool = False) -> Any:
        """Apply a dense layer, optional batch normalization and ReLU: (n, C) to (n, units)."""
        x = self._dense(x, units)
        return self.relu(self.normalize(x) if normalize else x)

    def dropout(self, x: Any, rate: float) -> Any:
        """Apply dropout."""
        return self._keras.layers.Dropout(rate, seed=next(self._seeds), dtype=self._dtype)(x)

    def _convolve(
        self, x: Any, width: int, kernel_size: int, strides: int, *, use_bias: bool, name: str | None = None
    ) -> Any:
        return self._keras.layers.Conv2D(
            width,
            kernel_size,
            strides=strides,
            padding="same",
            use_bias=use_bias,
            kernel_initializer=self._keras.initializers.HeNormal(next(self._seeds)),
            kernel_regularizer=self._regularizer(),
            dtype=self._dtype,
            name=name,
        )(x)

    def _dense(self, x: Any, units: int) -> Any:
        return self._keras.layers.Dense(
            units,
            kernel_initializer=self._keras.initializers.HeNormal(next(self._seeds)),
            kernel_regularizer=self._regularizer(),
            dtype=self._dtype,
        )(x)

    def relu(self, x: Any) -> Any:
        """Apply ReLU."""
        return self._keras.layers.Activation("relu", dtype=self._dtype)(x)

    def _regularizer(self) -> Any:
        return self._keras.regularizers.L2(self._l2) if self._l2 else None
