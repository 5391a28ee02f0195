"""The same work for every system that is timed: as many decoder steps as the float model takes.

A quantised decoder that stops early is no faster for it, and one that talks on no slower; what it says is told by error rates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stablequant.families.frontend import Frontend
from stablequant.network.backend import Backend


def steps(frontend: Frontend, backend: Backend, sounds: Sequence[NDArray[np.float32]]) -> list[int]:
    """Decoder steps that ``backend`` takes for each of ``sounds``, its end token included; 0 without a decoder."""
    return frontend.head.steps(frontend.recognize(backend, sounds))


def run(frontend: Frontend, backend: Backend, sounds: Sequence[NDArray[np.float32]], steps: Sequence[int]) -> None:
    """Do the work of ``Frontend.recognize`` on a batch, but with the ``steps`` given for each of ``sounds``.

    Args:
        frontend: Of the model.
        backend: Runs its graphs.
        sounds: Mono float32 ``[T]`` each.
        steps: As `steps` counted them.
    """
    frontend.head.run_for(backend, frontend.encode(backend, frontend.features(sounds)), steps)
