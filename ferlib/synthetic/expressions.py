"""Sample the traits of a drawn face and the facial action units of an emotion."""

import numpy as np

# The facial action units (Ekman and Friesen 1978) of each emotion, with the fraction of people who show them. The
# fractions are from Du, Tao and Martinez (2014), table 1; those above 70 % are 1 here.
_ACTION_UNITS = {
    "angry": {4: 1.0, 7: 1.0, 24: 1.0, 10: 0.26, 17: 0.52, 23: 0.29},
    "disgust": {9: 1.0, 10: 1.0, 17: 1.0, 4: 0.31, 24: 0.26},
    "fear": {1: 1.0, 4: 1.0, 20: 1.0, 25: 1.0, 2: 0.57, 5: 0.63, 26: 0.33},
    "happy": {12: 1.0, 25: 1.0, 6: 0.51},
    "sad": {4: 1.0, 15: 1.0, 1: 0.60, 6: 0.50, 11: 0.26, 17: 0.67},
    "surprise": {1: 1.0, 2: 1.0, 25: 1.0, 26: 1.0, 5: 0.66},
    "neutral": {},
}
_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 15, 17, 20, 23, 24, 25, 26)

# Mean and standard deviation of what varies between people and images, clipped at two standard deviations. Lengths are
# in face units: half the width of the face, y downwards, the origin at the bridge of the nose.
_TRAITS = {
    "scale": (0.375, 0.03),  # of the image's shorter side
    "shift_x": (0.0, 0.035),  # of the image's width
    "shift_y": (0.0, 0.035),
    "yaw": (0.0, 0.24),  # radians
    "pitch": (0.0, 0.11),
    "roll": (0.0, 0.12),
    "skin": (165.0, 32.0),  # gray levels
    "hair": (65.0, 45.0),
    "background": (118.0, 60.0),
    "cloth": (110.0, 60.0),
    "contrast": (1.0, 0.17),
    "brightness": (0.0, 16.0),
    "noise": (4.0, 2.5),
    "blur": (0.4, 0.3),  # pixels of the image
    "light": (0.22, 0.11),  # fraction of the brightness that depends on the direction
    "head_width": (1.0, 0.04),
    "chin": (1.22, 0.06),
    "jaw": (0.74, 0.07),  # 1 round, lower square
    "hairline": (-0.88, 0.10),
    "age": (0.35, 0.25),  # strength of the folds of the skin at rest
    "eye_distance": (0.43, 0.02),
    "eye_width": (0.20, 0.015),
    "eye_open": (0.085, 0.014),
    "gaze": (0.0, 0.035),
    "iris": (55.0, 22.0),
    "brow_height": (-0.33, 0.03),
    "brow_arch": (0.07, 0.02),
    "brow_weight": (0.05, 0.014),
    "nose_width": (0.18, 0.022),
    "nose_length": (0.42, 0.03),
    "mouth_height": (0.72, 0.03),
    "mouth_width": (0.36, 0.03),
    "mouth_curve": (0.0, 0.025),
    "lip": (0.062, 0.017),
}


def sample_traits(rng: np.random.Generator) -> dict[str, float]:
    """Sample the person, the pose and the camera, which do not depend on the emotion; `_TRAITS` has the units."""
    spread = np.clip(rng.standard_normal(len(_TRAITS)), -2.0, 2.0)
    return {name: mean + std * float(z) for (name, (mean, std)), z in zip(_TRAITS.items(), spread, strict=True)}


def sample_action_units(emotion: str, rng: np.random.Generator) -> dict[int, float]:
    """Sample the intensity of each facial action unit: one strength per face, varied slightly per unit.

    The intensities, from 0 (absent) to 1, are by the unit's number in the Facial Action Coding System. Every emotion
    uses the same number of random values, so that the same seed draws the same person with another emotion.

    References
    ----------
    P. Ekman and W. V. Friesen, "Facial Action Coding System", Consulting Psychologists Press, 1978.

    S. Du, Y. Tao and A. M. Martinez, "Compound facial expressions of emotion", Proceedings of the National Academy of
    Sciences 111 (15), 2014.
    """
    strength = 0.3 + 0.7 * rng.beta(2.2, 1.3)
    chance, variation = rng.random(len(_UNITS)), rng.uniform(0.65, 1.0, len(_UNITS))
    shares = _ACTION_UNITS[emotion]
    units = {
        unit: float(strength * v) if p < shares.get(unit, 0.0) else 0.0
        for unit, p, v in zip(_UNITS, chance, variation, strict=True)
    }
    # People also talk, bare their teeth in anger, squint and frown: real expressions overlap.
    talks, opening, squints, frowns = rng.random(4)
    if talks < {"angry": 0.40, "disgust": 0.30, "neutral": 0.12, "sad": 0.12}.get(emotion, 0.0):
        units[25], units[26], units[24] = 0.4 + 0.4 * opening, 0.5 * opening**2, 0.0
        units[10] = max(units[10], 0.5 * strength if emotion == "angry" else 0.0)
    if squints < 0.15:
        units[7] = max(units[7], 0.5)
    if frowns < 0.10:
        units[4] = max(units[4], 0.3)
    return units
