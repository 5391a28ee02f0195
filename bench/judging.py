"""Words and divergence of the same pass, what a difference in words is told as, and what a scheme's weights take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from stablequant.data.speech import Speech
from stablequant.families.model import SpeechModel
from stablequant.heads.head import Answer, Head
from stablequant.network.backend import Backend
from stablequant.quantize.bits import average_bits
from stablequant.quantize.scheme import Scheme
from stablequant.quantize.simulate import Simulator
from stablequant.search.objective import Answers, Divergence
from stablequant.tasks.bootstrap import paired_bootstrap
from stablequant.tasks.score import Score


@dataclass(frozen=True)
class Both(Answers):
    """What a model answers, and how far it diverges from float, of one pass of the first graph; a reading has both.

    Attributes:
        name: Part of every key in a journal.
    """

    name: str = "answers and divergence"
    needs_float: bool = True

    def prepare(self, head: Head, backend: Backend, outputs: dict[str, Any], sizes: NDArray[Any]) -> Any:
        """As divergence has it."""
        return Divergence().prepare(head, backend, outputs, sizes)

    def prepared(self, readings: Sequence[Any]) -> Any:
        """The same from what `float_readings` gave."""
        return [answer for answer, _ in readings], [logits for _, logits in readings]

    def measure(
        self, head: Head, backend: Backend, outputs: dict[str, Any], sizes: NDArray[Any], prepared: Any
    ) -> list[Any]:
        """Both."""
        near = Divergence().measure(head, backend, outputs, sizes, prepared)
        return list(zip(head.read(backend, outputs, sizes), near, strict=True))

    def to_json(self, reading: Any) -> Any:
        """Both."""
        return [super().to_json(reading[0]), Divergence().to_json(reading[1])]

    def from_json(self, value: Any) -> Any:
        """Both."""
        return super().from_json(value[0]), Divergence().from_json(value[1])


def float_readings(model: SpeechModel, speech: Speech) -> list[tuple[Answer, Any]]:
    """The float model's answer to each utterance and its logits, which the trials of other models may be compared with."""
    backend, frontend = Simulator(model).backend({}), model.frontend
    found: dict[int, tuple[Answer, Any]] = {}
    for batch in speech.batches:
        features = frontend.features(speech.waveforms_of(batch))
        outputs = frontend.encode(backend, features)
        prepared = Divergence().prepare(frontend.head, backend, outputs, features.sizes)
        found.update(zip(batch, zip(*prepared, strict=True), strict=True))
    return [found[i] for i in range(len(speech.utterances))]


def difference(before: Score, after: Score) -> dict[str, Any]:
    """What ``after`` costs in points, with its 95 % interval."""
    delta = paired_bootstrap(before, after)
    return {"delta": round(delta.delta, 4), "delta_interval": [round(delta.low, 4), round(delta.high, 4)]}


def bytes_ratio(model: SpeechModel, scheme: Scheme) -> float:
    """Bytes of the model under ``scheme``, scales told with codes, as a share of float32's."""
    held = model.layer_weights()
    count = sum(weight.numel() for weight in held.values())
    return (model.float_bytes - 4 * count + average_bits(held, scheme) * count / 8) / model.float_bytes
