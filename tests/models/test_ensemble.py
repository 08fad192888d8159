"""Members of an ensemble."""

import pytest

from ferlib.core.errors import OptionError
from ferlib.models import get_model
from ferlib.models.ensemble import Member

ensemble = get_model("ensemble").build


def test_members_are_finished_runs_or_seeds_of_one_model():
    runs = [Member("a", run_dir="runs/a"), Member("b", run_dir="runs/b")]
    assert ensemble(members="runs/a, runs/b") == ensemble(members=["runs/a", "runs/b"]) == runs
    assert ensemble(model="gap_cnn", size=2, member_options={"dense": 8}, seed=5) == [
        Member("gap_cnn", seed=5, options={"dense": 8}),
        Member("gap_cnn", seed=6, options={"dense": 8}),
    ]


@pytest.mark.parametrize("options", [{"members": "one"}, {"size": 1}])
def test_fewer_than_two_members_are_refused(options):
    with pytest.raises(OptionError, match="at least two members, got 1"):
        ensemble(**options)
