"""Rewrite a trained network as one that computes the same with fewer and faster operations.

* Layers without a nonlinearity between them become one convolution: convolution and batch normalization, the parallel
  branches of a RepVGG block, a shortcut that appends zero channels, a rescaling without offset.
* A dense layer on a feature map becomes a 1x1 convolution, which ONNX Runtime keeps in its blocked layout.
* Gates of squeeze-and-excitation multiply the pooled features instead of the larger feature map before the pooling.

References
----------
X. Ding, X. Zhang, N. Ma, J. Han, G. Ding, J. Sun, "RepVGG: Making VGG-style ConvNets Great Again", CVPR 2021.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

_Pair = tuple[int, int]


def fold_network(model: keras.Model) -> keras.Model:
    """Return a network for inference that gives the same probabilities, and shares layers with the original.

    A network whose input may have any size is returned unchanged, because the padding of its convolutions is unknown.
    Nested networks are kept.
    """
    # Only functional models have a graph of operations.
    if not hasattr(model, "operations") or None in model.input_shape[1:]:
        return model
    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=_Folder().call)


@dataclass(frozen=True)
class _Affine:
    """A tensor as the convolution of another one.

    `kernel` is (h, w, n_inputs, n_outputs), float64; `bias` (n_outputs,); `before` the rows and columns of zeros before
    the first; `size` (height, width) of the result. `fold` tells whether the convolution replaces the layers that it
    stands for; it is False where it would only make them slower.
    """

    source: Any
    kernel: np.ndarray
    bias: np.ndarray
    strides: _Pair
    before: _Pair
    size: _Pair
    fold: bool

    @property
    def window(self) -> tuple[_Pair, _Pair]:
        """First and last offset of the taps from an output's position, for rows and columns."""
        rows, columns = self.kernel.shape[:2]
        return (-self.before[0], rows - 1 - self.before[0]), (-self.before[1], columns - 1 - self.before[1])

    def scale(self, factor: np.ndarray, offset: np.ndarray) -> "_Affine":
        """Return the tensor times a factor plus an offset per channel."""
        return replace(self, kernel=self.kernel * factor, bias=self.bias * factor + offset)

    def widen(self, window: tuple[_Pair, _Pair]) -> "_Affine":
        """Return the same with a kernel of a larger window, padded with zeros."""
        pads = [(mine[0] - other[0], other[1] - mine[1]) for mine, other in zip(self.window, window, strict=True)]
        kernel = np.pad(self.kernel, [*pads, (0, 0), (0, 0)])
        return replace(self, kernel=kernel, before=(-window[0][0], -window[1][0]))

    def padding(self) -> str | None:
        """Return the Keras padding that gives this convolution; None if neither does."""
        sizes, kernel = self.source.shape[1:3], self.kernel.shape[:2]
        for name in ("same", "valid"):
            places = [_place(*axis, name) for axis in zip(sizes, kernel, self.strides, strict=True)]
            if places == list(zip(self.before, self.size, strict=True)):
                return name
        return None


