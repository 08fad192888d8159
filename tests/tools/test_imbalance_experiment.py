"""The experiment on strategies against class imbalance."""

import imbalance_experiment as experiment
import pytest

from ferlib.preprocessing import STRATEGIES
from ferlib.training import TrainingOptions
from ferlib.training.imbalance import IMBALANCE_STRATEGIES

TINY = {"depth": 2, "width": 4, "dense": 8}


def test_every_strategy_has_the_same_number_of_steps(drawn_faces):
    assert set(IMBALANCE_STRATEGIES) == {*STRATEGIES, "class_weight"}
    sizes = drawn_faces.counts()["train"].to_numpy()
    images = {"none": sizes.sum(), "class_weight": sizes.sum(), "random_under": 7 * sizes.min()}
    for strategy in IMBALANCE_STRATEGIES:
        steps = experiment.same_steps(100, sizes, strategy) * images.get(strategy, 7 * sizes.max())
        assert steps == pytest.approx(100 * sizes.sum(), rel=0.02)


@pytest.mark.slow
def test_an_experiment_is_made_and_continued(drawn_faces, tmp_path):
    options = TrainingOptions(epochs=1, augmentation=None)

    def train(*strategies):
        experiment.train_strategies(drawn_faces, tmp_path, "plain_cnn", strategies, options, TINY)
        return experiment.collect_results(tmp_path)

    table = train("class_weight", "none")
    assert table["strategy"].tolist() == ["none", "class_weight"]
    assert table[["accuracy", "recall", "precision"]].stack().between(0, 1).all()
    before = (tmp_path / "plain_cnn-none-0" / "model.keras").stat().st_mtime_ns
    assert train("none", "random_under")["strategy"].tolist() == ["none", "class_weight", "random_under"]
    assert (tmp_path / "plain_cnn-none-0" / "model.keras").stat().st_mtime_ns == before
