"""Votes of FER+ are matched to images by file stem or row number."""

import dataclasses

import numpy as np
import pytest

from ferlib.core.errors import DataError
from ferlib.data import load_images
from ferlib.data.votes import find_votes, read_votes, votes_for

HEADER = "file_stem,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"


@pytest.fixture
def votes_file(tmp_path):
    path = tmp_path / "votes.csv"
    rows = ("a,0,8,0,0,0,0,0,1,1,0", "b,5,0,0,5,0,0,0,0,0,0", "c,0,0,0,0,0,0,1,0,0,9", "d,1,0,0,3,0,0,0,0,0,0")
    # As in the published file, a row may stand there twice.
    path.write_text(HEADER + "\n".join([*rows, rows[0]]) + "\n")
    return path


def test_votes_follow_the_order_of_the_images(votes_file):
    votes = read_votes(votes_file, np.array(["test/sad/d.png", "a.jpg", "missing.png", "b.png", "c.png"]))
    assert votes["majority"].tolist() == ["sad", "happy", "", "", "NF"]
    np.testing.assert_allclose(votes["agreement"], [0.75, 0.8, np.nan, 0.5, 0.9])
    np.testing.assert_allclose(votes["n"], [4, 10, np.nan, 10, 10])
    assert votes.loc[3, "sad"] == votes.loc[3, "neutral"] == 5


def test_published_table_is_read_by_row(tmp_path):
    path = tmp_path / "fer2013new.csv"
    header = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
    rows = (
        "Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0",
        "Training,,0,0,0,0,0,0,0,0,0,10",
        "PublicTest,fer0000002.png,0,9,0,0,0,0,0,0,1,0",
    )
    path.write_text(header + "\n".join(rows) + "\n")
    votes = read_votes(path, np.array(["test/happy/PublicTest_0000002.png", "Training_0000001", "Training_0000000"]))
    assert votes["majority"].tolist() == ["happy", "", "neutral"]
    np.testing.assert_allclose(votes["n"], [10, np.nan, 10])
    with pytest.raises(DataError, match=r"has no votes for these images, which have names such as im0\.png"):
        read_votes(path, np.array(["im0.png", "im2.png"]))


def published_table(path, usages):
    """Write a table as published in which all raters of row number n answer the emotion number n of seven."""
    columns = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
    rows = [
        f"{usage},fer{row:07d}.png," + ",".join("10" if column == row % 7 else "0" for column in range(10))
        for row, usage in enumerate(usages)
    ]
    path.write_text("\n".join([",".join(("Usage", "Image name", *columns)), *rows]))
    return np.array(["neutral", "happy", "surprise", "sad", "angry", "disgust", "fear"])[np.arange(len(usages)) % 7]


def test_numbers_of_kaggles_copy_are_not_ferplus_numbers(tmp_path):
    emotions = published_table(tmp_path / "votes.csv", ["Training"] * 40)
    kaggle = np.array([f"train/x/Training_{row * 1000 + 77}.jpg" for row in range(40)])
    with pytest.raises(DataError, match=r"names such as Training_77 do not have FER\+'s image numbers"):
        read_votes(tmp_path / "votes.csv", kaggle, emotions)
    # One foreign number is enough, also if the others have seven digits.
    mixed = np.array(["Training_0000001.jpg", "Training_10131363.jpg"])
    with pytest.raises(DataError, match="Training_10131363"):
        read_votes(tmp_path / "votes.csv", mixed)


def test_votes_of_other_images_are_not_used(tmp_path):
    emotions = published_table(tmp_path / "votes.csv", ["Training"] * 70)
    names = np.array([f"Training_{row:07d}.png" for row in range(70)])
    assert (read_votes(tmp_path / "votes.csv", names, emotions)["majority"] == emotions).all()
    # The rows of a shuffled table have other numbers.
    with pytest.raises(DataError, match="agree with only 0% of the labels, so they are not of these images"):
        read_votes(tmp_path / "votes.csv", names, np.roll(emotions, 1))


def test_usage_in_the_name_must_be_that_of_the_row(tmp_path):
    published_table(tmp_path / "votes.csv", ["Training", "PublicTest", "PrivateTest"])
    assert read_votes(tmp_path / "votes.csv", np.array(["PublicTest_0000001.png"]))["n"].tolist() == [10]
    with pytest.raises(DataError, match=r"image numbers are not FER.*of other usages"):
        read_votes(tmp_path / "votes.csv", np.array(["Training_0000001.png"]))


def test_names_of_ferplus_itself_are_matched(tmp_path):
    published_table(tmp_path / "votes.csv", ["Training", "Training"])
    assert read_votes(tmp_path / "votes.csv", np.array(["FER2013Train/fer0000001.png"]))["majority"].tolist() == [
        "happy"
    ]


def test_dataset_without_proven_votes_has_none(tmp_path, make_dataset, caplog):
    published_table(tmp_path / "votes.csv", ["Training"] * 3)
    dataset = make_dataset([0, 1, 2], [0, 1, 2])
    assert votes_for(None, dataset) is None
    dataset = dataclasses.replace(dataset, info=dataclasses.replace(dataset.info, title="FER2013"))
    kaggle = dataclasses.replace(dataset, names=np.array(["Training_3908.jpg", "Training_1.jpg", "Training_22.jpg"]))
    assert votes_for(tmp_path / "votes.csv", kaggle) is None
    assert caplog.messages[-1].endswith("which have seven digits. No votes are used.")
    proven = dataclasses.replace(dataset, names=np.array([f"Training_000000{row}.jpg" for row in range(3)]))
    assert votes_for(tmp_path / "votes.csv", proven)["n"].tolist() == [10, 10, 10]


def test_unusable_file_is_an_error(votes_file, tmp_path):
    with pytest.raises(DataError, match="has no votes for these images"):
        read_votes(votes_file, np.array(["x.png", "y.png"]))
    with pytest.raises(DataError, match="no such file"):
        read_votes(tmp_path / "gone.csv", np.array(["a.png"]))
    (tmp_path / "other.csv").write_text("file_stem,happy\na,1\n")
    with pytest.raises(DataError, match="is not a table of FER"):
        read_votes(tmp_path / "other.csv", np.array(["a.png"]))


def test_environment_variable_gives_the_file(monkeypatch, tmp_path):
    monkeypatch.delenv("FERPLUS_VOTES", raising=False)
    assert find_votes() is None
    monkeypatch.setenv("FERPLUS_VOTES", str(tmp_path))
    assert find_votes() == tmp_path
    assert str(find_votes("mine.csv")) == "mine.csv"


@pytest.mark.real_data
def test_majority_agrees_with_most_labels_of_fer2013(fer2013_archive, ferplus_votes):
    test = load_images(fer2013_archive).split("test")
    votes = votes_for(ferplus_votes, test)
    assert votes["n"].notna().mean() > 0.98
    clear = (votes["majority"] != "").to_numpy()
    agree = (votes["majority"].to_numpy() == np.array(test.class_names)[test.labels])[clear].mean()
    assert 0.5 < agree < 0.8
