import pytest
from hypothesis import given
from hypothesis import strategies as st

from stablequant.data import batches
from stablequant.errors import SettingsError


@given(st.lists(st.integers(0, 1000), max_size=40), st.integers(1, 9), st.integers(1, 3000))
def test_every_item_once_and_no_batch_over_a_limit(lengths, max_items, max_padded):
    groups = batches(lengths, max_items, max_padded)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        assert 1 <= len(group) <= max_items
        padded = len(group) * max(lengths[i] for i in group)
        assert padded <= max_padded or len(group) == 1
    flat = [lengths[i] for group in groups for i in group]
    assert flat == sorted(flat, reverse=True)


def test_similar_lengths_share_a_batch_and_equal_ones_keep_their_order():
    assert batches([5, 50, 5, 49, 200], 2, 100) == [[4], [1, 3], [0, 2]]


@pytest.mark.parametrize("limits", [(0, 10), (10, 0)])
def test_a_limit_must_leave_room(limits):
    with pytest.raises(SettingsError, match="positive"):
        batches([1], *limits)


@given(st.lists(st.integers(1, 400_000), min_size=1, max_size=40), st.floats(0.1, 1.0))
def test_items_of_a_batch_are_as_alike_as_asked(lengths: list[int], alike: float) -> None:
    groups = batches(lengths, 16, 600_000, alike=alike)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        assert min(lengths[i] for i in group) >= alike * max(lengths[i] for i in group)
