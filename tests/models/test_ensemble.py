"""Who the members of an ensemble are."""

import pytest

from ferlib.core.errors import FerlibError
from ferlib.models.ensemble import Member, ensemble


def test_members_are_runs_or_networks_that_differ_in_their_seed():
    assert ensemble(members="runs/a, runs/b") == ensemble(members=["runs/a", "runs/b"])
    assert [(member.name, member.run_dir) for member in ensemble(members="runs/a,runs/b")] == [
        ("a", "runs/a"),
        ("b", "runs/b"),
    ]
    assert ensemble(model="gap_cnn", size=2, member_options={"dense": 8}, seed=5) == [
        Member("gap_cnn", seed=5, options={"dense": 8}),
        Member("gap_cnn", seed=6, options={"dense": 8}),
    ]


@pytest.mark.parametrize("options", [{"members": "one"}, {"size": 1}])
def test_one_alone_is_no_ensemble(options):
    with pytest.raises(FerlibError, match="at least two members, got 1"):
        ensemble(**options)
