"""Run folders: the pretrained one is complete, and damaged ones are named."""

import pytest

from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import ArtifactError, OptionError
from ferlib.evaluation import best_epoch
from ferlib.runs import folder
from ferlib.runs.folder import PRETRAINED, Run, pretrained_run_dir


@pytest.mark.parametrize("name", [name for name in PRETRAINED if (folder.ASSETS / name).exists()])
def test_pretrained_run_is_complete_and_small(name):
    run = Run(pretrained_run_dir(name))
    assert {path.name for path in run.path.iterdir()} == {
        *("config.json", "history.json", "history.csv", "metrics.json", "model_card.md", "model.keras", "model.onnx")
    }
    assert max(path.stat().st_size for path in run.path.iterdir()) <= 6_000_000
    assert (run.config.status, run.config.class_names) == ("finished", EMOTIONS)
    assert not run.config.data.synthetic
    # Training and val come from FER2013's Training, test is its PublicTest.
    images = {split: sum(counts.values()) for split, counts in run.config.image_counts.items()}
    assert images["train"] + images["val"] == 28_709
    assert images["test"] == run.metrics["test"].n == 3_589
    assert f"the weights are those of epoch {best_epoch(run.history)}," in (run.path / "model_card.md").read_text()


def test_history_is_read_as_written(tmp_path):
    rows = [{"epoch": 1, "loss": 1.5}, {"epoch": 2, "loss": 1.25}]
    run = Run(tmp_path)
    run.write_history(rows)
    assert run.history == rows
    assert (tmp_path / "history.csv").read_text() == "epoch,loss\n1,1.5\n2,1.25\n"
    assert run.metrics == {}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("7", "is not a JSON object"),
        ('{"model": "a"}', "is not valid .it lacks kind"),
    ],
)
def test_damaged_config_is_named(tmp_path, text, sentence):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ArtifactError, match=rf"config\.json {sentence}"):
        _ = Run(tmp_path).config


def test_missing_folder_and_config_are_named(tmp_path):
    with pytest.raises(ArtifactError, match="There is no run folder"):
        _ = Run(tmp_path / "missing").config
    with pytest.raises(ArtifactError, match=r"is not a run folder: it has no config\.json"):
        _ = Run(tmp_path).config


def test_models_that_do_not_ship_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(folder, "ASSETS", tmp_path)
    with pytest.raises(ArtifactError, match="ships no fast model; use the default one, or name a run folder"):
        pretrained_run_dir("fast")
    with pytest.raises(OptionError, match="model: expected one of default, fast, got 'slow'"):
        pretrained_run_dir("slow")
