"""Draw one gray face from its traits and facial action units."""

import functools
import math

import cv2
import numpy as np

from ferlib.synthetic.expressions import sample_action_units, sample_traits

Traits = dict[str, float]
ActionUnits = dict[int, float]


class _Pose:
    """The projection of points of the face to the canvas, in sixteenths of a pixel (OpenCV's ``shift=4``)."""

    def __init__(self, traits: Traits, size: tuple[int, int]) -> None:
        height, width = size
        self.unit = traits["scale"] * min(size)
        self.center = np.array([(0.5 + traits["shift_x"]) * width, (0.46 + traits["shift_y"]) * height])
        sin, cos = math.sin(traits["roll"]), math.cos(traits["roll"])
        self.to_canvas = np.array([[cos, sin], [-sin, cos]]) * (16 * self.unit)
        self.sin_yaw, self.cos_yaw = math.sin(traits["yaw"]), math.cos(traits["yaw"])
        self.sin_pitch, self.cos_pitch = math.sin(traits["pitch"]), math.cos(traits["pitch"])

    def project(self, points: np.ndarray, lift: float | None) -> np.ndarray:
        """Return the canvas position of points (k, 2) at a height over the front of the head, an ellipsoid.

        Points with a `lift` of None are behind the face: only roll and scale move them.
        """
        if lift is not None:
            u, v = points[:, 0], points[:, 1]
            depth = np.sqrt(np.maximum(0.04, 1.0 - u * u / 1.21 - v * v / 2.89)) + lift
            turned_u = u * self.cos_yaw + (depth - 0.45) * self.sin_yaw
            points = np.stack([turned_u, v * self.cos_pitch + (depth - 0.5) * self.sin_pitch], axis=1)
        return np.rint(points @ self.to_canvas + 16 * self.center).astype(np.int32)


class _Layer:
    """A gray canvas that is drawn on in face units."""

    def __init__(self, size: tuple[int, int], pose: _Pose, tone: float) -> None:
        self.pixels: np.ndarray = np.full(size, _gray(tone), np.uint8)
        self.pose = pose

    def fill(self, points: np.ndarray, tone: float, *, lift: float | None = 0.0) -> None:
        """Fill a polygon (k, 2); see `_Pose.project` for `lift`."""
        cv2.fillPoly(self.pixels, [self.pose.project(points, lift)], _gray(tone), cv2.LINE_AA, 4)

    def stroke(self, points: np.ndarray, width: float, tone: float, *, lift: float | None = 0.0) -> None:
        """Draw an open line (k, 2), `width` in face units."""
        thickness = max(1, round(width * self.pose.unit))
        cv2.polylines(self.pixels, [self.pose.project(points, lift)], False, _gray(tone), thickness, cv2.LINE_AA, 4)

    def blur(self, radius: float) -> None:
        """Blur the canvas by two box filters, `radius` in face units."""
        side = 2 * round(radius * self.pose.unit) + 1
        self.pixels = cv2.blur(cv2.blur(self.pixels, (side, side)), (side, side))


