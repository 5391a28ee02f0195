"""What a draft is repaired to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stablequant.heads.drafts import repaired

token = st.integers(3, 8)


@given(st.lists(token, max_size=12), st.lists(token, max_size=12), st.integers(12, 40))
def test_a_repaired_draft_begins_with_what_is_known(tokens: list[int], draft: list[int], limit: int) -> None:
    guess = repaired(tokens, draft, limit)
    assert guess[: len(tokens)] == tokens
    assert len(guess) <= limit
    assert set(guess) <= {*tokens, *draft}
