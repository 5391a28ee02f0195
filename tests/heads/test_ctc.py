"""CTC's best path is the textbook's."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import support
from hypothesis import given
from hypothesis import strategies as st

from stablequant.heads.ctc import CtcHead, best_path
from stablequant.quantize.simulate import Simulator


@given(st.lists(st.lists(st.integers(0, 4), min_size=7, max_size=7), min_size=1, max_size=4), st.data())
def test_ctc_merges_repeats_then_drops_blanks(ids: list[list[int]], data: st.DataObject) -> None:
    frames = np.array([data.draw(st.integers(0, 7)) for _ in ids])
    blank = data.draw(st.integers(0, 4))
    logits = np.eye(5, dtype=np.float32)[np.array(ids)]
    expected = [
        tuple(label for label, _ in groupby(row[:count]) if label != blank)
        for row, count in zip(ids, frames, strict=True)
    ]
    assert best_path(logits, frames, blank) == expected


def test_ctc_takes_the_likeliest_id_of_each_frame() -> None:
    logits = np.array([[[0.1, 0.2, -3.0], [5.0, 4.0, 4.9], [-2.0, -1.0, -0.5], [-2.0, -1.0, -0.5]]])
    assert best_path(logits, np.array([4]), 0) == [(1, 2)]


def test_the_head_reads_the_valid_frames_alone() -> None:
    """Logits of what a batch says of each utterance are as many as its frames, and their best path is the answer."""
    model, sounds = support.graft(), support.waveforms()
    head, backend = model.frontend.head, Simulator(model).backend({})
    features = model.frontend.features(sounds)
    outputs = model.frontend.encode(backend, features)
    answers = head.read(backend, outputs, features.sizes)
    assert all(a.text and not a.truncated for a in answers)
    rows = head.logits(backend, outputs, answers)
    assert [len(row) for row in rows] == outputs["frames"].tolist()
    assert len({len(row) for row in rows}) == len(rows)
    for row, answer in zip(rows, answers, strict=True):
        assert best_path(row[None], np.array([len(row)]), head.blank) == [answer.tokens]
    assert head.steps(answers) == [0] * len(sounds)
    assert head.most_steps(16000) == 0


def test_a_head_from_its_constants_finds_the_same_path() -> None:
    head = support.graft().frontend.head
    assert isinstance(head, CtcHead)
    bare = CtcHead.from_constants(head.constants())
    assert (bare.blank, bare.graphs) == (head.blank, head.graphs)
