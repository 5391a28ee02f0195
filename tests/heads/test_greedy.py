"""Greedy search with drafts is greedy search."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import support
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from stablequant.families.moonshine import Moonshine
from stablequant.heads.decoder import DecoderSpec
from stablequant.heads.drafts import LEAD
from stablequant.heads.greedy import Generated, greedy
from stablequant.network.execute import Executor, TorchBackend
from stablequant.quantize.simulate import Simulator

VOCABULARY, END = 9, 2
NAMES = ("do-not-disturb", "vm-nomore", "is-in-use")


@cache
def simulator() -> Simulator:
    return Simulator(support.moonshine())


@cache
def encoded_speech(quantised: bool) -> tuple[TorchBackend, dict[str, Any], list[Generated]]:
    """A backend, what its encoder makes of a few recordings, and plain greedy search's tokens of them."""
    model = support.moonshine()
    backend = simulator().backend(support.scheme("moonshine", "max") if quantised else {})
    encoded = backend.run("encoder", support.feeds(model, support.waveforms(NAMES)))
    return backend, encoded, greedy(backend, encoded, [30] * len(NAMES), model.frontend.head.decoder)


def drafted(kind: str, right: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    if kind == "another's":
        return [*right[1:], right[0]]
    if kind == "of all sorts":
        return [right[0][1:], (), (*right[2][:2], 999, *right[2][2:])]
    change = {
        "right": lambda t: t,
        "empty": lambda t: (),
        "truncated": lambda t: t[: len(t) // 2],
        "too long": lambda t: t + t * 12,
        "wrong": lambda t: tuple(7 * i % 30000 + 3 for i in t),
    }[kind]
    return [change(t) for t in right]


@pytest.mark.parametrize("quantised", [False, True])
@pytest.mark.parametrize("kind", ["right", "wrong", "empty", "truncated", "too long", "another's", "of all sorts"])
def test_a_draft_changes_nothing(kind: str, quantised: bool) -> None:
    backend, encoded, plain = encoded_speech(quantised)
    drafts = drafted(kind, [g.tokens for g in plain])
    assert greedy(backend, encoded, [30] * len(NAMES), support.moonshine().frontend.head.decoder, drafts) == plain


def test_the_quantised_scheme_is_another_computation() -> None:
    cross = "cross_value_0"
    assert not torch.equal(encoded_speech(False)[1][cross], encoded_speech(True)[1][cross])


@pytest.mark.parametrize("drafts", [False, True])
def test_a_limit_cuts_off_and_says_so(drafts: bool) -> None:
    backend, encoded, plain = encoded_speech(False)
    lengths = [len(g.tokens) for g in plain]
    limits = [lengths[0], lengths[1] + 1, 1]  # without room for the end; with just enough; next to nothing
    guesses = [g.tokens for g in plain] if drafts else None
    cut, whole, first = greedy(backend, encoded, limits, support.moonshine().frontend.head.decoder, guesses)
    assert (cut.tokens, cut.truncated) == (plain[0].tokens, True)
    assert (whole.tokens, whole.truncated) == (plain[1].tokens, False)
    assert (first.tokens, first.truncated) == (plain[2].tokens[:1], True)


@cache
def small() -> tuple[TorchBackend, DecoderSpec, dict[str, Any]]:
    """A decoder with random weights: its text has no sense, which leaves drafts no way to be right by chance."""
    torch.manual_seed(5)
    config = transformers.MoonshineConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        encoder_num_hidden_layers=1,
        decoder_num_hidden_layers=2,
        encoder_num_attention_heads=2,
        decoder_num_attention_heads=2,
        initializer_range=0.6,
    )
    weights = transformers.MoonshineForConditionalGeneration(config).state_dict()
    weights.pop("proj_out.weight")
    executors = {g.name: Executor(g) for g in Moonshine().build(config.to_dict(), weights)}
    backend = TorchBackend(executors)
    sounds = torch.randn(4, 6000, generator=torch.Generator().manual_seed(2))
    encoded = backend.run("encoder", {"input_values": sounds, "input_lengths": torch.tensor([6000, 5000, 4000, 3000])})
    cache = tuple((f"{role}_{i}", f"past_{role}_{i}") for i in range(2) for role in ("key", "value"))
    return backend, DecoderSpec((1,), END, cache, 2, 8), encoded


token = st.integers(3, VOCABULARY - 1)
one_row = st.tuples(st.integers(1, 45), st.lists(token, max_size=60), st.integers(0, 45))


@settings(max_examples=40, deadline=None)
@given(st.lists(one_row, min_size=4, max_size=4))
def test_any_draft_under_any_limit_changes_nothing(rows: list[tuple[int, list[int], int]]) -> None:
    backend, constants, encoded = small()
    limits = [limit for limit, _, _ in rows]
    plain = greedy(backend, encoded, limits, constants)
    # A right beginning, then anything: drafts that are wrong from the start are the easy case.
    drafts = [[*g.tokens[:right], *text] for g, (_, text, right) in zip(plain, rows, strict=True)]
    assert greedy(backend, encoded, limits, constants, drafts) == plain
    for generated, limit in zip(plain, limits, strict=True):
        assert len(generated.tokens) == limit if generated.truncated else len(generated.tokens) < limit


class Unsteady:
    """Rounds logits until ties abound, and those of a pass over several tokens a little otherwise than single steps."""

    def __init__(self, backend: TorchBackend) -> None:
        self.put, self.get, self._backend = backend.put, backend.get, backend
        self._random = torch.Generator().manual_seed(1)

    def run(self, graph: str, feeds: dict[str, Any]) -> dict[str, Any]:
        out = self._backend.run(graph, feeds)
        logits = out["logits"].mul(8).round().div(8)
        if feeds["input_ids"].shape[1] > 1:
            logits += (torch.rand(logits.shape, generator=self._random) - 0.5) * 0.9 * LEAD
        return {**out, "logits": logits}


@settings(max_examples=25, deadline=None)
@given(st.lists(one_row, min_size=4, max_size=4))
def test_a_draft_changes_nothing_where_one_pass_rounds_otherwise_than_single_steps(rows: list[Any]) -> None:
    steady, constants, encoded = small()
    backend, limits = Unsteady(steady), [limit for limit, _, _ in rows]
    plain = greedy(backend, encoded, limits, constants)
    drafts = [[*g.tokens[:right], *text] for g, (_, text, right) in zip(plain, rows, strict=True)]
    assert greedy(backend, encoded, limits, constants, drafts) == plain