def draw_face(emotion: str, image_size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Draw a face at two or more times its size and average it down.

    The generator determines the person, the pose, the light, the strength of the expression and the noise. The result
    is gray, uint8 of shape `image_size`, (height, width).
    """
    traits, au = sample_traits(rng), sample_action_units(emotion, rng)
    factor = max(2, math.ceil(144 / min(image_size)))
    size = (factor * image_size[0], factor * image_size[1])
    pose = _Pose(traits, size)
    face, broad, fine = _Layer(size, pose, traits["background"]), _Layer(size, pose, 128), _Layer(size, pose, 128)
    has_long_hair, has_glasses = rng.random(2) < (0.35, 0.13)
    _draw_head(face, traits, au, has_long_hair=has_long_hair)
    _draw_folds(broad, fine, traits, au)
    broad.blur(0.09)
    fine.blur(0.018)
    depth = 0.35 + 0.65 * traits["skin"] / 160
    relief = cv2.addWeighted(broad.pixels, depth, fine.pixels, depth, -256 * depth, dtype=cv2.CV_16S)
    face.pixels = cv2.add(face.pixels, relief, dtype=cv2.CV_8U)
    _draw_hair(face, traits, has_long_hair=has_long_hair)
    _draw_nose(face, traits, au)
    _draw_eyes(face, traits, au)
    _draw_brows(face, traits, au)
    _draw_mouth(face, traits, au)
    if has_glasses:
        _draw_glasses(face, traits)
    lit = face.pixels * _light(pose, traits, size, rng)
    small = cv2.resize(lit, image_size[::-1], interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), max(0.05, traits["blur"]))
    small = (small - 128) * traits["contrast"] + 128 + traits["brightness"]
    noisy = small + rng.normal(0, max(0.0, traits["noise"]), small.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _gray(tone: float) -> int:
    return int(min(max(round(tone), 0), 255))


@functools.cache
def _bernstein(degree: int, steps: int) -> np.ndarray:
    """Return the weights (steps, degree + 1) of control points for points on a Bezier curve."""
    t = np.linspace(0.0, 1.0, steps)
    return np.stack([math.comb(degree, k) * t**k * (1 - t) ** (degree - k) for k in range(degree + 1)], axis=1)


def _curve(*points: tuple[float, float], steps: int = 12) -> np.ndarray:
    """Return points (steps, 2) on the Bezier curve of two to four control points."""
    return _bernstein(len(points) - 1, steps) @ np.array(points)


@functools.cache
def _circle(steps: int) -> np.ndarray:
    """Return points (steps, 2) of the unit circle, clockwise from the right."""
    t = np.linspace(0.0, 2 * np.pi, steps, endpoint=False)
    return np.stack([np.cos(t), np.sin(t)], axis=1)


def _ellipse(x: float, y: float, width: float, height: float) -> np.ndarray:
    """Return points (24, 2) of an ellipse with half axes `width` and `height`."""
    return _circle(24) * (width, height) + (x, y)


def _draw_head(layer: _Layer, traits: Traits, au: ActionUnits, *, has_long_hair: bool) -> None:
    """Draw what is independent of the expression: shoulders, neck, the hair behind the head, and the head."""
    skin, width, lean = traits["skin"], traits["head_width"], 0.30 * layer.pose.sin_yaw
    if has_long_hair:
        layer.fill(_ellipse(0, 0.75, 1.32 * width, 2.3), traits["hair"], lift=None)
    layer.fill(np.array([(-2.2, 3), (-2.0, 1.9), (0, 1.4), (2.0, 1.9), (2.2, 3)]), traits["cloth"], lift=None)
    layer.fill(np.array([(-0.55, 0.7), (0.55, 0.7), (0.62, 1.75), (-0.62, 1.75)]), 0.62 * skin, lift=None)
    layer.fill(_ellipse(-0.25 * lean, -0.42, 1.12 * width, 1.05), traits["hair"], lift=None)
    u, v = _circle(48).T
    u = np.where(v > 0, np.sign(u) * np.abs(u) ** traits["jaw"] * (1 - 0.22 * v**2), u)
    v = np.where(v > 0, v * (traits["chin"] + 0.17 * au[26]), v * 1.25)
    layer.fill(np.stack([width * u + lean * np.clip(v, 0, 1), v], axis=1), skin, lift=None)
    layer.blur(0.01)


def _draw_hair(layer: _Layer, traits: Traits, *, has_long_hair: bool) -> None:
    """Draw the hair over the forehead, and at the sides if it is long."""
    u = np.linspace(-1.0, 1.0, 15)
    line = np.stack([u * 1.04, np.minimum(traits["hairline"] + 0.45 * u**2, -0.15)], axis=1)
    top = _curve((1.1, -0.1), (1.3, -2.0), (-1.3, -2.0), (-1.1, -0.1), steps=20)
    layer.fill(np.concatenate([line, top]), traits["hair"], lift=None)
    if has_long_hair:
        side = np.array([(1.2, -0.6), (0.93, -0.6), (0.99, 0.3), (0.93, 2.6), (1.35, 2.6)])
        layer.fill(side, traits["hair"], lift=None)
        layer.fill(side * (-1, 1), traits["hair"], lift=None)


def _draw_folds(broad: _Layer, fine: _Layer, traits: Traits, au: ActionUnits) -> None:
    """Draw broad shadows and fine folds of the skin on layers of middle gray, which stands for no change."""
    age, nose, brow = traits["age"], traits["nose_length"], traits["brow_height"] - 0.1 * au[1]
    mouth, width = traits["mouth_height"], traits["mouth_width"] + 0.11 * au[12]
    wrinkle = min(1.0, 0.9 * au[9] + 0.2 * au[10])
    for s in (-1, 1):
        eye = s * traits["eye_distance"]
        broad.fill(_ellipse(eye, -0.10, 0.27, 0.17), 128 - 26)
        broad.fill(_ellipse(s * 0.62, 0.36, 0.24, 0.16), 128 + 12 + 24 * max(au[6], au[12]))
        broad.stroke(_curve((s * 0.12, -0.1), (s * 0.14, nose)), 0.09, 128 - 14 - 16 * wrinkle)
        broad.stroke(_curve((s * 0.95, 0.3), (s * 0.72, 0.8), (s * 0.4, 1.1)), 0.14, 128 - 24)
        broad.fill(_ellipse(s * (width + 0.06), mouth + 0.12, 0.08, 0.10), 128 - 12 - 34 * au[15] - 12 * au[17])
        depth = min(1.0, 0.35 * age + 0.75 * au[12] + 0.7 * au[10] + 0.5 * au[9] + 0.5 * au[11] + 0.15 * au[20])
        start = (s * (traits["nose_width"] + 0.05), nose - 0.06)
        fold = _curve(start, (s * (width + 0.10), nose + 0.06), (s * (width + 0.13), mouth - 0.02 + 0.1 * au[15]))
        fine.stroke(fold, 0.05, 128 - 78 * depth)
        bag = _curve((eye - 0.18, 0.10), (eye, 0.16 - 0.04 * au[6]), (eye + 0.18, 0.08))
        fine.stroke(bag, 0.03, 128 - 22 * age - 42 * au[6] - 22 * au[7])
        fine.stroke(_curve((s * 0.075, brow - 0.06), (s * 0.06, brow + 0.14)), 0.03, 128 - 8 * age - 76 * au[4])
        fine.stroke(_curve((s * 0.02, -0.02), (s * 0.15, 0.06)), 0.05, 128 - 75 * wrinkle)
    broad.stroke(_curve((0, -0.2), (0, nose - 0.1)), 0.07, 128 + 26, lift=0.1)
    broad.stroke(_curve((-0.16, nose + 0.06), (0.16, nose + 0.06)), 0.09, 128 - 30)
    broad.fill(_ellipse(0, mouth + 0.2 + 0.3 * au[26], 0.2, 0.06), 128 - 26 - 22 * au[17])
    for rise in (0.16, 0.26, 0.36):
        reach = 0.52 * (0.45 + 0.55 * au[2])
        line = _curve((-reach, brow - rise), (0, brow - rise - 0.06), (reach, brow - rise))
        fine.stroke(line, 0.03, 128 - 12 * age - 42 * au[1])


def _draw_nose(layer: _Layer, traits: Traits, au: ActionUnits) -> None:
    skin, width = traits["skin"], traits["nose_width"] + 0.03 * au[9] + 0.02 * au[10]
    y = traits["nose_length"] - 0.05 * au[9]
    for s in (-1, 1):
        wing = _curve((s * 0.8 * width, y - 0.13), (s * 1.3 * width, y - 0.02), (s * 0.8 * width, y + 0.05))
        layer.stroke(wing, 0.025, 0.66 * skin, lift=0.08)
        layer.fill(_ellipse(s * 0.5 * width, y + 0.02, 0.055, 0.03), 0.36 * skin, lift=0.14)


def _draw_eyes(layer: _Layer, traits: Traits, au: ActionUnits) -> None:
    """Draw both eyes: the white and the iris, clipped by the lids, then the lines of the lids."""
    skin, half = traits["skin"], traits["eye_width"]
    upper = max(0.012, traits["eye_open"] + 0.065 * au[5] + 0.01 * au[1] - 0.035 * au[7] - 0.03 * au[6] - 0.04 * au[9])
    lower = max(0.012, 0.05 + 0.01 * au[5] - 0.02 * au[7] - 0.025 * au[6] - 0.02 * au[9])
    s = np.linspace(-1.0, 1.0, 13)
    height, width = layer.pixels.shape
    ball, opening = (_Layer((height, width), layer.pose, tone) for tone in (0.30 * skin + 150, 0))
    lids = []
    for side in (-1, 1):
        x = side * traits["eye_distance"] + half * s
        top = np.stack([x, -0.01 - upper * (1 - s**2) ** 0.7], axis=1)
        bottom = np.stack([x, -0.01 + lower * (1 - s**2) ** 0.8], axis=1)
        iris = side * traits["eye_distance"] + traits["gaze"]
        ball.fill(_ellipse(iris, -0.015, 0.100, 0.100), traits["iris"] + 20)
        ball.fill(_ellipse(iris, -0.015, 0.048, 0.048), 12)
        ball.stroke(top, 0.05, 0.5 * skin)
        opening.fill(np.concatenate([top, bottom[::-1]]), 255)
        lids.append((top, bottom))
    cv2.copyTo(ball.pixels, opening.pixels, layer.pixels)
    for top, bottom in lids:
        layer.stroke(bottom, 0.018, 0.62 * skin)
        layer.stroke(top, 0.042, 0.28 * skin)


def _draw_brows(layer: _Layer, traits: Traits, au: ActionUnits) -> None:
    """Draw the brows: inner end, arch and outer end, each moved by the units 1, 2, 4 and 9."""
    down = au[4] * (1.0 - 0.65 * au[1])
    y = traits["brow_height"]
    inner = y - 0.17 * au[1] + 0.13 * down + 0.06 * au[9]
    arch = y - traits["brow_arch"] - 0.07 * au[1] - 0.13 * au[2] + 0.08 * down + 0.04 * au[9]
    outer = y + 0.04 - 0.11 * au[2] + 0.02 * au[4]
    near, weight = 0.20 - 0.06 * au[4], traits["brow_weight"]
    tone = 0.75 * min(traits["hair"], 0.75 * traits["skin"]) + 0.12 * traits["skin"]
    for s in (-1, 1):
        top = _curve((s * near, inner - weight), (s * 0.45, arch - weight), (s * 0.72, outer - 0.01))
        bottom = _curve((s * near, inner + weight), (s * 0.45, arch + weight), (s * 0.72, outer + 0.01))
        layer.fill(np.concatenate([top, bottom[::-1]]), tone, lift=0.03)


def _draw_mouth(layer: _Layer, traits: Traits, au: ActionUnits) -> None:
    """Draw the lips, and between parted lips the dark and the teeth."""
    skin, pressed = traits["skin"], max(au[23], au[24])
    half = traits["mouth_width"] + 0.11 * au[12] + 0.10 * au[20] - 0.04 * pressed - 0.11 * au[26] * (1 - au[12])
    lift = traits["mouth_curve"] + 0.23 * au[12] - 0.15 * au[15] - 0.05 * au[20] - 0.04 * au[10]
    gap = 0.09 * au[25] + 0.40 * au[26] + 0.04 * au[20]
    t = np.linspace(-1.0, 1.0, 21)
    bow = (1 - t**2) ** (1.0 - 0.5 * au[20])
    middle = traits["mouth_height"] - lift * (np.abs(t) ** 1.7 - 0.4) - 0.06 * au[17] * bow
    over = middle - (0.25 * gap + 0.06 * au[10] + 0.03 * au[9] - 0.02 * au[24]) * bow
    under = np.maximum(over, middle + (0.75 * gap - 0.04 * au[10] * (gap == 0)) * bow)
    thick = traits["lip"] * (1 - 0.75 * pressed) * (1 - 0.25 * au[12])
    top, bottom = over - 0.85 * thick * bow**0.7, under + (1.15 + 0.5 * au[17]) * thick * bow**0.7
    x = half * t

    def band(first: np.ndarray, second: np.ndarray, tone: float) -> None:
        edge = np.concatenate([np.stack([x, first], axis=1), np.stack([x, second], axis=1)[::-1]])
        layer.fill(edge, tone, lift=0.04)

    band(top, over, 0.67 * skin)
    band(under, bottom, 0.77 * skin)
    if gap > 0.02:
        band(over, under, 24)
        shown = 0.13 * min(1.0, 1.2 * au[12] + 1.1 * au[10] + 0.7 * au[20] + 0.35 * au[26] + 0.3)
        band(over, np.minimum(under, over + shown * bow**0.6), 0.2 * skin + 185)
    layer.stroke(np.stack([x, over], axis=1), 0.032 + 0.012 * pressed, 0.33 * skin, lift=0.04)


def _draw_glasses(layer: _Layer, traits: Traits) -> None:
    for s in (-1, 1):
        rim = _ellipse(s * traits["eye_distance"], 0.01, 0.29, 0.22)
        layer.stroke(np.concatenate([rim, rim[:1]]), 0.045, 50, lift=0.1)
        layer.stroke(_curve((s * 0.72, -0.03), (s * 1.0, -0.06)), 0.045, 50, lift=0.02)
    layer.stroke(_curve((-0.14, -0.02), (0.0, -0.07), (0.14, -0.02)), 0.045, 50, lift=0.15)


def _light(pose: _Pose, traits: Traits, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return the fraction of light (H, W) at each pixel of the canvas, brightest towards a random side."""
    angle, strength = rng.uniform(0, 2 * np.pi), 1.1 * traits["light"]
    x = ((np.arange(size[1]) - pose.center[0]) / pose.unit).astype(np.float32)
    y = ((np.arange(size[0]) - pose.center[1]) / (1.3 * pose.unit)).astype(np.float32)[:, np.newaxis]
    light = 1.06 + strength * (math.cos(angle) * x + math.sin(angle) * y) - 0.12 * (x**2 + y**2)
    return np.clip(light, 0.4, 1.5)
