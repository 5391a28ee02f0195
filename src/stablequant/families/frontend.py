"""A model without its weights: processor, configuration and head, from audio to answers on any backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from stablequant.errors import SettingsError
from stablequant.families.family import Bounds, Family, Features, Windowed
from stablequant.heads.head import Answer, Head, Hints
from stablequant.network.backend import Backend
from stablequant.settings import Window


@dataclass(frozen=True)
class Frontend:
    """What turns waveforms into inputs of the graphs, and their outputs into answers.

    Attributes:
        family: Of the model.
        config: The model's config.json.
        processor: Feature extractor and tokenizer, as transformers loads them.
        head: Reads the graphs' outputs.
        window: How much of a window that recordings are padded to is computed: "full", or what the "audio" takes.
    """

    family: Family
    config: Mapping[str, Any]
    processor: Any
    head: Head
    window: Window = "full"

    @property
    def sampling_rate(self) -> int:
        """Hertz expected of the audio."""
        return int(self.processor.feature_extractor.sampling_rate)

    @property
    def bounds(self) -> Bounds:
        """Audio that the model can be given."""
        bounds = self.family.bounds(self.config)
        return bounds if self.window == "full" else replace(bounds, padded=0.0)

    def asked(self, language: str | None = None, *, translate: bool = False, window: Window = "full") -> Self:
        """The same for speech in ``language``, with answers in English if ``translate``, and for so much of a window.

        Raises:
            SettingsError: The model cannot be asked for that (see `Head.asked`), or has no window.
        """
        if window == "audio" and not isinstance(self.family, Windowed):
            what = "window=audio, but the model computes no more than the audio anyway"
            raise SettingsError(what, expected="a model with a window, such as Whisper", fix="leave the setting out")
        return replace(self, head=self.head.asked(language, translate=translate), window=window)

    def timed(self) -> Self:
        """The same for answers with the times of their segments; see `Head.timed`."""
        return replace(self, head=self.head.timed())

    def features(self, waveforms: Sequence[NDArray[np.float32]]) -> Features:
        """Model inputs of a batch of mono float32 waveforms ``[T]`` at ``sampling_rate``."""
        if self.window == "audio" and isinstance(self.family, Windowed):
            return self.family.shortened(self.processor, waveforms)
        return self.family.features(self.processor, waveforms)

    def encode(self, backend: Backend, features: Features) -> dict[str, Any]:
        """Outputs of the first graph."""
        return backend.run(self.head.graphs[0], {name: backend.put(value) for name, value in features.feeds.items()})

    def recognize(
        self, backend: Backend, waveforms: Sequence[NDArray[np.float32]], hints: Hints | None = None
    ) -> list[Answer]:
        """Answers for a batch, run on ``backend``; ``hints`` as `Head.read` has them."""
        features = self.features(waveforms)
        return self.head.read(backend, self.encode(backend, features), features.sizes, hints)
