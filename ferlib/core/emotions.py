"""The seven emotions: names, codes, colors, and the spellings of several datasets."""

import difflib
import functools
import itertools
import re
from collections.abc import Iterable, Sequence

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

# Lower-case spellings in the folder names and label files of FER2013 on Kaggle, FER+, ExpW, AffectNet, CK+, RAF-DB,
# KDEF, RaFD and JAFFE, with misspellings that published datasets contain.
_ALIASES = {
    "angry": ("anger", "an", "ang", "angery"),
    "disgust": ("disgusted", "disgusting", "di", "dis", "disguist", "disgusts"),
    "fear": ("fearful", "fearfull", "afraid", "scared", "fe", "fea", "af", "fears"),
    "happy": ("happiness", "happily", "joy", "joyful", "ha", "hap", "hapiness", "happyness"),
    "sad": ("sadness", "sa", "saddness"),
    "surprise": ("surprised", "surprising", "su", "sur", "suprise", "suprised", "surprize", "surpise"),
    "neutral": ("neutrality", "ne", "neu", "nuetral", "netural"),
}
_NAMES = {spelling: name for name, others in _ALIASES.items() for spelling in (name, *others)}

# Words around an emotion in a folder's name that do not change its meaning, such as "class" in "class_3_happy".
_FILLERS = frozenset(
    {
        *("class", "label", "emotion", "emotions", "expression", "expressions", "aligned", "cropped", "crop"),
        *("face", "faces", "facial", "image", "images", "img", "imgs", "photo", "photos"),
    }
)


# For classes of one's own.
_OTHER_COLORS = ("#1B9E77", "#D95F02", "#7570B3", "#E7298A", "#66A61E", "#E6AB02", "#A6761D", "#2C7FB8")


def class_colors(class_names: Iterable[str]) -> dict[str, str]:
    """Return a color for each class: those of `EMOTION_COLORS`, and others in turn for classes of one's own.

    Examples
    --------
    >>> class_colors(("positive", "negative"))
    {'positive': '#1B9E77', 'negative': '#D95F02'}
    """
    others = itertools.cycle(_OTHER_COLORS)
    return {name: EMOTION_COLORS[name] if name in EMOTION_COLORS else next(others) for name in class_names}


@functools.lru_cache(maxsize=4096)
def match_emotion(text: str) -> str | None:
    """Return the emotion that a dataset's name of a class means, or None.

    Case, digits, punctuation and words such as "class" and "faces" around the emotion do not matter.

    Examples
    --------
    >>> match_emotion("0_Anger"), match_emotion("HappyFaces"), match_emotion("not happy"), match_emotion("3")
    ('angry', 'happy', None, None)
    """
    words = split_words(text)
    # Codes of two letters stand alone: "AF01" is a person in KDEF.
    if len(words) == 1 and len(words[0]) < 3:
        return _NAMES.get(text.strip().lower())
    meaning = words if len(words) == 1 else [word for word in words if word not in _FILLERS]
    return _NAMES.get(meaning[0]) if len(meaning) == 1 else None


@functools.lru_cache(maxsize=4096)
def suggest_emotion(text: str) -> str | None:
    """Return the emotion that a name which `match_emotion` does not know probably stands for, or None.

    Examples
    --------
    >>> suggest_emotion("Hapy"), suggest_emotion("very_sad"), suggest_emotion("contempt")
    ('happy', 'sad', None)
    """
    words = split_words(text)
    if exact := next((word for word in words if word in _NAMES and len(word) > 2), None):
        return _NAMES[exact]
    # Short words are similar to too many others: "sand" to "sad".
    spellings = [spelling for spelling in _NAMES if len(spelling) > 3]
    close = [near for word in words for near in difflib.get_close_matches(word, spellings, n=1, cutoff=0.8)]
    return _NAMES[close[0]] if close else None


def split_words(text: str) -> list[str]:
    """Return the words of a name in lower case, without digits and punctuation.

    Examples
    --------
    >>> split_words("FER2013Train"), split_words("03-Training set")
    (['fer', 'train'], ['training', 'set'])
    """
    return re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower())


def parse_emotion(label: str | int) -> str:
    """Return the emotion of a dataset's spelling or code.

    A label is a name in any case, a code 0 to 6, or a code as text; any other is a `DataError`.

    Examples
    --------
    >>> parse_emotion("Happiness"), parse_emotion("3"), parse_emotion(0)
    ('happy', 'happy', 'angry')
    """
    text = str(label).strip().lower()
    if name := match_emotion(text):
        return name
    if text.isdecimal() and int(text) < len(EMOTIONS):
        return EMOTIONS[int(text)]
    raise DataError(f"'{label}' is not an emotion; expected one of {', '.join(EMOTIONS)} or a code 0 to 6.")


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
