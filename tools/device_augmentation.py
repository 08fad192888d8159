"""`ferlib.preprocessing.Augmentation` in JAX, for images in the memory of an accelerator.

The distributions are those of the NumPy implementation; only the random numbers differ. Random crops are not available.
"""

from dataclasses import asdict

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from ferlib.preprocessing import Augmentation

Scalars = dict[str, jax.Array]

# Sides of images with a low resolution, in pixels of 48.
_SIDES = (14, 16, 18, 20, 22, 24, 27, 30, 33, 36, 40, 44)


def amounts(augmentation: Augmentation) -> Scalars:
    """Return the amounts of an augmentation as arguments of `augment`, so that they do not need another compilation."""
    return {name: jnp.asarray(float(value)) for name, value in asdict(augmentation).items()}


def low_resolutions(side: int) -> jax.Array:
    """Return matrices (n, side, side) that reduce the columns of an image and enlarge them again."""
    matrices = []
    for small in (round(side * fraction / 48) for fraction in _SIDES):
        down = cv2.resize(np.eye(side, dtype=np.float32), (side, small), interpolation=cv2.INTER_AREA)
        up = cv2.resize(np.eye(small, dtype=np.float32), (small, side), interpolation=cv2.INTER_LINEAR)
        matrices.append(up @ down)
    return jnp.asarray(np.stack(matrices))


def augment(images: jax.Array, key: jax.Array, a: Scalars, resolutions: jax.Array) -> jax.Array:
    """Return changed copies of gray images: uint8 (n, S, S) to float32 (n, S, S), 0 to 255."""
    keys = iter(jax.random.split(key, 32))
    n, side = images.shape[:2]

    def uniform(low: float, high: float) -> jax.Array:
        return jax.random.uniform(next(keys), (n,), minval=low, maxval=high)

    x = _warp(images.astype(jnp.float32), uniform, a)
    x = _change_light(x, uniform, a)
    x = _degrade(x, uniform, keys, a, resolutions)
    area, aspect = uniform(0.02, 0.20) * side**2, jnp.exp(uniform(float(np.log(0.4)), float(np.log(2.5))))
    height, width = (jnp.clip(jnp.round(jnp.sqrt(area * ratio)), 1, side) for ratio in (aspect, 1 / aspect))
    top, left = (jnp.floor(uniform(0, 1) * (side - size + 1)) for size in (height, width))
    rows, columns = jnp.arange(side)[None, :, None], jnp.arange(side)[None, None, :]
    inside = (rows >= _each(top)) & (rows < _each(top + height))
    inside &= (columns >= _each(left)) & (columns < _each(left + width))
    erased = inside & _each(uniform(0, 1) < a["erase"])
    return jnp.where(erased, _each(jnp.floor(uniform(0, 256))), x)


def _warp(x: jax.Array, uniform, a: Scalars) -> jax.Array:
    """Rotate, scale, shear, mirror and shift about the center; pixels outside repeat the edge."""
    n, side = x.shape[:2]
    angle, scale = jnp.deg2rad(uniform(-1, 1) * a["rotation"]), 1 + uniform(-1, 1) * a["scale"]
    shear = uniform(-1, 1) * a["shear"]
    mirror = jnp.where(uniform(0, 1) < 0.5 * a["flip"], -1.0, 1.0)
    cos, sin = scale * jnp.cos(angle), scale * jnp.sin(angle)
    forward = (mirror * cos, cos * shear - sin, mirror * sin, sin * shear + cos)
    determinant = forward[0] * forward[3] - forward[1] * forward[2]
    inverse = [_each(v / determinant) for v in (forward[3], -forward[1], -forward[2], forward[0])]
    center = (side - 1) / 2
    shift = [_each(uniform(-1, 1) * a["shift"] * side) for _ in range(2)]
    grid_y, grid_x = jnp.meshgrid(jnp.arange(side) - center, jnp.arange(side) - center, indexing="ij")
    dx, dy = grid_x[None] - shift[0], grid_y[None] - shift[1]
    source_x = jnp.clip(inverse[0] * dx + inverse[1] * dy + center, 0, side - 1)
    source_y = jnp.clip(inverse[2] * dx + inverse[3] * dy + center, 0, side - 1)
    x0, y0 = jnp.floor(source_x).astype(jnp.int32), jnp.floor(source_y).astype(jnp.int32)
    x1, y1 = jnp.minimum(x0 + 1, side - 1), jnp.minimum(y0 + 1, side - 1)
    fx, fy = source_x - x0, source_y - y0
    flat = x.reshape(n, side * side)

    def pick(rows: jax.Array, columns: jax.Array) -> jax.Array:
        return jnp.take_along_axis(flat, (rows * side + columns).reshape(n, -1), axis=1).reshape(x.shape)

    upper = pick(y0, x0) * (1 - fx) + pick(y0, x1) * fx
    lower = pick(y1, x0) * (1 - fx) + pick(y1, x1) * fx
    return upper * (1 - fy) + lower * fy


def _change_light(x: jax.Array, uniform, a: Scalars) -> jax.Array:
    """Change gamma, then brightness and contrast about each image's mean."""
    x = 255 * (x / 255 + 1e-4) ** _each(jnp.exp(uniform(-1, 1) * a["gamma"]))
    mean = x.mean(axis=(1, 2), keepdims=True)
    factor, offset = 1 + uniform(-1, 1) * a["contrast"], uniform(-1, 1) * a["brightness"] * 255
    return jnp.clip((x - mean) * _each(factor) + mean + _each(offset), 0, 255)


def _degrade(x: jax.Array, uniform, keys, a: Scalars, resolutions: jax.Array) -> jax.Array:
    """Reduce the resolution of some images, blur some and add noise to some; the first two are products of matrices."""
    n, side = x.shape[:2]
    drawn = jax.random.randint(next(keys), (n,), 0, len(resolutions))
    resize = jnp.where(_each(uniform(0, 1) < a["resolution"]), resolutions[drawn], jnp.eye(side))
    # So narrow that it changes nothing, where there is no blur.
    deviation = jnp.where(uniform(0, 1) < a["blur"], uniform(0.4, 1.6), 0.05)
    squares = (jnp.arange(side)[:, None] - jnp.arange(side)[None]) ** 2
    gauss = jnp.exp(-squares[None] / (2 * _each(deviation) ** 2))
    matrix = jnp.einsum("nij,njk->nik", resize, gauss / gauss.sum(axis=-1, keepdims=True))
    x = jnp.einsum("nij,njk,nlk->nil", matrix, x, matrix)
    noise = jnp.where(uniform(0, 1) < a["noise"], uniform(3, 20), 0.0)
    return jnp.clip(x + _each(noise) * jax.random.normal(next(keys), x.shape), 0, 255)


def _each(values: jax.Array) -> jax.Array:
    """Return one value per image (n,) as (n, 1, 1)."""
    return values[:, None, None]
