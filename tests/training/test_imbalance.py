"""A study trains every treatment with every seed, and says what each does on average."""

import pandas as pd
import pytest

from ferlib.core.errors import DataError
from ferlib.core.files import write_json
from ferlib.models import list_models
from ferlib.preprocessing import STRATEGIES
from ferlib.training import TrainingOptions
from ferlib.training import imbalance as study
from ferlib.training.imbalance import TREATMENTS, collect_study, read_study, summarize_study, train_study


def record(folder, name, *, resample="none", class_weight="none", accuracy, recall):
    config = {
        **{"model": "compact_cnn", "class_names": ["happy", "disgust"], "image_size": [48, 48], "channels": 1},
        "training": {"resample": resample, "class_weight": class_weight, "seed": int(name[-1]), "epochs": 3},
        "data": {"pictures": {"train": {"happy": 90, "disgust": 10}}},
    }
    rarest = {"recall": recall, "precision": 0.5}
    metrics = {"accuracy": accuracy, "macro_f1": 0.4, "per_class": {"disgust": rarest, "happy": {"recall": 1}}}
    write_json(folder / name / "config.json", config)
    write_json(folder / name / "metrics.json", {"test": metrics})


def test_treatments_are_all_that_there_are():
    assert set(TREATMENTS) == {*STRATEGIES, "class_weight"}


def test_means_have_intervals_over_the_seeds(tmp_path):
    for seed, (accuracy, recall) in enumerate([(0.60, 0.2), (0.62, 0.3), (0.64, 0.4)]):
        record(tmp_path, f"a-{seed}", resample="smote", accuracy=accuracy, recall=recall)
    record(tmp_path, "b-0", class_weight="balanced", accuracy=0.5, recall=0.7)
    record(tmp_path, "c-0", accuracy=0.66, recall=0.1)
    table = summarize_study(collect_study(tmp_path))
    assert table["treatment"].tolist() == ["none", "class_weight", "smote"]
    smote = table.iloc[2]
    assert (smote["seeds"], smote["rarest"]) == (3, "disgust")
    assert smote["accuracy"] == pytest.approx(0.62)
    # Student's t of 2 degrees of freedom is 4.3027; the standard deviation is 0.02.
    assert smote["± accuracy"] == pytest.approx(4.3027 * 0.02 / 3**0.5, rel=1e-4)
    assert smote["recall"] == pytest.approx(0.3)
    assert pd.isna(table.iloc[0]["± accuracy"])
    assert summarize_study(collect_study(tmp_path / "nothing")).empty


def test_a_study_is_read_as_it_was_written(tmp_path):
    record(tmp_path, "a-1", resample="smote", accuracy=0.6, recall=0.2)
    rows = collect_study(tmp_path)
    rows.to_csv(tmp_path / "study.csv", index=False)
    pd.testing.assert_frame_equal(read_study(tmp_path / "study.csv"), rows)
    assert read_study(tmp_path / "none.csv").empty
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"other\.csv is no table of a study"):
        read_study(tmp_path / "other.csv")


def test_every_treatment_gets_as_many_steps(drawn_faces, tmp_path, monkeypatch):
    asked = {}

    def remember(model, dataset, run_dir, options, **more):
        asked[run_dir.name.split("-")[1]] = options
        return run_dir

    monkeypatch.setattr(study, "train_model", remember)
    monkeypatch.setattr(study, "record_metrics", lambda run_dir, dataset: None)
    sizes = drawn_faces.counts()["train"]
    train_study(drawn_faces, tmp_path, "plain_cnn", seeds=(0,), options=TrainingOptions(epochs=100))
    images = {"none": sizes.sum(), "class_weight": sizes.sum(), "random_under": 7 * sizes.min()}
    assert set(asked) == set(TREATMENTS)
    for treatment, options in asked.items():
        shown = options.epochs * images.get(treatment, 7 * sizes.max())
        assert shown == pytest.approx(100 * sizes.sum(), rel=0.02)
        assert options.patience == options.epochs


@pytest.mark.slow
def test_a_study_is_made_and_gone_on_with(drawn_faces, tmp_path):
    assert "plain_cnn" in list_models()
    options = TrainingOptions(epochs=1, augmentation=None)
    kinds = ("none", "class_weight", "random_under")
    table = train_study(drawn_faces, tmp_path, "plain_cnn", treatments=kinds, seeds=(0,), options=options)
    assert table["treatment"].tolist() == ["none", "class_weight", "random_under"]
    assert table["accuracy"].between(0, 1).all()
    before = (tmp_path / "plain_cnn-none-0" / "model.keras").stat().st_mtime_ns
    table = train_study(drawn_faces, tmp_path, "plain_cnn", treatments=("none",), seeds=(0, 1), options=options)
    assert table.groupby("treatment").size().to_dict() == {"none": 2, "class_weight": 1, "random_under": 1}
    assert (tmp_path / "plain_cnn-none-0" / "model.keras").stat().st_mtime_ns == before
