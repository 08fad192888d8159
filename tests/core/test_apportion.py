from hypothesis import given
from hypothesis import strategies as st

from ferlib.core.apportion import apportion


@given(st.integers(0, 10_000), st.lists(st.floats(0.01, 100), min_size=1, max_size=6))
def test_counts_sum_to_the_total_and_are_within_one(total, weights):
    counts = apportion(total, weights)
    assert sum(counts) == total
    assert all(abs(n - total * w / sum(weights)) < 1 + 1e-6 for n, w in zip(counts, weights, strict=True))


def test_minimum_is_given_to_every_part():
    assert apportion(5, [0.9, 0.1, 0.0], minimum=1) == [3, 1, 1]
    assert apportion(3, [1, 1, 1], minimum=1) == [1, 1, 1]
