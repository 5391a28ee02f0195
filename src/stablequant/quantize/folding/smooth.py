"""SmoothQuant: what makes activations hard to round goes over to the weights.

Xiao, Lin, Seznec, Wu, Demouth and Han 2022, "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language
Models", arXiv 2211.10438, equation 4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from stablequant.data.speech import Speech
from stablequant.errors import SettingsError
from stablequant.families.model import SpeechModel
from stablequant.quantize.folding.folded import Folded
from stablequant.quantize.folding.scales import ScaleSite, fold_scales, require_channels

if TYPE_CHECKING:
    from torch import Tensor


def smooth(model: SpeechModel, speech: Speech | None = None, *, strength: float = 0.5) -> Folded:
    """Factors by `smooth_factors` at the inputs of linear layers and convolutions.

    Args:
        model: What is rewritten.
        speech: Calibration speech.
        strength: alpha of the paper: 0 leaves no weight larger than another, 1 no channel.

    Raises:
        DataError: There is no speech.
        SettingsError: ``strength`` lies outside 0 to 1.
    """
    if not 0 <= strength <= 1:
        what = f"a strength of {strength:g}"
        raise SettingsError(what, expected="0 to 1")

    channels = require_channels("smooth", model, speech)

    def choose(site: ScaleSite, weights: Callable[[], Sequence[Tensor]]) -> Tensor:
        return smooth_factors(channels[site.observed].largest, weights(), strength)

    return fold_scales("smooth", model, choose)


def smooth_factors(largest: Tensor, weights: Sequence[Tensor], strength: float) -> Tensor:
    """``s_j = max|X_j|^strength / max|W_j|^(1 - strength)`` ``[C]``; 1 where a channel or all its weights are zero.

    Args:
        largest: Largest magnitude of each channel ``[C]``.
        weights: ``[out, C, ..]`` of every layer that reads them.
        strength: How much of the difficulty moves from activations to weights.
    """
    import torch

    heights = torch.stack([w.abs().transpose(0, 1).flatten(1).amax(1) for w in weights]).amax(0)
    factors = largest.double() ** strength / heights ** (1 - strength)
    return torch.where((largest > 0) & (heights > 0), factors, torch.ones_like(factors))
