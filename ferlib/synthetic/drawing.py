"""Draw one gray face from its traits and action units."""

import functools
import math

import cv2
import numpy as np

from ferlib.synthetic.expressions import sample_action_units, sample_traits

# Hair over the face: how far the edge drops, its curve, how uneven it is, and the volume over the head.
_HAIRLINES = {
    "short": (0.0, 0.45, 0.02, 2.0),
    "long": (-0.02, 0.50, 0.02, 2.15),
    "fringe": (0.30, 0.12, 0.05, 2.05),
    "receding": (-0.16, 0.55, 0.03, 1.8),
}
_STYLES = ("short", "long", "fringe", "receding", "bald")
_STYLE_SHARES = (0.32, 0.30, 0.18, 0.13, 0.07)


class _Pose:
    """Where points of the face (k, 2) fall on the canvas, in sixteenths of a pixel, as OpenCV's `shift=4` has them."""

    def __init__(self, traits: dict, size: tuple[int, int]):
        height, width = size
        self.unit = traits["scale"] * min(size)
        self.centre = np.array([(0.5 + traits["shift_x"]) * width, (0.46 + traits["shift_y"]) * height])
        sin, cos = math.sin(traits["roll"]), math.cos(traits["roll"])
        self.to_canvas = np.array([[cos, sin], [-sin, cos]]) * (16 * self.unit)
        self.sin_yaw, self.cos_yaw = math.sin(traits["yaw"]), math.cos(traits["yaw"])
        self.sin_pitch, self.cos_pitch = math.sin(traits["pitch"]), math.cos(traits["pitch"])

    def on_face(self, points: np.ndarray, lift: float = 0.0) -> np.ndarray:
        """Turn points (k, 2) on the front of the head, which is an ellipsoid, with yaw, pitch and roll."""
        u, v = points[:, 0], points[:, 1]
        depth = np.sqrt(np.maximum(0.04, 1.0 - u * u / 1.21 - v * v / 2.89)) + lift
        turned = np.empty_like(points, dtype=np.float64)
        turned[:, 0] = u * self.cos_yaw + (depth - 0.45) * self.sin_yaw
        turned[:, 1] = v * self.cos_pitch + (depth - 0.5) * self.sin_pitch
        return self.flat(turned)

    def flat(self, points: np.ndarray) -> np.ndarray:
        """Place points (k, 2) that only roll and scale move: outlines, hair, a hand."""
        return np.rint(points @ self.to_canvas + 16 * self.centre).astype(np.int32)


class _Layer:
    """A gray canvas that is drawn on in face units."""

    def __init__(self, size: tuple[int, int], pose: _Pose, tone: float):
        self.pixels = np.full(size, _gray(tone), np.uint8)
        self.pose = pose

    def fill(self, points: np.ndarray, tone: float, *, lift: float | None = 0.0) -> None:
        """Fill a polygon (k, 2); `lift` is its height over the skin, None puts it flat on the canvas."""
        placed = self.pose.flat(points) if lift is None else self.pose.on_face(points, lift)
        cv2.fillPoly(self.pixels, [placed], _gray(tone), cv2.LINE_AA, 4)

    def stroke(self, points: np.ndarray, width: float, tone: float, *, lift: float | None = 0.0) -> None:
        """Draw an open line (k, 2), `width` in face units."""
        placed = self.pose.flat(points) if lift is None else self.pose.on_face(points, lift)
        thickness = max(1, round(width * self.pose.unit))
        cv2.polylines(self.pixels, [placed], False, _gray(tone), thickness, cv2.LINE_AA, 4)

    def paint(self, shapes: list[np.ndarray], texture: np.ndarray) -> None:
        """Fill flat polygons (k, 2) with a texture of the canvas's size."""
        mask = np.zeros_like(self.pixels)
        for shape in shapes:
            cv2.fillPoly(mask, [self.pose.flat(shape)], 255, cv2.LINE_8, 4)
        cv2.copyTo(texture, mask, self.pixels)

    def blur(self, radius: float) -> None:
        """Blur everything so far by two box filters, `radius` in face units."""
        side = 2 * round(radius * self.pose.unit) + 1
        self.pixels = cv2.blur(cv2.blur(self.pixels, (side, side)), (side, side))