class _Folder:
    """Calls a network's layers in order, and replaces those that can be folded."""

    def __init__(self) -> None:
        # By the ID of a tensor, which is kept alive. A tensor with an affine form that is folded is only a placeholder.
        self._affine: dict[int, tuple[Any, _Affine]] = {}
        self._gated: dict[int, tuple[Any, Any, Any]] = {}
        self._tensors: dict[int, Any] = {}

    def call(self, layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        """Return a layer's result for symbolic tensors."""
        layers = keras.layers
        inputs = args[0] if args else None
        affine = self._describe(layer, inputs)
        if affine is not None and affine.fold:
            activation = getattr(layer, "activation", keras.activations.linear)
            placeholder = keras.KerasTensor((None, *affine.size, affine.kernel.shape[-1]))
            self._affine[id(placeholder)] = (placeholder, affine)
            if activation is keras.activations.linear:
                return placeholder
            return layers.Activation(activation)(self._tensor(placeholder))
        gated = self._gated.get(id(inputs))
        if gated is not None and isinstance(layer, layers.MaxPooling2D | layers.GlobalAveragePooling2D):
            _, features, gates = gated
            if isinstance(layer, layers.GlobalAveragePooling2D):
                # The mean of one gate is the gate.
                gates = layer(gates)
            return layers.Multiply()([layer(features), gates])
        inputs = keras.tree.map_structure(self._tensor, inputs)
        result = layer(inputs, *args[1:], **kwargs)
        if affine is not None:
            self._affine[id(result)] = (result, affine)
        if isinstance(layer, layers.Multiply) and len(inputs) == 2 and _is_gate(inputs[1]):
            self._gated[id(result)] = (result, *inputs)
        return result

    def _tensor(self, tensor: Any) -> Any:
        """Return a tensor that other layers can take, with a convolution in place of the layers that it folds."""
        _, affine = self._affine.get(id(tensor), (None, None))
        if affine is None or not affine.fold:
            return tensor
        if id(tensor) not in self._tensors:
            filters, size = affine.kernel.shape[-1], affine.kernel.shape[:2]
            conv = keras.layers.Conv2D(filters, size, strides=affine.strides, padding=affine.padding())
            self._tensors[id(tensor)] = conv(affine.source)
            conv.set_weights([affine.kernel, affine.bias])
        return self._tensors[id(tensor)]

    def _form(self, tensor: Any) -> _Affine:
        """Return a tensor's affine form; that of any other tensor is the identity."""
        if id(tensor) in self._affine:
            return self._affine[id(tensor)][1]
        channels = tensor.shape[-1]
        kernel = np.eye(channels)[np.newaxis, np.newaxis]
        return _Affine(tensor, kernel, np.zeros(channels), (1, 1), (0, 0), tensor.shape[1:3], fold=False)

    def _describe(self, layer: keras.Layer, inputs: Any) -> _Affine | None:
        """Return the affine form of a layer's result, (n, H, W, C); None if it has none."""
        layers = keras.layers
        tensors = inputs if isinstance(inputs, list | tuple) else [inputs]
        if any(len(tensor.shape) != 4 or None in tensor.shape[1:] for tensor in tensors):
            return None
        if isinstance(layer, layers.BatchNormalization) and layer.axis in (-1, 3):
            return self._form(inputs).scale(*_batch_normalization(layer))
        if type(layer) is layers.Rescaling:
            channels = inputs.shape[-1]
            return self._form(inputs).scale(*(np.broadcast_to(v, channels) for v in (layer.scale, layer.offset)))
        if type(layer) is layers.Conv2D and layer.groups == 1 and set(layer.dilation_rate) == {1}:
            return self._convolve(layer, inputs, _numpy(layer.kernel), layer.strides, layer.padding)
        if type(layer) is layers.Dense:
            return self._convolve(layer, inputs, _numpy(layer.kernel)[np.newaxis, np.newaxis], (1, 1), "valid")
        if type(layer) is layers.Add:
            return _add([self._form(tensor) for tensor in tensors])
        if type(layer) is layers.Concatenate and layer.axis in (-1, 3):
            return _concatenate([self._form(tensor) for tensor in tensors])
        return None

    def _convolve(self, layer: Any, inputs: Any, kernel: np.ndarray, strides: _Pair, padding: str) -> _Affine | None:
        """Return the affine form of a convolution."""
        bias = _numpy(layer.bias) if layer.use_bias else np.zeros(kernel.shape[-1])
        places = [_place(*axis, padding) for axis in zip(inputs.shape[1:3], kernel.shape[:2], strides, strict=True)]
        before, size = ((places[0][part], places[1][part]) for part in (0, 1))
        form, source = self._form(inputs), self._tensor(inputs)
        if form.kernel.shape[:2] == form.strides == (1, 1) and not form.fold and not form.bias.any():
            # A factor per channel, such as a rescaling. An offset would change the zeros of the padding.
            source, kernel = form.source, np.einsum("io,hwop->hwip", form.kernel[0, 0], kernel)
        return _Affine(source, kernel, bias, strides, before, size, fold=True)


def _add(terms: Sequence[_Affine]) -> _Affine | None:
    """Return the sum of affine forms of one tensor as a single one; None if there is none."""
    if not any(term.fold for term in terms) or not _have_same(terms, "source", "strides", "size"):
        return None
    windows = [term.window for term in terms]
    rows, columns = ((min(w[axis][0] for w in windows), max(w[axis][1] for w in windows)) for axis in (0, 1))
    wide = [term.widen((rows, columns)) for term in terms]
    kernel, bias = (np.sum([getattr(term, name) for term in wide], axis=0) for name in ("kernel", "bias"))
    total = replace(wide[0], kernel=kernel, bias=bias, fold=True)
    return total if total.padding() else None


def _concatenate(parts: Sequence[_Affine]) -> _Affine | None:
    """Return the channels of affine forms of one tensor as a single one; None if their kernels differ in size."""
    if not _have_same(parts, "source", "strides", "size", "window"):
        return None
    kernel, bias = (np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in ("kernel", "bias"))
    return replace(parts[0], kernel=kernel, bias=bias, fold=True)


def _have_same(forms: Sequence[_Affine], *names: str) -> bool:
    """Return whether attributes of all forms are the same."""
    first = forms[0]
    return all(
        form.source is first.source if name == "source" else getattr(form, name) == getattr(first, name)
        for form in forms[1:]
        for name in names
    )


def _batch_normalization(layer: keras.layers.BatchNormalization) -> tuple[np.ndarray, np.ndarray]:
    """Return the factor and the offset (n_channels,) of a trained batch normalization."""
    factor = (_numpy(layer.gamma) if layer.scale else 1) / np.sqrt(_numpy(layer.moving_variance) + layer.epsilon)
    return factor, (_numpy(layer.beta) if layer.center else 0) - _numpy(layer.moving_mean) * factor


def _numpy(weight: Any) -> np.ndarray:
    """Return a weight as float64."""
    return np.asarray(keras.ops.convert_to_numpy(weight), float)


def _place(size: int, kernel: int, stride: int, padding: str) -> tuple[int, int]:
    """Return the zeros before the first pixel, and the number of outputs, of a convolution along one axis."""
    if padding == "valid":
        return 0, (size - kernel) // stride + 1
    n_outputs = -(-size // stride)
    return max((n_outputs - 1) * stride + kernel - size, 0) // 2, n_outputs


def _is_gate(tensor: Any) -> bool:
    """Return whether a tensor has one factor above 0 per channel: (n, 1, 1, C), the result of a sigmoid."""
    layer = tensor._keras_history.operation
    return tensor.shape[1:3] == (1, 1) and getattr(layer, "activation", None) is keras.activations.sigmoid
