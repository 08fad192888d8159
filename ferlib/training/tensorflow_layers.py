"""Layers that train faster, or at all, on TensorFlow."""

from typing import TYPE_CHECKING

import keras

if TYPE_CHECKING:
    import tensorflow as tf


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras's layer, computed by one TensorFlow operation in training.

    Keras composes the layer of a dozen operations in float32, each a pass over all activations. On a CPU these take a
    third of a training step of `compact_cnn`. Results agree up to rounding.
    """

    def call(self, inputs: "tf.Tensor", training: bool | None = None, mask: "tf.Tensor | None" = None) -> "tf.Tensor":
        """Normalize images of shape (n, H, W, C)."""
        if not (training and self.trainable):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        unused = tf.zeros_like(self.moving_mean)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma,
            offset=self.beta,
            mean=unused,
            variance=unused,
            epsilon=self.epsilon,
            is_training=True,
        )
        # TensorFlow returns the unbiased variance (n - 1); Keras averages the biased one (n).
        n = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], variance.dtype)
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance * (n - 1) / n)):
            moving.assign(moving * self.momentum + value * (1 - self.momentum))
        return outputs


class SubsampledConvolution(keras.layers.Conv2D):
    """Strided 1x1 convolution of fewer than 16 channels, computed without strides on every n-th pixel.

    With oneDNN and several threads, TensorFlow 2.21 writes outside its memory in the kernel's gradient of such a
    convolution, unless the images of a batch can be shared out evenly among the threads; the process then crashes.
    """

    def convolution_op(self, inputs: "tf.Tensor", kernel: "tf.Tensor") -> "tf.Tensor":
        """Convolve images of shape (n, H, W, C)."""
        rows, columns = self.strides
        return keras.ops.conv(inputs[:, ::rows, ::columns], kernel, strides=1, padding="valid")


def adapt_to_tensorflow(model: keras.Model) -> keras.Model:
    """Return a copy of a network for training, with `FusedBatchNormalization` and `SubsampledConvolution`.

    The copy has the same layer names and weights, nested models included. Save the original rather than the copy: it
    needs no class of ferlib to be loaded.
    """

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        cls = type(layer)
        if cls is keras.layers.BatchNormalization and _is_plain(layer):
            cls = FusedBatchNormalization
        elif cls is keras.layers.Conv2D and _crashes(layer):
            cls = SubsampledConvolution
        return cls.from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=clone, recursive=True)
    copy.set_weights(model.get_weights())
    return copy


def _is_plain(layer: keras.layers.BatchNormalization) -> bool:
    """Return whether the fused operation can compute a layer: channels last, scaled and centered."""
    special = layer.renorm or layer.synchronized or not (layer.scale and layer.center)
    return not special and len(layer.input.shape) == 4 and layer.axis in (-1, 3)


def _crashes(layer: keras.layers.Conv2D) -> bool:
    """Return whether a layer needs `SubsampledConvolution`."""
    strided = layer.kernel_size == (1, 1) and layer.strides != (1, 1)
    return strided and layer.groups == 1 and layer.data_format == "channels_last" and layer.input.shape[-1] < 16
