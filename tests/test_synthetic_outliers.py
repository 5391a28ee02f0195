"""Outliers made on purpose: a rescaling that leaves the function as it is and widens chosen activations a hundredfold.

One channel of a layer's output is scaled up, and the column of the next layer that reads it scaled down; a power of
two, so float computes the very same bits. The channel is the one that matters least to what comes after, which is what
outliers are: large and of little meaning. A grid that covers them has nothing left for the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import jiwer
import numpy as np
import pytest
import support
import torch
from torch import Tensor

from stablequant.families.model import SpeechModel
from stablequant.families.moonshine import Moonshine
from stablequant.network.execute import Executor, TorchBackend
from stablequant.network.graph import Node
from stablequant.observe.collect import Histograms, observe
from stablequant.quantize import calibrated
from stablequant.quantize.simulate import Simulator
from stablequant.search.exact import Exact
from stablequant.search.objective import TaskError
from stablequant.search.stage2 import search_p
from stablequant.search.trials import Candidate, Outcome, Trials
from stablequant.settings import Settings
from stablequant.tasks.task import task_of

WIDER = 100
SETTINGS = Settings(p_step=0.1)
NAMES = (*support.SHORT, "conf-unlockednow", "vm-onefor-full")

#: Reader of the widened activations -> the layer that writes them, through nothing but sums and products.
SITES = {
    "values of the encoder's attention": {
        f"model.encoder.layers.{i}.self_attn.o_proj": f"model.encoder.layers.{i}.self_attn.v_proj" for i in range(6)
    },
    "gated values of the decoder": {
        f"model.decoder.layers.{i}.mlp.fc2": f"model.decoder.layers.{i}.mlp.fc1" for i in range(6)
    },
}


@dataclass(frozen=True)
class Channel:
    """The input channel of a layer that matters least, and how much narrower it is than the widest."""

    index: int
    narrower: float


@cache
def least_important() -> Mapping[str, Channel]:
    """By the size of what each channel adds to the layer's output, on calibration speech."""
    model = support.moonshine()
    seen: dict[str, list[Tensor]] = {}

    def watch(
        node: Node, inputs: tuple[Tensor, ...], weights: Mapping[str, Tensor], lengths: Tensor | None
    ) -> tuple[tuple[Tensor, ...], Mapping[str, Tensor]]:
        if any(node.name in sites for sites in SITES.values()):
            seen.setdefault(node.name, []).append(inputs[0].flatten(0, 1))
        return inputs, weights

    backend = TorchBackend({g.name: Executor(g) for g in model.graphs}, watch)
    model.frontend.recognize(backend, support.waveforms(support.CALIBRATION))
    found = {}
    for name, parts in seen.items():
        x, peak = torch.cat(parts), torch.cat(parts).abs().amax(0)
        added = x.square().mean(0).sqrt() * weights()[f"{name}.weight"].norm(dim=0)
        index = int(added.argmin())
        found[name] = Channel(index, float(peak.max() / peak[index]))
    return found


def weights() -> Mapping[str, Tensor]:
    return support.moonshine().graphs[0].weights


@cache
def widened(where: str) -> SpeechModel:
    model, changed = support.moonshine(), dict(weights())
    for reader, writer in SITES[where].items():
        channel = least_important()[reader]
        factor = 2.0 ** round(np.log2(WIDER * channel.narrower))
        for key in (f"{writer}.weight", f"{writer}.bias"):
            if key in changed:
                changed[key] = changed[key].clone()
                changed[key][channel.index] *= factor
        changed[f"{reader}.weight"] = changed[f"{reader}.weight"].clone()
        changed[f"{reader}.weight"][:, channel.index] /= factor
    return replace(model, graphs=Moonshine().build(model.frontend.config, changed), fingerprint=f"widened: {where}")


@cache
def histograms(where: str) -> Histograms:
    return observe(widened(where), [support.waveforms(support.CALIBRATION)])


def lost(outcome: Outcome, reference: Outcome) -> float:
    """Character error rate against what the float model says: 0 is agreement, 1 and more is collapse."""
    texts = [[t.text for t in o.readings] for o in (reference, outcome)]
    return float(jiwer.cer(*texts))


@pytest.mark.parametrize("where", SITES)
def test_the_rescaling_changes_no_bit_in_float(where: str) -> None:
    sounds = support.waveforms(NAMES[:2])
    results = []
    for model in (support.moonshine(), widened(where)):
        values = Executor(model.graph("encoder")).run(support.feeds(model, sounds))
        ids = torch.tensor([[1, 1939, 901, 7191]] * len(sounds))
        feeds = {"input_ids": ids, **values, **support.empty_past(model, len(sounds))}
        results.append(Executor(model.graph("decoder")).run(feeds)["logits"])
    assert torch.equal(*results)


@pytest.mark.parametrize("where", SITES)
def test_the_chosen_activations_are_about_a_hundred_times_wider(where: str) -> None:
    before = support.histograms("moonshine")
    ratios = []
    for name in SITES[where]:
        (wide,), (narrow,) = histograms(where)[name], before[name]
        ratios.append(max(wide.maximum, -wide.minimum) / max(narrow.maximum, -narrow.minimum))
        # Rare: all but the outliers lies where it lay.
        assert wide.percentile_abs(99) < 2 * narrow.percentile_abs(99.9)
    assert min(ratios) > WIDER / 2
    assert max(ratios) < WIDER * 3


@pytest.mark.parametrize("where", SITES)
def test_max_collapses_and_clipped_mse_does_not(where: str) -> None:
    model, found = widened(where), histograms(where)
    task = TaskError(task_of(SETTINGS.data))
    trials = Trials(Simulator(model), support.speech(NAMES, batch_size=8), SETTINGS, task)
    (reference,) = trials.run([Candidate("float", {})], "float")
    clipped = search_p(Exact(trials, reference), found, list(SITES[where]), SETTINGS)
    by_max, by_clipping = trials.run(
        [Candidate("max", calibrated.uniform(found, "max", SETTINGS)), Candidate("clipped", clipped.scheme)],
        "methods",
    )
    assert lost(by_max, reference) > 0.7
    assert lost(by_clipping, reference) < 0.15
    assert all(p > 0 for p in clipped.p.values())
