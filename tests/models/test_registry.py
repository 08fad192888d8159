"""The registry finds models by name and checks their options."""

import json
import subprocess
import sys

import numpy as np
import pytest

from ferlib.core.errors import FerlibError, OptionError
from ferlib.models import get_model, list_models
from ferlib.training.recipes import RECIPES, default_options


def test_every_model_has_a_summary_and_training_options():
    cnns = {
        "compact_cnn",
        "face_resnet",
        "fast_cnn",
        "gap_cnn",
        "plain_cnn",
        "three_block_cnn",
        "transfer",
        "vgg_dense",
    }
    assert {"bovw", "bovw_fisher", "bovw_spatial", "ensemble"} | cnns == set(list_models())
    for name in list_models():
        assert get_model(name).name == name
        assert get_model(name).summary.endswith(".")
        assert default_options(name).epochs >= 1
    assert set(RECIPES) <= set(list_models())


def test_unknown_model_lists_the_known_ones():
    with pytest.raises(FerlibError, match=r"Unknown model 'resnet_9000'; expected one of bovw, .*compact_cnn"):
        get_model("resnet_9000")


@pytest.mark.parametrize("model", sorted(set(list_models()) - {"transfer"}))
def test_defaults_of_a_model_are_valid_also_as_json(model):
    spec = get_model(model)
    spec.check_options({name: json.loads(json.dumps(value)) for name, value in spec.defaults.items()})


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        ("compact_cnn", {"color": "red"}, "Unknown compact_cnn option 'color'; expected one of stem, widths"),
        ("compact_cnn", {"image_size": [64, 64]}, "Unknown compact_cnn option 'image_size'"),
        (
            "compact_cnn",
            {"depth": "x"},
            r"'x' for compact_cnn option 'depth': expected int .*list of int .*default 2\)",
        ),
        ("compact_cnn", {"dropout": 2}, r"Invalid value 2 for .* expected float >= 0 and < 1 \(default 0\.3\)"),
        ("compact_cnn", {"dropout": np.nan}, "Invalid value nan"),
        ("compact_cnn", {"widths": []}, r"expected list of int >= 1 \(default 64,128,256\)"),
        ("compact_cnn", {"widths": [8, 0]}, "expected list of int >= 1"),
        ("compact_cnn", {"depth": [1, 2]}, "got 2 depths and 3 widths"),
        ("vgg_dense", {"widths": [8]}, "of equal length"),
        ("vgg_dense", {"l2": -1.0}, "expected float >= 0"),
        ("three_block_cnn", {"dropouts": [0.1]}, "expected list of 2 float"),
        ("plain_cnn", {"pooling": "mean"}, "expected one of max, average, stride"),
        ("plain_cnn", {"batch_norm": 1}, r"expected bool \(default False\)"),
        ("plain_cnn", {"depth": 6}, "cannot halve images of 48x48 pixels 6 times"),
        ("bovw", {"n_words": -5}, r"Invalid value -5 for bovw option 'n_words': expected int >= 1 \(default 2000\)"),
        ("bovw", {"n_words": True}, "Invalid value True"),
        ("bovw", {"encoding": "magic"}, "expected one of histogram, fisher"),
        ("bovw_fisher", {"n_words": 1.5}, r"bovw_fisher option 'n_words': expected int >= 1 \(default 128\)"),
        ("bovw_fisher", {"spatial_stats": True}, "can only be combined with encoding=histogram"),
        ("bovw", {"position_weight": 1.0}, "can only be combined with encoding=fisher"),
        ("ensemble", {"size": 1}, "at least two members, got 1"),
        ("ensemble", {"members": 3}, "expected list of str or str or none"),
        ("ensemble", {"model": "ensemble"}, "cannot be 'ensemble'"),
        ("ensemble", {"member_options": {"depth": 0}}, "Invalid value 0 for compact_cnn option 'depth'"),
    ],
)
def test_wrong_option_is_refused_with_a_sentence(model, options, sentence):
    with pytest.raises(OptionError, match=sentence):
        get_model(model).check_options(options)


def test_builders_refuse_wrong_options_too():
    with pytest.raises(OptionError, match="Invalid value 'forest' for bovw option 'classifier'"):
        get_model("bovw").build(random_state=0, classifier="forest")


def test_importing_the_models_loads_no_heavy_package():
    code = "import sys, ferlib.models; print({'numpy', 'sklearn', 'keras', 'cv2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
