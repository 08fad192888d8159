"""Names, codes and spellings of the emotions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferlib.core.emotions import (
    EMOTION_COLORS,
    EMOTIONS,
    FOUR_EMOTIONS,
    match_emotion,
    parse_emotion,
    parse_emotions,
    suggest_emotion,
)
from ferlib.core.errors import DataError


def test_codes_follow_fer2013():
    assert EMOTIONS == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    assert set(EMOTION_COLORS) == set(EMOTIONS)


@pytest.mark.parametrize(
    ("spelling", "emotion"),
    [("Happiness", "happy"), (" SAD ", "sad"), ("anger", "angry"), ("NE", "neutral"), (6, "neutral"), ("0", "angry")],
)
def test_spellings(spelling, emotion):
    assert parse_emotion(spelling) == emotion


@pytest.mark.parametrize("label", ["contempt", "", "7", "-1", 99])
def test_unknown_label_is_named(label):
    with pytest.raises(DataError, match=f"'{label}' is not an emotion"):
        parse_emotion(label)


@given(st.lists(st.sampled_from(EMOTIONS), min_size=2, unique=True))
def test_subsets_are_in_code_order(names):
    subset = parse_emotions(",".join(names))
    assert set(subset) == set(names)
    assert [EMOTIONS.index(name) for name in subset] == sorted(EMOTIONS.index(name) for name in names)


def test_empty_subset_means_all_emotions():
    assert parse_emotions(None) == parse_emotions("") == EMOTIONS
    assert parse_emotions(FOUR_EMOTIONS) == FOUR_EMOTIONS
    with pytest.raises(DataError, match="At least two"):
        parse_emotions("happy, joy")


@pytest.mark.parametrize(
    ("name", "emotion"),
    [
        *(("Surprised", "surprise"), ("0_angry", "angry"), ("06-Neutral", "neutral"), ("HappyFaces", "happy")),
        *(("class 3 (fear)", "fear"), ("suprise", "surprise"), ("3", None), ("contempt", None), ("not_happy", None)),
        *(("happy_sad", None), ("", None), ("faces", None), ("AN", "angry"), ("AF01", None)),
    ],
)
def test_names_of_class_folders(name, emotion):
    assert match_emotion(name) == emotion


@pytest.mark.parametrize(
    ("name", "emotion"),
    [("hapy", "happy"), ("Neutrl", "neutral"), ("very sad", "sad"), ("contempt", None), ("none", None), ("sand", None)],
)
def test_similar_names_are_suggested(name, emotion):
    assert suggest_emotion(name) == emotion
