"""Many images in several processes."""

from pathlib import Path

import pytest
from PIL import Image

from ferlib.core.errors import FerlibError
from ferlib.core.images import read_image
from ferlib.inference import EmotionRecognizer
from ferlib.inference.results import ImageResult, image_record
from ferlib.inference.workers import predict_in_processes, predict_in_threads

RECOGNIZER = {"detector": "none", "n_threads": 1}


@pytest.fixture
def paths(tmp_path):
    """Five images, of which the second is damaged."""
    for number in range(5):
        Image.new("L", (64, 48), 50 * number).save(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_text("not an image")
    return sorted(tmp_path.iterdir())


def records(outcomes):
    """What is written of each image; batches of another size differ after the sixth digit."""
    return sorted(str(image_record(item) if isinstance(item, ImageResult) else item) for item in outcomes)


def test_processes_give_the_results_of_threads(paths, tmp_path):
    target = tmp_path / "annotated" / "0.png"
    shared = {"targets": {paths[0]: target, paths[3]: tmp_path / "3.png" / "3.png"}}
    outcomes = list(predict_in_processes(paths, RECOGNIZER, n_workers=2, **shared))
    expected = list(predict_in_threads(paths, EmotionRecognizer(**RECOGNIZER), **shared))
    assert records(outcomes) == records(expected)
    results = [outcome for outcome in outcomes if isinstance(outcome, ImageResult)]
    assert [result.path for result in results] == [paths[0], paths[2], paths[4]]
    failures = dict(outcome for outcome in outcomes if not isinstance(outcome, ImageResult))
    assert "not a readable image" in failures[paths[1]]
    assert "cannot be" in failures[paths[3]]
    assert read_image(target).shape == (48, 64, 3)


def test_a_process_that_cannot_start_is_one_sentence(paths):
    with pytest.raises(FerlibError, match="worker process ended early"):
        list(predict_in_processes(paths, {"detector": "nothing", "n_threads": 1}, n_workers=1, targets={}))


def test_an_image_that_ends_its_process_is_a_failure_like_others(paths, monkeypatch):
    monkeypatch.chdir(paths[0].parent)
    Path("ending.py").write_text(
        "import os\n"
        "class Detector:\n"
        "    def detect(self, image):\n"
        "        return os._exit(1) if image[0, 0, 0] == 150 else []\n"
    )
    arguments = {"detector": "ending:Detector", "n_threads": 1}
    outcomes = list(predict_in_processes(paths, arguments, n_workers=2, targets={}))
    results = [outcome.path for outcome in outcomes if isinstance(outcome, ImageResult)]
    assert results == [paths[0], paths[2], paths[4]]
    failures = dict(outcome for outcome in outcomes if not isinstance(outcome, ImageResult))
    assert set(failures) == {paths[1], paths[3]}
    assert "the process that read the file ended early" in failures[paths[3]]