def _gray(tone: float) -> int:
    """Return a gray level within 0 to 255."""
    return int(min(max(round(tone), 0), 255))


@functools.cache
def _bernstein(degree: int, steps: int) -> np.ndarray:
    """Return (steps, degree + 1) weights that turn control points into points on a Bezier curve."""
    t = np.linspace(0.0, 1.0, steps)
    return np.stack([math.comb(degree, k) * t**k * (1 - t) ** (degree - k) for k in range(degree + 1)], axis=1)


@functools.cache
def _circle(steps: int) -> np.ndarray:
    """Return (steps, 2) points of the unit circle, the first of them at the right, going clockwise."""
    t = np.linspace(0.0, 2 * np.pi, steps, endpoint=False)
    return np.stack([np.cos(t), np.sin(t)], axis=1)


def _curve(*points: tuple[float, float], steps: int = 12) -> np.ndarray:
    """Return (steps, 2) points on the Bezier curve of two to four control points."""
    return _bernstein(len(points) - 1, steps) @ np.array(points)


def _ellipse(x: float, y: float, width: float, height: float) -> np.ndarray:
    """Return (24, 2) points of an ellipse with half axes `width` and `height`."""
    return _circle(24) * (width, height) + (x, y)


def _sample_look(size: tuple[int, int], traits: dict, rng: np.random.Generator) -> dict:
    """Return the style and texture (H, W) of the hair, and whether there is a beard."""
    tones = np.clip(traits["hair"] + rng.normal(0, 0.16 * traits["hair"] + 5, (3, 34)), 0, 255).astype(np.float32)
    return {
        "style": _STYLES[rng.choice(len(_STYLES), p=_STYLE_SHARES)],
        "hair": _to_uint8(cv2.resize(tones, size[::-1], interpolation=cv2.INTER_LINEAR)),
        "beard": rng.random() < 0.12,
    }


def _draw_head(layer: _Layer, traits: dict, au: dict, look: dict, rng: np.random.Generator) -> None:
    """Draw what lies behind the expression: background, shoulders, the hair at the back, ears, the head, a beard."""
    skin, hair, width, lean = traits["skin"], look["hair"], traits["head_width"], 0.30 * layer.pose.sin_yaw
    for _ in range(3):
        x, y, w, h = rng.uniform((-2, -2, 0.2, 0.2), (2, 2, 1.2, 1.5))
        layer.fill(_ellipse(x, y, w, h), traits["background"] + rng.normal(0, 25), lift=None)
    layer.blur(0.2)
    if look["style"] == "long":
        layer.paint([_ellipse(0, 0.75, 1.32 * width, 2.3)], hair)
    shoulders = np.array([(-2.2, 3), (-2.0, 1.9), (-0.55, 1.55), (0.55, 1.55), (2.0, 1.9), (2.2, 3)])
    layer.fill(shoulders, traits["cloth"], lift=None)
    layer.fill(np.array([(-0.55, 0.7), (0.55, 0.7), (0.62, 1.75), (-0.62, 1.75)]), 0.62 * skin, lift=None)
    if look["style"] != "bald":
        layer.paint([_ellipse(-0.25 * lean, -0.42, 1.12 * width, 1.05)], hair)
    for ear in (-1, 1):
        layer.fill(_ellipse(ear * 1.0 * width - 0.5 * lean, 0.1, 0.12, 0.24), 0.82 * skin, lift=None)
    u, v = _circle(48)[:, 0], _circle(48)[:, 1]
    low = v > 0
    u = np.where(low, np.sign(u) * np.abs(u) ** traits["jaw"] * (1 - 0.22 * v**2), u)
    v = np.where(low, v * (traits["chin"] + 0.17 * au[26]), v * 1.25)
    outline = np.stack([width * u + lean * np.clip(v, 0, 1), v], axis=1)
    layer.fill(outline, skin, lift=None)
    if look["beard"]:
        inner = np.stack([0.62 * u[low][::-1], 0.42 + 0.36 * v[low][::-1]], axis=1)
        layer.fill(np.concatenate([outline[low], inner]), 0.5 * traits["hair"] + 0.35 * skin, lift=None)
    layer.blur(0.01)


