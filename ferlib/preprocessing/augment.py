"""Random changes of training images, so that a model does not depend on the exact crop of a face."""

from dataclasses import dataclass

import cv2
import numpy as np

from ferlib.core.options import check_options, option

# Sides of images with a low resolution, as a fraction of the side.
_RESOLUTIONS = 14 / 48, 44 / 48


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes of training images; each field's help in the code below describes it.

    All amounts are drawn uniformly, independently per image, in both directions: a `scale` of 0.15 draws factors
    from 0.85 to 1.15. A `gamma` of 0.3 draws exponents from exp(-0.3) to exp(0.3). Images of low resolution are
    reduced to a size from 14 to 44 of 48 pixels and enlarged again. Erased rectangles have 2 to 20 % of the area
    and one random gray level. Blur has a standard deviation of 0.4 to 1.6 pixels, noise of 3 to 20 gray levels.
    Crops keep the size of faces, so prediction can use whole images; the time per epoch is proportional to the
    square of `crop`.

    References
    ----------
    Crops of 40 to 44 of FER2013's 48 pixels: Y. Khaireddin, Z. Chen, "Facial Emotion Recognition: State of the Art
    Performance on FER2013", 2021. Random erasing: Z. Zhong, L. Zheng, G. Kang, S. Li, Y. Yang, "Random Erasing Data
    Augmentation", AAAI 2020.
    """

    rotation: float = option(10.0, help="largest rotation in degrees", minimum=0, maximum=180)
    scale: float = option(0.12, help="largest change of size, as a fraction", minimum=0, below=1)
    shift: float = option(0.1, help="largest shift, as a fraction of the side", minimum=0, maximum=1)
    shear: float = option(0.0, help="largest shear along x, as a fraction", minimum=0, maximum=1)
    flip: bool = option(True, help="mirror half of the images")
    brightness: float = option(0.05, help="largest change of brightness, as a fraction of 255", minimum=0, maximum=1)
    contrast: float = option(0.15, help="largest change of contrast, as a fraction", minimum=0, maximum=1)
    gamma: float = option(0.0, help="largest change of the logarithm of gamma", minimum=0, maximum=2)
    resolution: float = option(0.0, help="share of images with a low resolution", minimum=0, maximum=1)
    erase: float = option(0.4, help="share of images with an erased rectangle", minimum=0, maximum=1)
    blur: float = option(0.12, help="share of blurred images", minimum=0, maximum=1)
    noise: float = option(0.15, help="share of images with added noise", minimum=0, maximum=1)
    crop: float = option(1.0, help="side of a random crop, as a fraction of the side", above=0, maximum=1)

    def __post_init__(self) -> None:
        """Check types and ranges."""
        check_options(self)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the (height, width) of augmented images in pixels; even if cropped, because strides halve it."""
        if self.crop == 1:
            return height, width
        return max(2, 2 * round(height * self.crop / 2)), max(2, 2 * round(width * self.crop / 2))

    def __call__(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return changed copies of images, uint8 (n, H, W, C), in `output_size`.

        Pixels outside of an image repeat its edge. The same state of `rng` gives the same images.
        """
        n, height, width, channels = images.shape
        matrices = self._draw_matrices(rng, n, height, width)
        height, width = self.output_size(height, width)
        out = np.empty((n, height, width, channels), np.uint8)
        for image, matrix, target in zip(images, matrices, out, strict=True):
            warped = cv2.warpAffine(
                image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
            target[...] = warped.reshape(height, width, channels)
        out = self._change_light(out, rng)
        self._degrade(out, rng)
        self._erase(out, rng)
        return out

    def _draw_matrices(self, rng: np.random.Generator, n: int, height: int, width: int) -> np.ndarray:
        """Return affine matrices (n, 2, 3) about the image's center."""
        angle = np.deg2rad(rng.uniform(-self.rotation, self.rotation, n))
        scale = rng.uniform(1 - self.scale, 1 + self.scale, n)
        shear = rng.uniform(-self.shear, self.shear, n)
        mirror = np.where(rng.random(n) < 0.5, -1.0, 1.0) if self.flip else np.ones(n)
        cos, sin = scale * np.cos(angle), scale * np.sin(angle)
        linear = np.stack([mirror * cos, cos * shear - sin, mirror * sin, sin * shear + cos], axis=1).reshape(n, 2, 2)
        center = np.array([(width - 1) / 2, (height - 1) / 2])
        shift = rng.uniform(-self.shift, self.shift, (n, 2)) * [width, height]
        if self.crop < 1:
            new_height, new_width = self.output_size(height, width)
            shift -= rng.uniform(0, 1, (n, 2)) * [width - new_width, height - new_height]
        return np.concatenate([linear, (center - linear @ center + shift)[:, :, np.newaxis]], axis=2)

    def _change_light(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return uint8 (n, H, W, C) with gamma changed, and brightness and contrast about each image's mean."""
        n = len(images)
        factor = rng.uniform(1 - self.contrast, 1 + self.contrast, (n, 1, 1, 1)).astype(np.float32)
        offset = rng.uniform(-self.brightness, self.brightness, (n, 1, 1, 1)).astype(np.float32) * 255
        if self.gamma:
            exponent = np.exp(rng.uniform(-self.gamma, self.gamma, (n, 1, 1, 1))).astype(np.float32)
            images = 255 * (images.astype(np.float32) / 255) ** exponent
        mean = images.mean(axis=(1, 2, 3), keepdims=True, dtype=np.float32)
        return np.clip((images - mean) * factor + mean + offset, 0, 255).astype(np.uint8)

    def _degrade(self, images: np.ndarray, rng: np.random.Generator) -> None:
        """Reduce the resolution of some of the images (n, H, W, C), blur some and add noise to some, in place."""
        if self.resolution:
            height, width = images.shape[1:3]
            for index in np.flatnonzero(rng.random(len(images)) < self.resolution):
                factor = rng.uniform(*_RESOLUTIONS)
                size = max(1, round(width * factor)), max(1, round(height * factor))
                small = cv2.resize(images[index], size, interpolation=cv2.INTER_AREA)
                images[index] = cv2.resize(small, (width, height)).reshape(images[index].shape)
        if self.blur:
            for index in np.flatnonzero(rng.random(len(images)) < self.blur):
                blurred = cv2.GaussianBlur(images[index], (0, 0), rng.uniform(0.4, 1.6))
                images[index] = blurred.reshape(images[index].shape)
        if self.noise:
            for index in np.flatnonzero(rng.random(len(images)) < self.noise):
                noise = rng.normal(0, rng.uniform(3, 20), images[index].shape)
                images[index] = np.clip(images[index] + noise, 0, 255).round().astype(np.uint8)

    def _erase(self, images: np.ndarray, rng: np.random.Generator) -> None:
        """Fill one rectangle in some of the images (n, H, W, C), in place."""
        height, width = images.shape[1:3]
        for index in np.flatnonzero(rng.random(len(images)) < self.erase):
            area, aspect = rng.uniform(0.02, 0.20) * height * width, np.exp(rng.uniform(np.log(0.4), np.log(2.5)))
            h = min(height, max(1, round(np.sqrt(area * aspect))))
            w = min(width, max(1, round(np.sqrt(area / aspect))))
            top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
            images[index, top : top + h, left : left + w] = rng.integers(0, 256)
