"""What a family is: it builds a checkpoint's graphs and knows the two ends of the model, audio in and answers out.

`family` registers one, in this package or in the code of whoever adds a model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from stablequant.errors import SettingsError
from stablequant.heads.head import Head
from stablequant.network.graph import Graph

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Features:
    """Model inputs of a batch of utterances.

    Attributes:
        feeds: Inputs of the first graph by name.
        sizes: Samples of each utterance ``[B]``, int64.
    """

    feeds: dict[str, NDArray[Any]]
    sizes: NDArray[np.int64]


#: Seconds: in shorter pieces of long audio too many words are cut.
LEAST = 5.0


@dataclass(frozen=True)
class Bounds:
    """Audio that a model can be given.

    Attributes:
        shortest: Samples that one frame takes: shorter audio gives the model nothing to look at.
        longest: Seconds that the model copes with at a time, by its training or by the time that attention takes.
        window: Seconds beyond which nothing is heard; ``None``: any length is.
        padded: Seconds that every recording is padded to at least.
        a_second: Bytes of memory that a second of audio takes while the model runs,
        squared: and those that the square of the seconds in one recording takes, by attention.
    """

    shortest: int = 1
    longest: float = 60.0
    window: float | None = None
    padded: float = 0.0
    a_second: float = 0.0
    squared: float = 0.0

    def fitting(self, memory: float) -> float:
        """Seconds of audio t that fit into so many bytes: ``squared * t**2 + a_second * t = memory``; no less than `LEAST`.

        One recording of that length takes the most; several that have it together take less.
        """
        if not memory < math.inf or not (self.squared or self.a_second):
            return math.inf
        root = math.sqrt(self.a_second**2 + 4 * self.squared * memory)
        return max(LEAST, 2 * memory / (self.a_second + root))


class Family(Protocol):
    """A kind of model; one object serves all its checkpoints."""

    @property
    def architectures(self) -> tuple[str, ...]:
        """Classes of transformers, as config.json names them, that `build` understands."""

    def build(self, config: Mapping[str, Any], weights: dict[str, Tensor]) -> tuple[Graph, ...]:
        """Graphs in the order in which they run, from config.json and float32 weights by their names in the checkpoint.

        Raises:
            ModelError: The configuration has a part that is not supported, or the checkpoint lacks weights; names each.
        """

    def head(self, config: Mapping[str, Any], processor: Any) -> Head:
        """What reads the graphs' outputs.

        Raises:
            ModelError: The processor does not fit the configuration.
        """

    def features(self, processor: Any, waveforms: Sequence[NDArray[np.float32]]) -> Features:
        """Model inputs of mono waveforms ``[T]`` at the processor's rate, each prepared alone: company cannot change it."""

    def bounds(self, config: Mapping[str, Any]) -> Bounds:
        """Audio that the model can be given."""


@runtime_checkable
class Windowed(Protocol):
    """What a `Family` has besides if it pads every recording to a window, and can leave most of the padding out."""

    def shortened(self, processor: Any, waveforms: Sequence[NDArray[np.float32]]) -> Features:
        """Model inputs as `Family.features` has them, but of no more silence than the model needs to hear where speech ends."""


#: By the class that config.json names.
FAMILIES: dict[str, Family] = {}

Kind = TypeVar("Kind", bound=Callable[[], Family])


def family(kind: Kind) -> Kind:
    """Register a class of `Family` for its ``architectures``.

    Raises:
        SettingsError: There is another family of one of these.
    """
    made = kind()
    for name in made.architectures:
        if name in FAMILIES and type(FAMILIES[name]) is not type(made):
            what = f"there is a family of {name} already"
            raise SettingsError(what, expected="classes that no other family builds")
    FAMILIES.update(dict.fromkeys(made.architectures, made))
    return kind


def raw_waveforms(processor: Any, waveforms: Sequence[NDArray[np.float32]]) -> Features:
    """Features of models that are given the waveform itself: ``input_values`` [B, T], padded, ``input_lengths`` [B]."""
    extract = processor.feature_extractor
    single = [
        np.asarray(extract(w, sampling_rate=extract.sampling_rate)["input_values"][0], np.float32) for w in waveforms
    ]
    sizes = np.array([len(w) for w in single], np.int64)
    values = np.zeros((len(single), int(sizes.max())), np.float32)
    for row, w in zip(values, single, strict=True):
        row[: len(w)] = w
    return Features({"input_values": values, "input_lengths": sizes}, sizes)
