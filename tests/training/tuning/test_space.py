"""Search spaces are read from TOML, and everything wrong in them is found before the first trial."""

from dataclasses import replace

import pytest

from ferlib.core.errors import OptionError
from ferlib.models import get_model
from ferlib.preprocessing import Augmentation
from ferlib.training import TrainingOptions, default_options
from ferlib.training.tuning.space_file import list_spaces, read_space


class Draws:
    """Draws the first choice and the upper bound, and records the questions."""

    def __init__(self, **values):
        self.values, self.asked = values, {}

    def suggest_int(self, name, low, high, *, step=1, log=False):
        self.asked[name] = (low, high, step, log)
        return self.values.get(name, high)

    def suggest_float(self, name, low, high, *, step=None, log=False):
        self.asked[name] = (low, high, step, log)
        return self.values.get(name, high)

    def suggest_categorical(self, name, choices):
        self.asked[name] = tuple(choices)
        return self.values.get(name, choices[0])


@pytest.fixture
def read(tmp_path):
    def read(text, model="compact_cnn", training=None, **model_options):
        path = tmp_path / "space.toml"
        path.write_text(text, encoding="utf-8")
        return read_space(path, model, training or default_options(model), model_options)

    return read


def test_options_of_training_augmentation_and_model_vary(read):
    space = read("""
        learning_rate = {low = 3e-4, high = 6e-3, log = true}
        batch_size = {choices = [32, 64]}
        patience = {low = 2, high = 10, step = 2}
        "augmentation.shift" = {low = 0, high = 0.2}
        [augmentation]
        flip = {choices = [true, false]}
        [model]
        widths = {choices = [[8, 16], [16, 32]]}
        dropout = {low = 0.0, high = 0.5}
    """)
    draws = Draws()
    values = space.draw(draws)
    assert draws.asked["learning_rate"] == (3e-4, 6e-3, None, True)
    assert draws.asked["patience"] == (2, 10, 2, False)
    assert draws.asked["model.widths"] == ("8,16", "16,32")
    training, model_options = space.apply(values, default_options("compact_cnn"), {"depth": 1})
    assert (training.learning_rate, training.batch_size, training.patience) == (6e-3, 32, 10)
    assert training.augmentation == Augmentation(shift=0.2, flip=True)
    assert model_options == {"depth": 1, "widths": [8, 16], "dropout": 0.5}
    # What a study stores gives the same options again.
    stored = {name: "8,16" if name == "model.widths" else value for name, value in values.items()}
    assert space.recall(stored) == values


def test_augmentation_can_be_turned_off(read):
    space = read("""
        "augmentation.rotation" = {low = 0, high = 20}
        "augmentation.enabled" = {choices = [false, true]}
    """)
    options = default_options("plain_cnn")
    off, on = Draws(), Draws(**{"augmentation.enabled": True})
    assert space.draw(off) == {"augmentation.enabled": False}
    assert space.apply(space.draw(off), replace(options, augmentation=Augmentation()), {})[0].augmentation is None
    assert space.apply(space.draw(on), options, {})[0].augmentation == Augmentation(rotation=20)


def test_defaults_within_the_space_are_known(read):
    space = read(
        """
        learning_rate = {low = 1e-4, high = 1e-2, log = true}
        batch_size = {choices = [16, 32]}
        "augmentation.enabled" = {choices = [false, true]}
        "augmentation.shift" = {low = 0, high = 0.2}
        [model]
        depth = {low = 1, high = 5, step = 2}
        dropout = {low = 0.1, high = 0.5}
        """,
        model="plain_cnn",
    )
    spec, options = get_model("plain_cnn"), default_options("plain_cnn")
    # 64 images per batch and no dropout are outside.
    assert space.defaults(spec, options, {}) == {
        "learning_rate": 1e-3,
        "augmentation.enabled": False,
        "model.depth": 3,
    }
    assert space.defaults(spec, options, {"depth": 2}) == {"learning_rate": 1e-3, "augmentation.enabled": False}


