"""Records of a run: they survive JSON, and files of the first schema are read."""

import json
from pathlib import Path

import numpy as np
import pytest

from ferlib.core.data_info import DataInfo, SplitInfo
from ferlib.runs.folder import Run
from ferlib.runs.records import Calibration, RunConfig, RunReference

SCHEMA_1 = Run(Path(__file__).parent / "schema_1")

CONFIG = RunConfig(
    model="compact_cnn",
    kind="cnn",
    class_names=("happy", "sad"),
    image_size=(48, 40),
    channels=1,
    test_time_augmentation="flip",
    model_options={"widths": [4, 8]},
    training={"epochs": 1, "teacher": "runs/teacher"},
    data=DataInfo(
        title="FER2013", layout="csv", path="fer2013.csv", sha256="c0ffee", notes=("A note.",), split=SplitInfo()
    ),
    image_counts={"train": {"happy": 3, "sad": 2}},
    calibration=Calibration(scales=(0.5, 2.0), biases=(0.1, -0.1)),
    teacher=RunReference(model="ensemble", weights_sha256=("ab", "cd")),
    votes="f00d",
)


def test_config_survives_json():
    assert RunConfig.from_json(json.loads(json.dumps(CONFIG.to_json()))) == CONFIG


def test_run_writes_and_reads_its_records(tmp_path):
    run = Run(tmp_path / "new")
    run.write_config(CONFIG)
    run.write_metrics(SCHEMA_1.metrics)
    assert run.config == CONFIG
    assert run.metrics == SCHEMA_1.metrics
    assert json.loads((tmp_path / "new" / "config.json").read_text())["schema_version"] == 2


def test_schema_1_config_gets_new_names():
    config = SCHEMA_1.config
    assert (config.model, config.kind, config.status) == ("compact_cnn", "cnn", "finished")
    assert config.training["distillation_weight"] == 0.5
    assert config.training["distillation_temperature"] == 1.0
    assert config.training["aux_loss_weight"] == 1.0
    assert not {"distillation", "temperature", "votes_weight"} & set(config.training)
    assert config.data.split == SplitInfo("official", 0.1, 0)
    assert sum(config.image_counts["test"].values()) == SCHEMA_1.metrics["test"].n == 3589
    assert config.calibration.scales[0] == 1.0346
    assert (config.teacher.model, len(config.teacher.weights_sha256)) == ("ensemble", 3)
    assert config.votes.startswith("a5bf458e")


def test_schema_1_model_options_get_new_names():
    record = CONFIG.to_json() | {
        "model": "bovw_means",
        "model_options": {"mirror": False, "means": 2, "place_weight": 1.0, "member_options": {"squeeze": 4}},
        "data": None,
        "votes": None,
        "start": {"model": "gap_cnn"},
    }
    del record["schema_version"]
    config = RunConfig.from_json(record)
    assert config.model == "bovw_spatial"
    assert config.model_options == {
        "flip_invariant": False,
        "spatial_stats": 2,
        "position_weight": 1.0,
        "member_options": {"se_reduction": 4},
    }
    assert config.init_from == RunReference(model="gap_cnn")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"image_size": [48]}, "image_size needs 2 values, not 1"),
        ({"calibration": {"scales": [1]}}, "it lacks biases"),
        ({"channels": "one"}, "channels cannot be 'one'"),
        ({"schema_version": 3}, "schema version 3"),
    ],
)
def test_wrong_records_are_refused(change, sentence):
    with pytest.raises((TypeError, ValueError), match=sentence):
        RunConfig.from_json(CONFIG.to_json() | change)


def test_calibration_moves_probabilities():
    calibration = Calibration(scales=(1.0, 1.0), biases=(0.0, np.log(3)))
    np.testing.assert_allclose(calibration.apply(np.array([[0.5, 0.5]])), [[0.25, 0.75]])


def test_run_is_a_path(tmp_path):
    run = Run(tmp_path)
    assert Path(run) == run.path == tmp_path
    assert Run(run) == run


def test_run_removes_only_its_own_files(tmp_path):
    run = Run(tmp_path)
    run.write_config(CONFIG)
    run.write_history([{"epoch": 1, "loss": 0.5}])
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "last-0001.weights.h5").touch()
    (tmp_path / "notes.txt").touch()
    assert run.has_artifacts()
    run.remove()
    assert not run.has_artifacts()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
