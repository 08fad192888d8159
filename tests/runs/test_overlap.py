"""Runs that have seen the images they would be measured on."""

import dataclasses

import cv2
import numpy as np
import pandas as pd
import pytest

from ferlib.core.emotions import EMOTIONS, FOUR_EMOTIONS
from ferlib.core.files import write_zip
from ferlib.data import limit_train, load_images, split_dataset
from ferlib.runs.folder import Run, pretrained_run_dir
from ferlib.runs.overlap import tabulate_overlap
from ferlib.runs.records import RunConfig
from ferlib.synthetic.generate import draw_faces, write_synthetic


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_synthetic(tmp_path_factory.mktemp("data") / "faces.zip", train_size=350, test_size=100)


@pytest.fixture(scope="module")
def official(source):
    return split_dataset(load_images(source), "official", seed=0)


def make_run(path, dataset, **changes) -> Run:
    """Write the configuration of a run that was trained on a dataset."""
    config = RunConfig(
        model="bovw",
        kind="bovw",
        class_names=dataset.class_names,
        image_size=(48, 48),
        channels=1,
        data=dataset.info,
        image_counts=dataset.counts().to_dict(),
        status="finished",
    )
    Run(path).write_config(dataclasses.replace(config, **changes))
    return Run(path)


def images_in_both(first, first_splits, second, second_splits) -> int:
    """Return how many images are in some splits of one dataset and in some splits of another."""
    names = first.names[np.isin(first.splits, first_splits)]
    return len(set(names) & set(second.names[np.isin(second.splits, second_splits)]))


def test_run_on_the_same_split_is_used(official, source, tmp_path):
    row = tabulate_overlap({"mine": make_run(tmp_path / "r", official)}, official, source).loc["mine"]
    assert row.tolist() == ["synthetic faces", 0, 0, "val and test", ""]


def test_another_seed_changes_val_but_not_the_official_test(official, source, tmp_path):
    run = make_run(tmp_path / "r", official)
    other = split_dataset(load_images(source), "official", seed=1)
    row = tabulate_overlap({"stale": run}, other, source).loc["stale"]
    assert row["val trained on"] == images_in_both(official, ["train"], other, ["val"]) > 10
    assert (row["test seen"], row["use"]) == (0, "test only")


@pytest.mark.parametrize(("scheme", "seed"), [("70/15/15", 0), ("70/15/15", 1), ("90/10", 0)])
def test_run_that_has_seen_test_images_is_not_used(scheme, seed, official, source, tmp_path):
    other = split_dataset(load_images(source), scheme, seed=seed)
    row = tabulate_overlap({"stale": make_run(tmp_path / "r", official)}, other, source).loc["stale"]
    assert row["test seen"] == images_in_both(official, ["train", "val"], other, ["test"]) > 10
    assert row["use"] == "nothing"
    assert f"{row['test seen']} of the {(other.splits == 'test').sum()} test images" in row["note"]


def test_stale_run_of_another_split_of_its_own_is_recomputed(source, tmp_path):
    theirs = split_dataset(load_images(source), "70/15/15", seed=3)
    ours = split_dataset(load_images(source), "70/15/15", seed=0)
    row = tabulate_overlap({"stale": make_run(tmp_path / "r", theirs)}, ours, source).loc["stale"]
    assert row["test seen"] == images_in_both(theirs, ["train", "val"], ours, ["test"]) > 30


def test_samples_and_emotions_are_recomputed(official, source, tmp_path):
    small = split_dataset(load_images(source, emotions=FOUR_EMOTIONS, sample_size=120, seed=5), "70/15/15", seed=5)
    row = tabulate_overlap({"small": make_run(tmp_path / "r", small)}, official, source).loc["small"]
    assert row["test seen"] == images_in_both(small, ["train", "val"], official, ["test"]) > 5


def test_runs_on_a_sample_of_train_and_without_test_are_recomputed(official, source, tmp_path):
    small = limit_train(official, 100, seed=official.info.split.seed)
    trial = small.select(small.splits != "test")
    row = tabulate_overlap({"trial": make_run(tmp_path / "r", trial)}, official, source).loc["trial"]
    assert row.tolist() == [official.info.title, 0, 0, "val and test", ""]


def test_run_on_other_data_has_seen_nothing(official, source):
    row = tabulate_overlap({"pretrained": Run(pretrained_run_dir())}, official, source).loc["pretrained"]
    assert row.tolist() == ["FER2013", 0, 0, "val and test", ""]


def test_unknown_overlap_excludes_a_run(official, source, tmp_path):
    runs = {
        "other copy": make_run(tmp_path / "a", official, data=dataclasses.replace(official.info, sha256="f" * 64)),
        "no data": make_run(tmp_path / "b", official, data=None),
        "other counts": make_run(tmp_path / "c", official, image_counts={"train": {"happy": 1}}),
    }
    table = tabulate_overlap(runs, official, source)
    assert table["use"].unique().tolist() == ["nothing"]
    assert table["test seen"].isna().all()
    assert ["another copy" in table["note"]["other copy"], "not record" in table["note"]["no data"]] == [True, True]
    assert "differ" in table["note"]["other counts"]


def test_initial_weights_of_a_run_count_as_seen(official, source, tmp_path):
    make_run(tmp_path / "first", split_dataset(load_images(source), "70/15/15", seed=0))
    tuned = make_run(tmp_path / "tuned", official, training={"init_from": "elsewhere/first"})
    table = tabulate_overlap({"tuned": tuned}, official, source)
    assert table["test seen"]["tuned"] > 30
    alone = make_run(tmp_path / "other" / "tuned", official, training={"init_from": "elsewhere/first"})
    assert tabulate_overlap({"alone": alone}, official, source)["use"]["alone"] == "val and test"


def test_another_copy_of_fer2013_is_compared_by_its_official_split(tmp_path):
    usages = ["Training"] * 70 + ["PublicTest"] * 28
    labels = np.arange(len(usages)) % 7
    images = draw_faces(labels, seed=1)
    files = [
        (f"{'train' if u == 'Training' else 'test'}/{EMOTIONS[c]}/{u}_{i}.png", cv2.imencode(".png", x)[1].tobytes())
        for i, (u, c, x) in enumerate(zip(usages, labels, images, strict=True))
    ]
    write_zip(tmp_path / "copy.zip", files)
    runs = {"pretrained": Run(pretrained_run_dir())}

    def overlap(scheme, seed) -> pd.Series:
        dataset = split_dataset(load_images(tmp_path / "copy.zip"), scheme, seed=seed)
        return tabulate_overlap(runs, dataset, tmp_path / "copy.zip").loc["pretrained"]

    # The pretrained model was trained on Training; which tenth of this copy was its val cannot be told.
    row = overlap("official", 0)
    assert (row["val trained on"], row["test seen"], row["use"]) == (7, 0, "test only")
    assert overlap("70/15/15", 0)["use"] == "nothing"
