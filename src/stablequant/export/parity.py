"""The gate of every export: a file's numbers on real speech against the simulation's, and a runtime's against the file's.

Two runtimes add in different orders. A sum on the edge between two int8 steps falls on either side, so the same plan gives
outputs that differ by a few per cent, and no fixed limit tells that from a wrong graph. The yardstick is therefore the
simulation itself: how far its own outputs move when the audio changes by one part in a hundred thousand, 100 dB below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stablequant.errors import VerificationError
from stablequant.families.frontend import Frontend
from stablequant.heads.head import Answer, Logits
from stablequant.network.backend import Backend

#: Change of the audio that nobody hears. A tenth of it may turn no sum over, ten times as much turns hardly more.
NOISE = 1e-5
#: A difference may be this many times what the noise does,
MARGIN = 2.0
#: or this share of the outputs: where no sum falls on an edge the noise does nothing at all.
SMALL = 0.02


@dataclass(frozen=True)
class Parity:
    """One way of running the plan against another, on the same speech.

    Attributes:
        subject: What was run.
        reference: What it was compared with.
        difference: Root mean square of the difference of their logits, as a share of the reference's.
        limit: The largest that passes.
    """

    subject: str
    reference: str
    difference: float
    limit: float

    @property
    def passed(self) -> bool:
        """Within the limit; a NaN is not."""
        return self.difference <= self.limit


def logits(
    frontend: Frontend, backend: Backend, sounds: Sequence[NDArray[np.float32]], answers: Sequence[Answer]
) -> Logits:
    """Logits ``[steps, V]`` of each utterance, run as one batch, its valid steps alone.

    Args:
        frontend: Of the model.
        backend: Runs its graphs.
        sounds: Mono float32 ``[T]`` each.
        answers: What a decoder is given.
    """
    return frontend.head.logits(backend, frontend.encode(backend, frontend.features(sounds)), answers)


def difference(found: Logits, reference: Logits) -> float:
    """Root mean square of the difference, as a share of the reference's root mean square."""
    a, b = np.concatenate(found).astype(np.float64), np.concatenate(reference).astype(np.float64)
    return float(np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2)))


@dataclass(frozen=True)
class Simulated:
    """What the simulation says, which files are compared with; its model is not needed any more.

    Attributes:
        sounds: Real speech, mono float32 ``[T]`` each.
        answers: To it.
        logits: Those of `logits`.
        limit: Of a difference from them.
    """

    sounds: Sequence[NDArray[np.float32]]
    answers: Sequence[Answer]
    logits: Logits
    limit: float


def simulate(frontend: Frontend, simulation: Backend, sounds: Sequence[NDArray[np.float32]]) -> Simulated:
    """Run ``simulation``, the plan in PyTorch, on ``sounds`` and on the same with noise."""
    answers = frontend.recognize(simulation, sounds)
    random = np.random.default_rng(0)
    noisy = [(w * (1 + NOISE * random.standard_normal(len(w)))).astype(np.float32) for w in sounds]
    simulated = logits(frontend, simulation, sounds, answers)
    limit = max(SMALL, MARGIN * difference(logits(frontend, simulation, noisy, answers), simulated))
    return Simulated(sounds, answers, simulated, limit)


def against(
    frontend: Frontend, simulated: Simulated, written: Backend, optimised: tuple[str, Backend] | None
) -> list[Parity]:
    """Compare a file with the simulation, and the runtime it is for with the file.

    Args:
        frontend: Of the model.
        simulated: What the plan gives in PyTorch.
        written: The file in ONNX Runtime without graph optimisation: every node as it is written.
        optimised: Name and backend of the runtime that the file is for; ``None`` where it cannot run here.
    """
    sounds, answers, limit = simulated.sounds, simulated.answers, simulated.limit
    plain = logits(frontend, written, sounds, answers)
    name = "ONNX Runtime without optimisation"
    found = [Parity(name, "the simulation", difference(plain, simulated.logits), limit)]
    if optimised is not None:
        runtime, backend = optimised
        found.append(Parity(runtime, name, difference(logits(frontend, backend, sounds, answers), plain), limit))
    return found


def compare(
    frontend: Frontend,
    simulation: Backend,
    written: Backend,
    optimised: tuple[str, Backend] | None,
    sounds: Sequence[NDArray[np.float32]],
) -> list[Parity]:
    """`simulate`, and `against` that."""
    return against(frontend, simulate(frontend, simulation, sounds), written, optimised)


def require(parities: Sequence[Parity], kept: str) -> None:
    """Raise VerificationError unless all passed; the message says where the file is ``kept``."""
    reasons = [
        f"the logits of {p.subject} differ from those of {p.reference} by {p.difference:.1%}"
        for p in parities
        if not p.passed
    ]
    if reasons:
        what = f"the exported file failed its check: {'; '.join(reasons)}. It is kept in {kept}"
        expected = f"at most {max(p.limit for p in parities):.1%}, by what inaudible noise does to the simulation"
        raise VerificationError(what, expected=expected, fix="report it with the plan, or use another --target")
