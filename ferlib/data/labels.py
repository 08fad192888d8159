"""The labels of a source, as names or numbers, and the emotions that they mean.

Datasets number the emotions differently. A number is therefore never converted without a `LabelOrder` that the user
gave or that the files prove.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ferlib.core.emotions import EMOTIONS, match_emotion, suggest_emotion
from ferlib.core.errors import DataError
from ferlib.core.words import counted

#: The numbers of the classes in published datasets; classes that are not one of the seven emotions are left out.
LABEL_ORDERS: dict[str, dict[int, str]] = {
    "fer2013": dict(enumerate(EMOTIONS)),
    "expw": dict(enumerate(EMOTIONS)),
    "ferplus": dict(enumerate(("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt"))),
    "affectnet": dict(
        enumerate(
            (
                "neutral",
                "happy",
                "sad",
                "surprise",
                "fear",
                "disgust",
                "angry",
                "contempt",
                "none",
                "uncertain",
                "no face",
            )
        )
    ),
    "rafdb": dict(enumerate(("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral"), start=1)),
    "ckplus": dict(enumerate(("neutral", "angry", "contempt", "disgust", "fear", "happy", "sad", "surprise"))),
}

# Longer texts are not names of classes.
_MAX_LABEL = 60

_ORDER_HELP = (
    f"--label-order with one of {', '.join(LABEL_ORDERS)}, or the names in the order of the numbers "
    "(neutral,happy,...), or pairs (1=surprise,2=fear,...)"
)


@dataclass(frozen=True)
class LabelOrder:
    """The class that each number stands for; made by `parse_label_order`.

    Attributes
    ----------
    text : str
        As the user wrote it.
    names : dict of int to str
        Emotions, and names of other classes. Counted from 0 if the first number is not `fixed`.
    fixed : bool
        Whether the numbers are known; otherwise they start at 0 or at 1, whichever fits the data.
    """

    text: str
    names: Mapping[int, str]
    fixed: bool

    def resolve(self, numbers: Iterable[int], source: str) -> Mapping[int, str]:
        """Return the class of each number in the data; raise DataError if the order does not fit them."""
        present = sorted(set(numbers))
        choices = [self.names]
        if not self.fixed:
            choices.append({number + 1: name for number, name in self.names.items()})
        fitting = [names for names in choices if set(present) <= set(names)]
        if not fitting:
            raise DataError(
                f"{source}: the label order '{self.text}' has {len(self.names)} classes, numbered "
                f"{min(self.names)} to {max(self.names)}, but the data have the numbers {_join(present)}."
            )
        if len(fitting) > 1:
            raise DataError(
                f"{source}: it is unclear whether the first of '{self.text}' is number 0 or 1, as the data have the "
                f"numbers {_join(present)}; write pairs, such as 1={self.names[0]}."
            )
        return fitting[0]


def parse_label_order(text: str) -> LabelOrder:
    """Return the label order that a text names or lists.

    Raises
    ------
    DataError
        It is not the name of a dataset, and not a list of at least two classes; or a class is misspelled or repeated.

    Examples
    --------
    >>> parse_label_order("sad,Happiness").names, parse_label_order("7=fear,9=joy").names
    ({0: 'sad', 1: 'happy'}, {7: 'fear', 9: 'happy'})
    """
    key = re.sub(r"[^a-z0-9]", "", text.lower().replace("+", "plus"))
    if "," not in text and "=" not in text:
        if key not in LABEL_ORDERS:
            raise DataError(
                f"'{text}' is not a known label order; expected {_ORDER_HELP.removeprefix('--label-order with ')}."
            )
        return LabelOrder(key, LABEL_ORDERS[key], fixed=True)
    parts = [part.strip() for part in text.split(",") if part.strip()]
    fixed = any("=" in part for part in parts)
    names: dict[int, str] = {}
    for position, part in enumerate(parts):
        number, equals, name = part.partition("=") if fixed else (str(position), "=", part)
        if not (equals and number.strip().isdecimal() and name.strip()):
            raise DataError(f"The label order '{text}' has to be names, or pairs such as 1=surprise,2=fear.")
        emotion = match_emotion(name)
        if emotion is None and (near := suggest_emotion(name)):
            raise DataError(f"The label order has '{name.strip()}', which is not an emotion; did you mean {near}?")
        if int(number) in names or (emotion and emotion in names.values()):
            raise DataError(f"The label order '{text}' has {part} twice.")
        names[int(number)] = emotion or name.strip()
    if sum(name in EMOTIONS for name in names.values()) < 2:
        raise DataError(f"The label order '{text}' has fewer than two emotions.")
    return LabelOrder(text, names, fixed)


def parse_number(text: str) -> int | None:
    """Return the whole number that a text is, also written as ``3.0`` or ``3.0000000e+00``, or None."""
    text = text.strip()
    if re.fullmatch(r"\d{1,4}", text):
        return int(text)
    if re.fullmatch(r"\d{1,4}[.,]0*(e\+00)?", text):
        return int(re.split("[.,]", text)[0])
    return None


def convert_labels(
    texts: Sequence[str],
    *,
    source: str,
    order: LabelOrder | None,
    proven: str | None = None,
    what: str = "The class",
    skip_unknown: bool = False,
) -> tuple[np.ndarray, list[str], list[str]]:
    """Return the codes of labels into `EMOTIONS`, int64 (n,), -1 for other classes, notes, and what is left out.

    Parameters
    ----------
    texts : sequence of str
        Names of emotions in any spelling, names of other classes, or numbers.
    source : str
        Begins an error: the file that has the labels.
    order : LabelOrder, optional
        What the numbers mean, by the user.
    proven : str, optional
        The key of `LABEL_ORDERS` that the files prove, used without `order`.
    what : str
        What carries a label, in notes.
    skip_unknown : bool
        Leave out also classes with a name near to an emotion's. That is then a note, not a fault.

    Raises
    ------
    DataError
        There are numbers without an order, the order does not fit them, a name is close to an emotion's, or there are
        no emotions at all.
    """
    # Cells of a CSV may contain anything.
    texts = [" ".join(text.split())[:_MAX_LABEL] for text in texts]
    counts = Counter(texts)
    numbers = {text: number for text in counts if (number := parse_number(text)) is not None}
    names: Mapping[int, str] = {}
    if order is None and proven is None and any(map(match_emotion, counts)):
        numbers = {}  # a number among names is another class
    if numbers:
        if order is None and proven is None:
            raise DataError(
                f"{source}: the classes are the numbers {_join(sorted(set(numbers.values())))}, which mean different "
                f"emotions in different datasets; say which with {_ORDER_HELP}."
            )
        chosen = order or LabelOrder(str(proven), LABEL_ORDERS[str(proven)], fixed=True)
        names = chosen.resolve(numbers.values(), source)
    codes, others = {}, {}
    for text in counts:
        name = names[numbers[text]] if text in numbers else text
        emotion = match_emotion(name)
        codes[text] = -1 if emotion is None else EMOTIONS.index(emotion)
        if emotion is None:
            others[text] = f"{text} ({name})" if text in numbers else text
    for text, shown in others.items():
        near = None if text in numbers else suggest_emotion(text)
        if near and not skip_unknown:
            raise DataError(
                f"{source}: {what.lower()} '{shown}' ({counted(counts[text], 'image')}) is not an emotion; "
                f"did you mean {near}? Rename it."
            )
    notes = [
        f"{what} '{shown}' is not one of the seven emotions: {counted(counts[text], 'image')} left out."
        for text, shown in sorted(others.items())
    ]
    if all(code < 0 for code in codes.values()):
        raise DataError(
            f"{source}: none of the classes is one of the emotions {', '.join(EMOTIONS)}: {_join(others.values())}."
        )
    array = np.array([codes[text] for text in texts], dtype=np.int64)
    return (array, notes, []) if skip_unknown else (array, [], notes)


def _join(values: Iterable[object], limit: int = 12) -> str:
    shown = [str(value) for value in values]
    return ", ".join(shown[:limit]) + (f" and {len(shown) - limit} more" if len(shown) > limit else "")