@pytest.mark.parametrize("name", list_spaces())
def test_spaces_that_ship_are_valid(name):
    space = read_space(name, name, default_options(name))
    known = space.defaults(get_model(name), default_options(name), {})
    # The defaults are a place in the space, apart from augmentation that is off.
    assert {each.name for each in space.parameters} - set(known) <= {
        "augmentation.rotation",
        "augmentation.shift",
        "augmentation.erase",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it names no option"),
        ("learning_rate = 3", r"learning_rate: expected \{low"),
        ("learning_rate = {low = 1}", r"learning_rate: expected \{low"),
        ("learning_rate = {low = 1, high = 2, base = 10}", r"learning_rate: expected \{low"),
        ("lerning_rate = {low = 1, high = 2}", "lerning_rate: expected one of batch_size, optimizer"),
        ("epochs = {low = 1, high = 2}", "epochs cannot be tuned: all trials have the same length"),
        ("seed = {choices = [1, 2]}", "seed cannot be tuned: a seed is not a setting"),
        ("augmentation = {choices = [1, 2]}", "augmentation cannot be tuned"),
        ("learning_rate = {low = 0, high = 1}", "learning_rate: low: expected a number above 0, got '0'"),
        ("learning_rate = {low = 1, high = 1}", "low is below high"),
        ("learning_rate = {low = 1, high = nan}", "high is a number, got 'nan'"),
        ("learning_rate = {low = 'a', high = 1}", "low is a number, got 'a'"),
        ("learning_rate = {low = 0.1, high = 1, log = 1}", "log is true or false"),
        ("label_smoothing = {low = 0, high = 0.5, log = true}", "a logarithm needs low above 0"),
        ("label_smoothing = {low = 0, high = 1}", "high: expected a number at least 0 and below 1, got '1'"),
        ("label_smoothing = {low = 0, high = 0.5, step = 0.3}", "high is low and a multiple of step"),
        ("learning_rate = {low = 0.1, high = 1, step = 0.1, log = true}", "log and step cannot be combined"),
        ("batch_size = {low = 8, high = 64.5}", "high: expected a whole number at least 1, got '64.5'"),
        ("batch_size = {choices = [32]}", "choices are a list of two or more values"),
        ("batch_size = {choices = [32, 64, 32]}", "32 is named twice"),
        ("batch_size = {choices = [32, 'many']}", "choices: expected a whole number at least 1, got 'many'"),
        ("optimizer = {choices = ['adam', 'sgd']}", "choices: expected one of adamw, adam, got 'sgd'"),
        ("optimizer = {low = 1, high = 2}", "low: expected one of adamw, adam, got '1'"),
        ("augmentation.turn = {low = 0, high = 1}", "augmentation.turn: expected one of augmentation.enabled"),
        ("augmentation.flip = {low = 0, high = 1}", "low: expected true or false, got '0'"),
        ("augmentation.enabled = {choices = ['yes', 'no']}", "expected true or false, got 'yes'"),
        ("model.size = {low = 0, high = 1}", "model.size: compact_cnn has no such option; expected one of model.stem"),
        (
            "model.dropout = {low = 0, high = 2}",
            "model.dropout: high: Invalid value 2 for compact_cnn",
        ),
        ("model.se_reduction = {low = 0, high = 1.5}", "high: Invalid value 1.5"),
        (
            "model.widths = {choices = [[8, 16], [8, 16, 32]]}\nmodel.depth = {choices = [[1, 2], [1, 2, 3]]}",
            "the combination widths=8,16, depth=1,2,3 is not possible: compact_cnn needs one depth per width",
        ),
        ("distillation_weight = {low = 0, high = 1}", "distillation_weight has no effect without --teacher"),
        ("aux_loss_weight = {low = 0, high = 1}", "aux_loss_weight has no effect without --votes"),
        ("frozen_epochs = {low = 0, high = 1}", "frozen_epochs has no effect"),
        ("learning_rate = {low = 1e-4, ", "is not a TOML file"),
    ],
)
def test_wrong_spaces_are_one_sentence(read, text, message):
    with pytest.raises(OptionError, match=message) as caught:
        read(text)
    assert str(caught.value).startswith("--space ")
    assert "\n" not in str(caught.value)


def test_options_without_effect_are_refused(read):
    adam = TrainingOptions(optimizer="adam", schedule="constant")
    with pytest.raises(OptionError, match="weight_decay has no effect without --optimizer adamw"):
        read("weight_decay = {low = 0, high = 1}", training=adam)
    both = "weight_decay = {low = 0, high = 1}\noptimizer = {choices = ['adam', 'adamw']}"
    assert len(read(both, training=adam).parameters) == 2
    with pytest.raises(OptionError, match=r"learning_rate has no effect on bovw; expected resample, class_weight or"):
        read("learning_rate = {low = 1e-4, high = 1}", model="bovw")
    with pytest.raises(OptionError, match=r"augmentation.enabled has no effect on bovw"):
        read("augmentation.enabled = {choices = [false, true]}", model="bovw")
    with pytest.raises(OptionError, match="tune its members"):
        read("batch_size = {choices = [1, 2]}", model="ensemble")


def test_missing_files_name_the_spaces(tmp_path):
    with pytest.raises(OptionError, match="there is no such file; ferlib has the spaces bovw, fast_cnn, plain_cnn"):
        read_space(tmp_path / "nothing.toml", "bovw", default_options("bovw"))
    with pytest.raises(OptionError, match="cannot be read"):
        read_space(tmp_path, "bovw", default_options("bovw"))
