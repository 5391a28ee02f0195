"""The same work for every system that is timed: as many decoder steps as the float model takes.

A quantised decoder that stops early is no faster for it, and one that talks on no slower; what it says is told by error rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stablequant.families.frontend import Frontend
from stablequant.heads.greedy import Backend, greedy

#: An id that no decoder chooses.
NEVER = -1


def steps(frontend: Frontend, backend: Backend, sounds: Sequence[NDArray[np.float32]]) -> list[int]:
    """Decoder steps that ``backend`` takes for each of ``sounds``, its end token included; 0 for a CTC model."""
    if frontend.shape == "ctc":
        return [0] * len(sounds)
    return [len(t.tokens) + (not t.truncated) for t in frontend.recognize(backend, sounds)]


def transcribe(
    frontend: Frontend, backend: Backend, sounds: Sequence[NDArray[np.float32]], steps: Sequence[int]
) -> list[int]:
    """Transcribe a batch as ``Frontend.recognize`` does, but with the ``steps`` given for each of ``sounds``.

    Args:
        frontend: Of the model.
        backend: Runs its graphs.
        sounds: Mono float32 ``[T]`` each.
        steps: As `steps` counted them.

    Returns:
        The steps that were taken.
    """
    if frontend.shape == "ctc":
        frontend.recognize(backend, sounds)
        return list(steps)
    encoded = backend.run("encoder", {k: backend.put(v) for k, v in frontend.features(sounds).items()})
    endless = replace(frontend.greedy, end=NEVER)
    return [len(g.tokens) for g in greedy(backend, encoded, steps, endless)]