def _draw_hairline(layer: _Layer, traits: dict, look: dict, rng: np.random.Generator) -> None:
    """Draw the hair that falls over the head, with an uneven edge."""
    if look["style"] == "bald":
        return
    drop, curve, uneven, volume = _HAIRLINES[look["style"]]
    u = np.linspace(-1.0, 1.0, 15)
    parting, frays = rng.uniform(-0.4, 0.4), rng.standard_normal(15)
    edge = traits["hairline"] + drop + curve * (u - parting) ** 2 + uneven * frays
    line = np.stack([u * 1.04, np.minimum(edge, -0.15)], axis=1)
    top = _curve((1.1, -0.1), (1.3, -volume), (-1.3, -volume), (-1.1, -0.1), steps=20)
    lock = np.array([(1.2, -0.6), (0.93, -0.6), (0.99, 0.3), (0.93, 2.6), (1.35, 2.6)])
    locks = [lock, lock * (-1, 1)] if look["style"] == "long" else []
    layer.paint([np.concatenate([line, top]), *locks], look["hair"])


def _draw_folds(layer: _Layer, fine: _Layer, traits: dict, au: dict) -> None:
    """Draw on two layers of middle gray what the light does to the skin: broad shadows and fine folds."""
    age, nose, brow = traits["age"], traits["nose_length"], traits["brow_height"] - 0.1 * au[1]
    mouth, width = traits["mouth_height"], traits["mouth_width"] + 0.11 * au[12]
    wrinkle = min(1.0, 0.9 * au[9] + 0.2 * au[10])
    for s in (-1, 1):
        eye = s * traits["eye_distance"]
        layer.fill(_ellipse(eye, -0.10, 0.27, 0.17), 128 - 26)
        layer.fill(_ellipse(s * 0.62, 0.36, 0.24, 0.16), 128 + 12 + 24 * max(au[6], au[12]))
        layer.stroke(_curve((s * 0.12, -0.1), (s * 0.14, nose)), 0.09, 128 - 14 - 16 * wrinkle)
        layer.stroke(_curve((s * 0.95, 0.3), (s * 0.72, 0.8), (s * 0.4, 1.1)), 0.14, 128 - 24)
        layer.fill(_ellipse(s * (width + 0.06), mouth + 0.12, 0.08, 0.10), 128 - 12 - 34 * au[15] - 12 * au[17])
        depth = min(1.0, 0.35 * age + 0.75 * au[12] + 0.7 * au[10] + 0.5 * au[9] + 0.5 * au[11] + 0.15 * au[20])
        start = (s * (traits["nose_width"] + 0.05), nose - 0.06)
        fold = _curve(start, (s * (width + 0.10), nose + 0.06), (s * (width + 0.13), mouth - 0.02 + 0.1 * au[15]))
        fine.stroke(fold, 0.05, 128 - 78 * depth)
        bag = _curve((eye - 0.18, 0.10), (eye, 0.16 - 0.04 * au[6]), (eye + 0.18, 0.08))
        fine.stroke(bag, 0.03, 128 - 22 * age - 42 * au[6] - 22 * au[7])
        for rise in (-0.09, 0.0, 0.09):
            crow = _curve((s * 0.72, -0.03 + 0.3 * rise), (s * 0.88, -0.03 + 1.3 * rise))
            fine.stroke(crow, 0.025, 128 - 50 * au[6] * (0.4 + 0.6 * age))
        frown = _curve((s * 0.075, brow - 0.06), (s * 0.06, brow + 0.14))
        fine.stroke(frown, 0.03, 128 - 8 * age - 76 * au[4])
        for step in (0.0, 0.09):
            fine.stroke(_curve((s * 0.02, -0.06 + step), (s * 0.15, 0.02 + step)), 0.03, 128 - 75 * wrinkle)
    layer.fill(_ellipse(0, brow + 0.06, 0.13, 0.12), 128 - 24 * au[4] - 20 * au[9])
    layer.stroke(_curve((0, -0.2), (0, nose - 0.1)), 0.07, 128 + 26, lift=0.1)
    layer.stroke(_curve((-0.16, nose + 0.06), (0.16, nose + 0.06)), 0.09, 128 - 30)
    layer.fill(_ellipse(0, mouth + 0.2 + 0.3 * au[26], 0.2, 0.06), 128 - 26 - 22 * au[17])
    layer.fill(_ellipse(0, mouth + 0.36 + 0.2 * au[26], 0.15, 0.08), 128 + 14 + 12 * au[17])
    for k, span in enumerate((0.5, 0.55, 0.5)):
        y, reach = brow - 0.16 - 0.1 * k, span * (0.45 + 0.55 * au[2])
        line = _curve((-reach, y), (-0.3 * reach, y - 0.05), (0.3 * reach, y - 0.05), (reach, y))
        fine.stroke(line, 0.03, 128 - 12 * age - 42 * au[1])


