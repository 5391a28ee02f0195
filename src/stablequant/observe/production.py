"""What production speech looked like, in one small file: parts from many machines add up, in any order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from stablequant.errors import DataError
from stablequant.grid.histogram import Histogram
from stablequant.observe.recordings import Flat, Seen
from stablequant.observe.storage import load_histograms, save_histograms

#: Endings of parts among sources of speech.
ENDING = ".npz"
_COUNTS = ("recordings", "skipped", "seconds", "nats", "steps")


@dataclass
class Production:
    """Sums over recordings, of a size that does not depend on how many there were.

    Attributes:
        identity: What they depend on beside the speech: checkpoint, processor, plan.
        histograms: Of every activation.
        recordings: How many were observed.
        skipped: How many could not be used.
        seconds: Of audio.
        nats: Divergence of int8 from float, summed
        steps: over so many steps.
    """

    identity: Mapping[str, Any]
    histograms: Flat = field(default_factory=dict)
    recordings: int = 0
    skipped: int = 0
    seconds: float = 0.0
    nats: float = 0.0
    steps: int = 0

    def add(self, seen: Seen) -> None:
        """Count a recording's activations and divergence in."""
        self._add(seen.histograms)
        self.nats += seen.divergence.nats
        self.steps += seen.divergence.steps

    def merge(self, other: Production) -> None:
        """Add all that ``other`` has seen.

        Raises:
            DataError: It is of another model or plan.
        """
        if other.identity != self.identity:
            differ = sorted(
                k for k in {*self.identity, *other.identity} if self.identity.get(k) != other.identity.get(k)
            )
            what = f"production speech was observed with another {', '.join(differ)}"
            raise DataError(what, expected="parts of one run folder", fix="observe that speech again with this folder")
        self._add(other.histograms)
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def save(self, path: Path) -> None:
        """Write it as a part.

        Raises:
            ResourceError: The file cannot be written.
        """
        counts = {name: getattr(self, name) for name in _COUNTS}
        save_histograms(path, self.histograms, {"identity": dict(self.identity), "production": counts})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a part.

        Raises:
            DataError: It is missing, damaged, or something else.
        """
        try:
            histograms, meta = load_histograms(path)
            counts = {
                name: (float if name in ("seconds", "nats") else int)(meta["production"][name]) for name in _COUNTS
            }
            return cls(dict(meta["identity"]), histograms, **counts)  # type: ignore[arg-type]
        except (DataError, KeyError, TypeError, ValueError) as error:
            what = f"{path} cannot be read as a part ({error.what if isinstance(error, DataError) else error})"
            expected = "a file that stablequant drift --save wrote"
            raise DataError(what, expected=expected, fix="observe that speech again") from error

    def _add(self, histograms: Mapping[str, Histogram]) -> None:
        for name, histogram in histograms.items():
            self.histograms.setdefault(name, Histogram(name)).merge(histogram)
