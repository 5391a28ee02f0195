"""Speech observed one recording at a time: activations of the float model, and how far int8 is from it on each recording."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stablequant.data.audio import read_recording, require_few_bad
from stablequant.data.pieces import cut
from stablequant.data.utterance import Utterance
from stablequant.errors import AudioError
from stablequant.families.frontend import Frontend
from stablequant.families.model import SpeechModel
from stablequant.grid.chance import Ends, Single
from stablequant.network.backend import Backend
from stablequant.network.execute import Executor, TorchBackend
from stablequant.observe.collect import Observer
from stablequant.tasks.fidelity import Divergence, divergence


@dataclass(frozen=True)
class Seen:
    """One recording.

    Attributes:
        activations: By "layer#index": a product of activations has two.
        seconds: Of audio.
        divergence: Of int8 from float.
    """

    activations: Mapping[str, Single]
    seconds: float
    divergence: Divergence


class Watcher:
    """Runs a model in float, looking at its activations, and in int8 beside it."""

    def __init__(self, model: SpeechModel, int8: Backend, ends: Mapping[str, Ends], *, matmuls: bool) -> None:
        """Watch ``model``; ``int8`` runs the same graphs under the plan, whose static grids have ``ends`` by activation."""
        self._model, self._int8, self._ends, self._matmuls = model, int8, ends, matmuls
        self._executors = {graph.name: Executor(graph) for graph in model.graphs}

    def __call__(self, pieces: Iterable[NDArray[np.float32]]) -> Seen:
        """Observe one recording, in ``pieces`` ``[T]`` that the model takes; a decoder is given float's answer."""
        observer = Observer(self._model, matmuls=self._matmuls)
        plain, watched = TorchBackend(self._executors), TorchBackend(self._executors, observer)
        frontend, head = self._model.frontend, self._model.frontend.head
        nats, steps, samples = 0.0, 0, 0
        for piece in pieces:
            features = frontend.features([piece])
            outputs = frontend.encode(watched, features)
            answers = head.read(plain, outputs, features.sizes)
            (reference,) = head.logits(watched, outputs, answers)
            (found,) = head.logits(self._int8, frontend.encode(self._int8, features), answers)
            distance = divergence(reference, found)
            nats, steps, samples = nats + distance.nats, steps + distance.steps, samples + len(piece)
        flat = {f"{name}#{i}": h for name, hs in observer.histograms.items() for i, h in enumerate(hs)}
        singles = {name: Single.of(h, self._ends[name]) for name, h in flat.items()}
        return Seen(singles, samples / frontend.sampling_rate, Divergence(nats, steps))


class Recordings:
    """Recordings read one at a time, however many there are, in pieces that the model takes.

    Attributes:
        skipped: Id and reason of those that could not be used so far.
        used: How many could.
    """

    def __init__(self, utterances: Sequence[Utterance], frontend: Frontend, max_bad_fraction: float) -> None:
        """Name the recordings; none is opened yet."""
        self._utterances, self._frontend, self._most = utterances, frontend, max_bad_fraction
        self.skipped: list[tuple[str, str]] = []
        self.used = 0

    def __len__(self) -> int:
        """How many there are."""
        return len(self._utterances)

    def __iter__(self) -> Iterator[list[NDArray[np.float32]]]:
        """The pieces of each recording that can be used.

        Raises:
            AudioError: More than the tolerated share cannot be used; told as soon as it is certain.
        """
        rate, bounds = self._frontend.sampling_rate, self._frontend.bounds
        total = len(self._utterances)
        for utterance in self._utterances:
            try:
                samples = read_recording(utterance, rate, bounds.shortest).samples
            except AudioError as error:
                self.skipped.append((utterance.id, error.what))
                require_few_bad(self.skipped, total, self._most)
                continue
            self.used += 1
            pieces = (piece.samples for piece in cut([samples], rate, bounds.longest))
            yield [piece for piece in pieces if len(piece) >= bounds.shortest]