def _draw_nose(layer: _Layer, traits: dict, au: dict) -> None:
    """Draw the wings of the nose and the nostrils."""
    skin, width = traits["skin"], traits["nose_width"] + 0.03 * au[9] + 0.02 * au[10]
    y = traits["nose_length"] - 0.05 * au[9]
    for s in (-1, 1):
        wing = _curve((s * 0.8 * width, y - 0.13), (s * 1.3 * width, y - 0.02), (s * 0.8 * width, y + 0.05))
        layer.stroke(wing, 0.025, 0.66 * skin, lift=0.08)
        layer.fill(_ellipse(s * 0.5 * width, y + 0.02, 0.055, 0.03), 0.36 * skin, lift=0.14)


def _draw_eyes(layer: _Layer, traits: dict, au: dict, rng: np.random.Generator) -> None:
    """Draw both eyes: the white and the iris clipped by the lids, then the lids' lines."""
    skin, half = traits["skin"], traits["eye_width"]
    upper = max(0.012, traits["eye_open"] + 0.065 * au[5] + 0.01 * au[1] - 0.035 * au[7] - 0.03 * au[6] - 0.04 * au[9])
    lower = max(0.012, 0.05 + 0.01 * au[5] - 0.02 * au[7] - 0.025 * au[6] - 0.02 * au[9])
    if rng.random() < 0.04:  # a blink: both lids meet low
        upper, lower = -0.03, 0.04
    s = np.linspace(-1.0, 1.0, 13)
    ball = _Layer(layer.pixels.shape, layer.pose, 0.30 * skin + 150)
    opening = _Layer(layer.pixels.shape, layer.pose, 0)
    lids = []
    for side in (-1, 1):
        x = side * traits["eye_distance"] + half * s
        tilt = traits["eye_slant"] * side * s - 0.01
        top = np.stack([x, tilt - upper * (1 - s**2) ** 0.7], axis=1)
        bottom = np.stack([x, tilt + lower * (1 - s**2) ** 0.8], axis=1)
        centre = side * traits["eye_distance"] + traits["gaze_x"], -0.015 + traits["gaze_y"]
        ball.fill(_ellipse(*centre, 0.100, 0.100), traits["iris"] + 20)
        ball.fill(_ellipse(*centre, 0.048, 0.048), 12)
        ball.fill(_ellipse(centre[0] + 0.03, centre[1] - 0.035, 0.02, 0.02), 235)
        ball.stroke(top, 0.05, 0.5 * skin)
        opening.fill(np.concatenate([top, bottom[::-1]]), 255)
        lids.append((top, bottom))
    cv2.copyTo(ball.pixels, opening.pixels, layer.pixels)
    for top, bottom in lids:
        layer.stroke(bottom, 0.018, 0.62 * skin)
        layer.stroke(top, 0.042, 0.28 * skin)
        layer.stroke(top[2:-2] - (0, 0.055 + 0.02 * au[5]), 0.018, 0.72 * skin)


