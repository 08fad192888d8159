"""Models are found by name."""

import pytest

from ferlib.core.errors import FerlibError
from ferlib.models import get_model, list_models


def test_every_model_is_listed_with_a_summary():
    cnns = {"compact_cnn", "gap_cnn", "plain_cnn", "three_block_cnn", "transfer", "vgg_dense"}
    assert {"bovw", "bovw_fisher", "bovw_spatial", "ensemble"} | cnns == set(list_models())
    for name in list_models():
        spec = get_model(name)
        assert spec.name == name
        assert spec.summary.endswith(".")


def test_an_unknown_model_is_told_what_there_is():
    with pytest.raises(FerlibError, match=r"Unknown model 'resnet_9000'; expected one of bovw, .*compact_cnn"):
        get_model("resnet_9000")
