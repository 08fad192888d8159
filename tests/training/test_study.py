"""A study trains every treatment with every seed, and says what each does on average."""

import pandas as pd
import pytest

from ferlib.files import write_json
from ferlib.models import list_models
from ferlib.prepare import STRATEGIES
from ferlib.training import TrainingOptions
from ferlib.training.study import TREATMENTS, tabulate_study, train_study


def record(folder, name, *, resample="none", class_weight="none", accuracy, recall):
    config = {
        **{"model": "compact_cnn", "class_names": ["happy", "disgust"], "image_size": [48, 48], "channels": 1},
        "training": {"resample": resample, "class_weight": class_weight},
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
    table = tabulate_study(tmp_path)
    assert table["treatment"].tolist() == ["none", "class_weight", "smote"]
    smote = table.iloc[2]
    assert (smote["seeds"], smote["rarest"]) == (3, "disgust")
    assert smote["accuracy"] == pytest.approx(0.62)
    # Student's t of 2 degrees of freedom is 4.3027; the standard deviation is 0.02.
    assert smote["± accuracy"] == pytest.approx(4.3027 * 0.02 / 3**0.5, rel=1e-4)
    assert smote["recall"] == pytest.approx(0.3)
    assert pd.isna(table.iloc[0]["± accuracy"])
    assert tabulate_study(tmp_path / "nothing").empty


@pytest.mark.slow
def test_a_study_is_made_and_gone_on_with(drawn_faces, tmp_path):
    assert "plain_cnn" in list_models()
    options = TrainingOptions(epochs=1, augmentation=None)
    kinds = ("none", "class_weight", "random_under")
    table = train_study(drawn_faces, tmp_path, "plain_cnn", treatments=kinds, seeds=(0,), options=options)
    assert table["treatment"].tolist() == ["none", "class_weight", "random_under"]
    before = (tmp_path / "plain_cnn-none-0" / "model.keras").stat().st_mtime_ns
    table = train_study(drawn_faces, tmp_path, "plain_cnn", treatments=("none",), seeds=(0, 1), options=options)
    assert table.set_index("treatment")["seeds"].to_dict() == {"none": 2, "class_weight": 1, "random_under": 1}
    assert (tmp_path / "plain_cnn-none-0" / "model.keras").stat().st_mtime_ns == before