def _draw_brows(layer: _Layer, traits: dict, au: dict) -> None:
    """Draw the brows: inner end, arch and outer end each moved by the units 1, 2, 4 and 9."""
    down = au[4] * (1.0 - 0.65 * au[1])
    y = traits["brow_height"]
    inner = y + traits["brow_tilt"] - 0.17 * au[1] + 0.13 * down + 0.06 * au[9]
    arch = y - traits["brow_arch"] - 0.07 * au[1] - 0.13 * au[2] + 0.08 * down + 0.04 * au[9]
    outer = y - traits["brow_tilt"] + 0.04 - 0.11 * au[2] + 0.02 * au[4]
    near, weight = 0.20 - 0.06 * au[4], traits["brow_weight"]
    tone = 0.75 * min(traits["hair"], 0.75 * traits["skin"]) + 0.12 * traits["skin"]
    for s in (-1, 1):
        top = _curve((s * near, inner - weight), (s * 0.45, arch - weight), (s * 0.72, outer - 0.01))
        bottom = _curve((s * near, inner + weight), (s * 0.45, arch + weight), (s * 0.72, outer + 0.01))
        layer.fill(np.concatenate([top, bottom[::-1]]), tone, lift=0.03)


def _draw_mouth(layer: _Layer, traits: dict, au: dict) -> None:
    """Draw the lips, and between parted lips the dark, the teeth and the tongue."""
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
    cupid = 1 - 0.3 * np.exp(-((t / 0.16) ** 2))
    top, bottom = over - 0.85 * thick * bow**0.7 * cupid, under + (1.15 + 0.5 * au[17]) * thick * bow**0.7
    x = half * t

    def band(first: np.ndarray, second: np.ndarray, tone: float) -> None:
        edge = np.concatenate([np.stack([x, first], axis=1), np.stack([x, second], axis=1)[::-1]])
        layer.fill(edge, tone, lift=0.04)

    band(top, over, 0.90 * traits["lip_tone"] * skin)
    band(under, bottom, 1.04 * traits["lip_tone"] * skin)
    if gap > 0.02:
        band(over, under, 24)
        band(np.maximum(over, under - 0.3 * gap * bow), under, 0.42 * skin)
        shown = 0.13 * min(1.0, 1.2 * au[12] + 1.1 * au[10] + 0.7 * au[20] + 0.35 * au[26] + 0.3)
        band(over, np.minimum(under, over + shown * bow**0.6), 0.2 * skin + 185)
        if au[10] + au[20] > 0.4:
            band(np.maximum(over + 0.6 * (under - over), under - 0.07 * bow), under, 0.2 * skin + 160)
    ends = 0.032 + 0.012 * pressed
    layer.stroke(np.stack([x, over], axis=1), ends, 0.33 * skin, lift=0.04)


