"""Many images."""

import numpy as np
import pytest
from PIL import Image

from ferlib.core.emotions import EMOTIONS
from ferlib.core.errors import ImageError
from ferlib.core.images import read_image
from ferlib.faces.whole_image import WholeImage
from ferlib.inference import BatchScorer, EmotionRecognizer, batch, predict_images, tabulate, to_frame


class LevelClassifier:
    """Probability of neutral is the image's brightness."""

    name, class_names, image_size, channels = "level", EMOTIONS, (8, 8), 1

    def __init__(self):
        self.batches = []

    def predict_proba(self, images):
        self.batches.append(len(images))
        share = images.reshape(len(images), -1).mean(axis=1, dtype=np.float32) / 255
        y_proba = np.zeros((len(images), 7), np.float32)
        y_proba[:, 0], y_proba[:, 6] = 1 - share, share
        return y_proba


@pytest.fixture
def recognizer():
    return EmotionRecognizer("none", LevelClassifier())


@pytest.fixture
def paths(tmp_path):
    """Five images, of which the second is damaged."""
    for number in range(5):
        Image.new("L", (20, 30), 50 * number).save(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_text("not an image")
    return sorted(tmp_path.iterdir())


def test_results_come_in_order_and_in_batches(recognizer, paths):
    errors = []
    results = list(predict_images(paths, recognizer, batch_size=3, on_error=lambda *error: errors.append(error)))
    assert [result.path for _, result in results] == [paths[0], *paths[2:]]
    assert [image[0, 0, 0] for image, _ in results] == [0, 100, 150, 200]
    assert [result.image_size for _, result in results] == [(30, 20)] * 4
    assert recognizer.classifier.batches == [3, 1]
    ((path, error),) = errors
    assert path == paths[1]
    assert "not a readable image" in str(error)


def test_threads_give_the_same_results_in_the_same_order(recognizer, paths):
    errors = []
    several = paths * 20
    results = list(
        predict_images(several, recognizer, batch_size=2, n_threads=3, on_error=lambda path, _: errors.append(path))
    )
    alone = list(predict_images(several, recognizer, on_error=lambda *_: None))
    assert [result for _, result in results] == [result for _, result in alone]
    assert errors == 20 * [paths[1]]


def test_few_large_images_are_in_memory_at_a_time(recognizer, paths, monkeypatch):
    monkeypatch.setattr(batch, "_MAX_PIXELS_AHEAD", 300)
    read = []
    monkeypatch.setattr(batch, "read_image", lambda path, **options: read.append(path) or read_image(path, **options))
    results = predict_images([paths[0]] * 20, recognizer, batch_size=1, n_threads=4)
    for number, _ in enumerate(results, start=1):
        # One that was just yielded, up to two that are processed or wait, one that is read ahead and one in a batch.
        assert number == 1 or len(read) <= number + 4
    assert len(read) == 20


def test_without_a_handler_an_unreadable_image_raises(recognizer, paths):
    with pytest.raises(ImageError, match=r"1\.png"):
        list(predict_images(paths, recognizer))


def test_no_images_give_no_results(recognizer):
    assert list(predict_images([], recognizer)) == []
    assert recognizer.classifier.batches == []


def test_images_over_the_pixel_limit_are_refused(recognizer, paths):
    with pytest.raises(ImageError, match="over the limit of 599 pixels"):
        next(predict_images(paths, recognizer, max_pixels=599))


def test_results_become_a_data_frame(recognizer, paths):
    table = to_frame(result for _, result in predict_images(map(str, [paths[0], *paths[2:]]), recognizer))
    assert table["face"].tolist() == [1] * 4
    assert table["file"].tolist()[1] == str(paths[2])
    assert table.filter(like="p_").sum(axis=1).tolist() == pytest.approx([1] * 4, abs=1e-4)
    assert list(to_frame([]).columns) == list(table.columns)


def test_one_path_or_several_become_a_table_and_the_rest_stays(recognizer, paths, caplog):
    assert tabulate(str(paths[0]), recognizer)["file"].tolist() == [str(paths[0])]
    missing = paths[0].with_name("missing.png")
    table = tabulate([paths[0], missing, *paths[1:]], recognizer)
    assert table["file"].tolist() == [str(path) for path in (paths[0], *paths[2:])]
    assert set(table.attrs["errors"]) == {str(missing), str(paths[1])}
    assert "missing.png: there is no such file" in caplog.text
    assert tabulate([missing], recognizer).empty


def test_one_path_is_not_a_list_of_letters(recognizer, paths):
    ((_, result),) = predict_images(str(paths[0]), recognizer)
    assert result.path == paths[0]
    assert len(to_frame(result)) == 1


def test_a_scorer_makes_one_record_per_file_in_order(paths):
    scorer = BatchScorer(detector="none", classifier=LevelClassifier(), batch_size=3, prior="training")
    missing = ImageError("z.png: there is no such file.")
    files = [(str(path), path.read_bytes()) for path in paths]
    records = scorer([files[0], ("z.png", missing), *files[1:]])
    assert [record["path"] for record in records] == [str(paths[0]), "z.png", *map(str, paths[1:])]
    assert [record["error"] for record in records][1] == str(missing)
    assert "not a readable image" in records[2]["error"]
    assert [record["faces"] is None for record in records] == [False, True, True, False, False, False]
    assert records[3]["faces"][0]["probabilities"]["neutral"] == pytest.approx(100 / 255, abs=1e-5)
    assert scorer.recognizer.classifier.batches == [3, 1]
    assert {record["model"] for record in records} == {"level"}


def test_an_image_on_which_a_library_fails_costs_no_other_one(paths):
    class Failing(WholeImage):
        def detect(self, image):
            if image[0, 0, 0] == 150:
                raise MemoryError("no memory")
            return super().detect(image)

    scorer = BatchScorer(detector=Failing(), classifier=LevelClassifier(), prior="training")
    records = scorer([(str(path), path.read_bytes()) for path in paths])
    assert [record["faces"] is None for record in records] == [False, True, False, True, False]
    assert records[3]["error"] == f"{paths[3]}: the image cannot be processed (MemoryError('no memory'))."
