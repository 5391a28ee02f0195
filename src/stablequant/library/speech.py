"""Speech in three parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from stablequant.data.speech import Speech
from stablequant.families.model import SpeechModel
from stablequant.jobs.speech import read_splits
from stablequant.settings import Settings


@dataclass(frozen=True)
class SpeechSplits:
    """Speech in three disjoint parts.

    Attributes:
        calibration: Observed, to set ranges.
        dev: Evaluated over and over by the search.
        test: Evaluated at the end, to report.
        sources: Where it came from, as it was named.
        settings: That it was read with.
    """

    calibration: Speech
    dev: Speech
    test: Speech
    sources: tuple[str, ...]
    settings: Settings

    def first(self, count: int) -> SpeechSplits:
        """The first ``count`` utterances of each part, for a quick look."""
        parts = {name: getattr(self, name).first(count) for name in ("calibration", "dev", "test")}
        return replace(self, **parts)


def read_speech(sources: Sequence[str], model: SpeechModel, **settings: Any) -> SpeechSplits:
    """Read speech for ``model``: decoded, resampled, its text checked against the model's alphabet, divided.

    Speech without any text is compared with what the float model says, and searched by `Divergence` alone.

    Args:
        sources: LibriSpeech or Common Voice folders, JSONL or TSV manifests, folders with a ``manifest.jsonl``,
            folders of recordings without text, or ``hf:name:config:split``.
        model: What it is for.
        settings: Any of docs/settings.md, such as ``seed=1`` or ``batch_size=8``.

    Raises:
        DataError: A source is missing or malformed, or too many recordings cannot be used; names each.
        SettingsError: A setting is unknown or has an impossible value.
    """
    names = tuple(map(str, sources))
    parts, _, chosen = read_splits(model.frontend, names, Settings.parse(settings))
    return SpeechSplits(**parts, sources=names, settings=chosen)
