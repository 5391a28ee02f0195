"""WavLM's relative position bias, in the form the graph computes it: one row a distance, two logits a gate.

The checkpoint keeps one row a *bucket* of distances, and eight gate logits that are added up in fours. Both
are turned once, when the model is loaded, into what every step needs, without any change of the result.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def distance_table(buckets: Tensor, reach: int) -> Tensor:
    """Bias by distance from the bias by bucket.

    Half of the buckets serve keys that come after the query. Of each half the first half holds one distance a
    bucket, the rest widen logarithmically up to ``reach``; whatever lies further shares the last one (T5,
    arXiv:1910.10683, section 2.1; taken over by WavLM, arXiv:2110.13900). So ``2 * reach + 1`` rows suffice.

    Args:
        buckets: ``[buckets, H]``, the embedding ``rel_attn_embed``.
        reach: ``max_bucket_distance``, more than a quarter of the number of buckets.

    Returns:
        ``[2 * reach + 1, H]``: the row ``reach + d`` is the bias of a key ``d`` steps after the query.
    """
    half = len(buckets) // 2
    exact = half // 2
    distance = torch.arange(-reach, reach + 1)
    steps = distance.abs()
    # In float32 and in this order of operations: the model was trained with the edges these round to.
    growth = torch.log(steps.clamp(min=exact).float() / exact) / math.log(reach / exact) * (half - exact)
    wide = (exact + growth).long().clamp(max=half - 1)
    bucket = torch.where(steps < exact, steps, wide) + half * (distance > 0)
    return buckets[bucket]


def sum_fours(gate: Tensor) -> Tensor:
    """Weight ``[8, d]`` or bias ``[8]`` of the gate's projection, its sums over four outputs done beforehand.

    The model projects to eight values and adds each four up; a sum of linear functions is linear, so two
    outputs do.
    """
    return gate.reshape(2, 4, *gate.shape[1:]).sum(1)