def _draw_occlusions(layer: _Layer, traits: dict, rng: np.random.Generator) -> None:
    """Draw what sometimes covers a face: glasses, a strand of hair, a hand."""
    glasses, strand, hand = rng.random(3)
    side, height, tone = rng.choice((-1.0, 1.0)), rng.uniform(0.2, 1.1), rng.uniform(15, 90)
    if glasses < 0.13:
        for s in (-1, 1):
            rim = _ellipse(s * traits["eye_distance"], 0.01, 0.29, 0.22)
            if glasses < 0.02:
                layer.fill(rim, tone, lift=0.1)
            layer.stroke(np.concatenate([rim, rim[:1]]), 0.045, tone, lift=0.1)
            layer.stroke(_curve((s * 0.72, -0.03), (s * 1.0, -0.06)), 0.045, tone, lift=0.02)
        layer.stroke(_curve((-0.14, -0.02), (0.0, -0.07), (0.14, -0.02)), 0.045, tone, lift=0.15)
    if strand < 0.07:
        fall = _curve((0.2 * side, -1.1), (0.9 * side, -0.7), (0.75 * side, height))
        layer.stroke(fall, 0.10, traits["hair"], lift=None)
    if hand < 0.05:
        x, y = 0.75 * side, 0.35 + 0.8 * height
        for finger in range(4):
            root = x + 0.17 * (finger - 1.5)
            line = _curve((root, y + 1.2), (root - 0.1 * side, y + 0.05 * finger))
            layer.stroke(line, 0.18, 0.62 * traits["skin"], lift=None)
            layer.stroke(line, 0.13, 0.9 * traits["skin"], lift=None)


def _light(pose: _Pose, traits: dict, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return the share of light (H, W) that reaches each pixel of the canvas, brightest towards a random side."""
    angle = rng.uniform(0, 2 * np.pi)
    nx = (np.arange(size[1], dtype=np.float32) - np.float32(pose.centre[0])) / np.float32(pose.unit)
    ny = (np.arange(size[0], dtype=np.float32) - np.float32(pose.centre[1])) / np.float32(1.3 * pose.unit)
    strength = np.float32(1.1 * traits["light"])
    across = strength * np.float32(math.cos(angle)) * nx - np.float32(0.12) * nx**2
    down = strength * np.float32(math.sin(angle)) * ny - np.float32(0.12) * ny**2
    return np.clip(np.float32(1.06) + across + down[:, np.newaxis], 0.4, 1.5)


def draw_face(emotion: str, image_size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Draw a face at two to many times its size and average it down.

    Parameters
    ----------
    emotion : str
        One of ``EMOTIONS``.
    image_size : tuple of int
        Height and width in pixels.
    rng : numpy.random.Generator
        Decides on the person, the pose, the light, the expression's strength and the noise.

    Returns
    -------
    ndarray of shape image_size, dtype uint8
        Gray, 0 to 255.
    """
    traits, au = sample_traits(rng), sample_action_units(emotion, rng)
    factor = max(2, math.ceil(144 / min(image_size)))
    size = (factor * image_size[0], factor * image_size[1])
    pose = _Pose(traits, size)
    face, broad, fine = _Layer(size, pose, traits["background"]), _Layer(size, pose, 128), _Layer(size, pose, 128)
    look = _sample_look(size, traits, rng)
    _draw_head(face, traits, au, look, rng)
    _draw_folds(broad, fine, traits, au)
    broad.blur(0.09)
    fine.blur(0.018)
    depth = 0.35 + 0.65 * traits["skin"] / 160
    relief = cv2.addWeighted(broad.pixels, depth, fine.pixels, depth, -256 * depth, dtype=cv2.CV_16S)
    face.pixels = cv2.add(face.pixels, relief, dtype=cv2.CV_8U)
    _draw_hairline(face, traits, look, rng)
    _draw_nose(face, traits, au)
    _draw_eyes(face, traits, au, rng)
    _draw_brows(face, traits, au)
    _draw_mouth(face, traits, au)
    _draw_occlusions(face, traits, rng)
    lit = face.pixels * _light(pose, traits, size, rng)
    small = cv2.resize(lit, image_size[::-1], interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), max(0.05, traits["blur"]))
    small = (small - 128) * traits["contrast"] + 128 + traits["brightness"]
    return _to_uint8(small + rng.normal(0, max(0.0, traits["noise"]), small.shape))


def _to_uint8(values: np.ndarray) -> np.ndarray:
    """Return gray levels of any kind rounded to uint8, those outside 0 to 255 cut off."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
