"""The seven emotions: names, codes, colors, and the spellings of several datasets."""

from collections.abc import Sequence

from ferlib.core.errors import DataError

#: The seven emotions in the order of their FER2013 codes: ``EMOTIONS[3]`` is ``"happy"``.
EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")

#: The subset of four classes that is common in the literature.
FOUR_EMOTIONS = ("angry", "happy", "sad", "neutral")

#: One color per emotion, the same in every figure: Okabe and Ito's color-blind-safe palette (2008).
EMOTION_COLORS = {
    "angry": "#D55E00",
    "disgust": "#009E73",
    "fear": "#CC79A7",
    "happy": "#E69F00",
    "sad": "#0072B2",
    "surprise": "#56B4E9",
    "neutral": "#7F7F7F",
}

# Lower-case spellings in the folder names and label files of FER2013 on Kaggle, FER+, ExpW, CK+, RAF-DB and JAFFE.
_ALIASES = {
    "angry": ("anger", "an", "ang"),
    "disgust": ("disgusted", "di", "dis"),
    "fear": ("fearful", "afraid", "scared", "fe", "fea"),
    "happy": ("happiness", "happily", "joy", "ha", "hap"),
    "sad": ("sadness", "sa"),
    "surprise": ("surprised", "su", "sur"),
    "neutral": ("neutrality", "ne", "neu"),
}
_NAMES = {spelling: name for name, others in _ALIASES.items() for spelling in (name, *others)}


def parse_emotion(label: str | int) -> str:
    """Return the emotion of a dataset's spelling or code.

    A label is a name in any case, a code 0 to 6, or a code as text; any other is a `DataError`.

    Examples
    --------
    >>> parse_emotion("Happiness"), parse_emotion("3"), parse_emotion(0)
    ('happy', 'happy', 'angry')
    """
    text = str(label).strip().lower()
    if text in _NAMES:
        return _NAMES[text]
    if text.isdecimal() and int(text) < len(EMOTIONS):
        return EMOTIONS[int(text)]
    raise DataError(f"'{label}' is not an emotion; expected one of {', '.join(EMOTIONS)} or a code 0 to 6.")


def is_emotion(label: str) -> bool:
    """Return whether `label` is a spelling of one of the seven emotions; codes are not."""
    return label.strip().lower() in _NAMES


def parse_emotions(labels: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return a subset of the emotions in the order of their codes.

    Labels may be one string, separated by commas. None and an empty string mean all seven.

    Raises
    ------
    DataError
        A name is not an emotion, or the subset has fewer than two.

    Examples
    --------
    >>> parse_emotions("sad, Anger,happiness")
    ('angry', 'happy', 'sad')
    """
    if not labels:
        return EMOTIONS
    parts = labels.split(",") if isinstance(labels, str) else labels
    wanted = {parse_emotion(part) for part in parts}
    if len(wanted) < 2:
        raise DataError(f"At least two emotions are needed, got {', '.join(wanted)}.")
    return tuple(name for name in EMOTIONS if name in wanted)
