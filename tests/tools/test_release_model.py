"""A finished run becomes one of the models that ship."""

import numpy as np
import pytest
import release_model

from ferlib.core.errors import FerlibError
from ferlib.data import load_images, split_dataset
from ferlib.runs import folder
from ferlib.runs.classifier import load_classifier
from ferlib.runs.folder import Run
from ferlib.synthetic.generate import write_synthetic
from ferlib.training import TrainingOptions, train_model


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_synthetic(tmp_path_factory.mktemp("data") / "faces.zip", train_size=280, test_size=70)


@pytest.fixture(scope="module")
def source(data, tmp_path_factory):
    dataset = split_dataset(load_images(data), "official", val_fraction=0.2, seed=0)
    options = TrainingOptions(epochs=2, batch_size=32, precision="float32")
    run_dir = tmp_path_factory.mktemp("run")
    return train_model(
        "fast_cnn", dataset, run_dir, options, model_options={"stem": 16, "widths": (16,), "depths": (2,)}
    )


@pytest.fixture
def release(source, data, tmp_path, monkeypatch):
    """Return a function that releases the run into a folder of its own."""
    for module in (release_model, folder):
        monkeypatch.setattr(module, "ASSETS", tmp_path)
    # One of so few images is more than the loss that is allowed.
    monkeypatch.setattr(release_model, "MAX_LOSS", 0.1)
    return lambda *arguments: release_model.main([str(source.path), "--data", str(data), *arguments])


@pytest.mark.slow
@pytest.mark.parametrize("arithmetic", ["float32", "int8"])
def test_a_run_is_released_as_the_fast_model(release, source, tmp_path, arithmetic, data):
    assert release("--model", "fast", "--arithmetic", arithmetic) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["fast"]
    released = Run(tmp_path / "fast")
    files = {path.name for path in released.path.iterdir()}
    assert files == {
        *folder.MODEL_FILES[:2],
        *("config.json", "history.json", "history.csv", "metrics.json"),
        folder.MODEL_CARD,
    }
    images = load_images(data).split("test").images
    found, expected = (
        load_classifier(**which, calibrated=False).predict_proba(images)
        for which in ({"model": "fast"}, {"run": source})
    )
    assert np.abs(found - expected).max() < (0.02 if arithmetic == "float32" else 0.1)


@pytest.mark.slow
def test_a_large_file_is_refused(release, tmp_path, monkeypatch):
    monkeypatch.setattr(release_model, "MAX_FILE_SIZE", 1000)
    with pytest.raises(FerlibError, match=r"A file may have 0\.001 MB, but .*model\.onnx has"):
        release()
    assert list(tmp_path.iterdir()) == []
