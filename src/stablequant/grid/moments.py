"""First and second moments of what a layer reads, and weights that are made for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stablequant.grid.adaround import adaround
from stablequant.grid.gptq import gptq
from stablequant.grid.weights import QuantizedWeight, WeightSpec, quantize_weight

if TYPE_CHECKING:
    import torch


#: What a table that is looked up too gains on the diagonal of its second moments, as a share of its mean; bench/lookups.py has
#: what other shares come to.
LOOKUPS = 0.3


@dataclass(frozen=True)
class Moments:
    """Of the rows x ``[K]`` that a layer's weight is multiplied with.

    Attributes:
        gram: Mean of ``x x^T`` ``[K, K]``, float32.
        mean: Mean of x ``[K]``, float32.
        rows: That were counted.
    """

    gram: torch.Tensor
    mean: torch.Tensor
    rows: int

    @property
    def covariance(self) -> torch.Tensor:
        """The second moments about the mean ``[K, K]``."""
        return self.gram - self.mean.outer(self.mean)

    def with_lookups(self, share: float = LOOKUPS) -> Moments:
        """Those of a head whose weight an embedding reads too.

        A lookup gives a row of the weight as it is, so what rounding changes in its output is the change of the row itself: its
        second moments are the identity, here with ``share`` of the mean of the head's. Without them GPTQ would make the logits
        better and what the decoder reads worse.
        """
        gram = self.gram.clone()
        gram.diagonal().add_(share * float(gram.diagonal().mean()))
        return replace(self, gram=gram)


def fit_weight(w: torch.Tensor, spec: WeightSpec, moments: Moments, *, act_order: bool = True) -> QuantizedWeight:
    """Return weights ``[out, ...]`` as integers, rounded for rows with these moments and their bias corrected, as ``spec`` says.

    The correction of an output channel is ``(w - q(w)) E[x]`` (Nagel et al. 2019, arXiv 1906.04721, section 4.2). It takes the
    mean of the error away, so what is left for GPTQ or AdaRound to keep small is the error about it: the covariance.

    Raises:
        ModelError: The weights are not finite.
    """
    if spec.rounding == "nearest":
        held = quantize_weight(w, replace(spec, correct_bias=False))
    else:
        second = moments.covariance if spec.correct_bias else moments.gram
        held = gptq(w, second, spec, act_order=act_order) if spec.rounding == "gptq" else adaround(w, second, spec)
    if not spec.correct_bias:
        return held
    lost = (w.detach().float() - held.dequantized()).reshape(len(w), -1)
    return replace(held, spec=spec, correction=lost @ moments.mean)
