"""Votes of FER+ are matched to images by file stem or row number."""

import numpy as np
import pytest

from ferlib.core.errors import DataError
from ferlib.data import load_images
from ferlib.data.votes import find_votes, read_votes

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
    votes = read_votes(ferplus_votes, test.names)
    assert votes["n"].notna().mean() > 0.98
    clear = (votes["majority"] != "").to_numpy()
    agree = (votes["majority"].to_numpy() == np.array(test.class_names)[test.labels])[clear].mean()
    assert 0.5 < agree < 0.8
