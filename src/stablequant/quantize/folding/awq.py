"""A search for factors by which weights round better, as AWQ has it.

Lin et al. 2023, "AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration", arXiv 2306.00978, section 3.2:
channels that are large on average keep more of their weights' precision, and how much more is searched. The error of a layer's
output is computed in closed form, from the second moments of its input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from stablequant.data.speech import Speech
from stablequant.families.model import SpeechModel
from stablequant.grid.weights import PerGroup, WeightSpec, quantize_weight
from stablequant.observe.gram import observe_moments
from stablequant.quantize.folding.folded import Folded
from stablequant.quantize.folding.scales import ScaleSite, fold_scales, observed_layers, require_channels

if TYPE_CHECKING:
    from torch import Tensor

#: How weights are rounded where nothing else is said: 4 bits in groups of 32, the width that the method is for.
WEIGHTS = WeightSpec(4, PerGroup(32))


def awq(model: SpeechModel, speech: Speech | None = None, *, weights: WeightSpec = WEIGHTS, steps: int = 20) -> Folded:
    """Factors by `awq_factors` at the inputs of linear layers.

    Args:
        model: What is rewritten.
        speech: Calibration speech.
        weights: What the weights of linear layers will be rounded to: bits and granularity.
        steps: Exponents that are tried, beside none.

    Raises:
        DataError: There is no speech.
    """
    channels, observed = require_channels("awq", model, speech), observed_layers("awq", model)
    moments = observe_moments(model, map(speech.waveforms_of, speech.batches), observed) if speech else {}

    def choose(site: ScaleSite, read: Callable[[], Sequence[Tensor]]) -> Tensor:
        return awq_factors(channels[site.observed].mean, read(), moments[site.observed].gram, weights, steps)

    return fold_scales("awq", model, choose)


def awq_factors(mean: Tensor, weights: Sequence[Tensor], gram: Tensor, spec: WeightSpec, steps: int) -> Tensor:
    """``s_j = mean|X_j|^alpha``, divided by the root of the largest times the least, for the alpha with the least error ``[C]``.

    The error is that of all readers' outputs, ``d gram d^T`` summed over the rows d of ``W - q(W s) / s``; alpha is one of
    0, 1 / steps, .. 1, and 0 leaves the weights as they are.

    Args:
        mean: Mean magnitude of each channel ``[C]``.
        weights: ``[out, C]`` of every layer that reads them.
        gram: Mean of ``x x^T`` ``[C, C]``.
        spec: Bits and granularity. Codes are the nearest and scales cover the largest magnitude, as the paper has it while it
            searches; with scales of least error the search takes thirty times as long.
        steps: See above.
    """
    import torch

    spec = WeightSpec(spec.bits, spec.per)
    mean, gram = mean.double().clamp(min=1e-8), gram.double()
    best, least = torch.ones_like(mean), float("inf")
    for step in range(steps + 1):
        factors = mean ** (step / steps)
        factors = factors / (factors.max() * factors.min()).sqrt()
        error = 0.0
        for weight in weights:
            lost = weight - quantize_weight((weight * factors).float(), spec).dequantized().double() / factors
            error += float(((lost @ gram) * lost).sum())
        if error < least:
            best, least = factors, error
    return best
