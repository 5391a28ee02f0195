"""Timestamps among text: the tokens that may follow, against transformers' own rules, and the segments they enclose."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers.generation.logits_process import WhisperTimeStampLogitsProcessor

from stablequant.heads.timestamps import Segment, Timestamps

#: A vocabulary: text below 20, the end, the token for text without times, and thirty times.
END, ZERO, SIZE = 20, 22, 52


@pytest.mark.parametrize("latest", [None, 3])
def test_the_tokens_that_may_follow_are_those_of_transformers(latest: int | None) -> None:
    config = SimpleNamespace(
        no_timestamps_token_id=ZERO - 1, eos_token_id=END, bos_token_id=END, max_initial_timestamp_index=latest
    )
    theirs = WhisperTimeStampLogitsProcessor(config, begin_index=2)  # type: ignore[arg-type]
    ours, random = Timestamps(ZERO, latest), np.random.default_rng(5)
    kinds = set()
    for length in [*range(7)] * 30:
        times = np.sort(random.integers(ZERO, SIZE - 2, (3, length)), axis=1)
        rows = np.where(random.random((3, length)) < 0.5, random.integers(0, 20, (3, length)), times)
        scores = random.normal(0, 3, (3, SIZE)).astype(np.float32)
        ids = torch.from_numpy(np.concatenate([np.full((3, 2), END), rows], axis=1))
        expected = theirs(ids, torch.from_numpy(scores)).numpy()  # type: ignore[arg-type]
        found = ours.choosable(scores, rows.tolist(), END)
        np.testing.assert_array_equal(found, expected)
        kinds |= {bool(np.isfinite(line[:END]).any()) for line in found}
    assert kinds == {True, False}


def test_segments_lie_between_times_and_the_last_ends_with_the_recording() -> None:
    def write(tokens: list[int]) -> str:
        return "".join(chr(97 + token) for token in tokens)

    times = Timestamps(ZERO)
    tokens = [ZERO, 0, 1, ZERO + 5, ZERO + 7, 2, ZERO + 9, ZERO + 9, 3]
    expected = (Segment(0.0, 0.1, "ab"), Segment(0.14, 0.18, "c"), Segment(0.18, 2.5, "d"))
    assert times.segments(tokens, 2.5, write) == expected
    assert times.segments([ZERO, ZERO + 2], 2.5, write) == ()
