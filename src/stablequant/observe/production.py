"""What production speech looked like, in one small file: parts from many machines add up, in any order."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from stablequant.errors import DataError
from stablequant.files import json_value, replacing
from stablequant.grid.histogram import JOINED_EDGES
from stablequant.observe.recordings import Seen

#: Endings of parts among sources of speech.
ENDING = ".npz"
VERSION = 1
_COUNTS = ("recordings", "skipped", "seconds", "nats", "steps")


@dataclass
class Production:
    """Sums over recordings, of a size that does not depend on how many there were.

    Attributes:
        identity: What they depend on beside the speech: the plan, which names its checkpoint.
        mass: Of every activation's joined bins ``[bins]``, each recording's with the same sum; see grid/chance.py.
        outside: Of the values that its static grid clips.
        recordings: How many were observed.
        skipped: How many could not be used.
        seconds: Of audio.
        nats: Divergence of int8 from float, summed
        steps: over so many steps.
    """

    identity: Mapping[str, Any]
    mass: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    outside: dict[str, int] = field(default_factory=dict)
    recordings: int = 0
    skipped: int = 0
    seconds: float = 0.0
    nats: float = 0.0
    steps: int = 0

    def add(self, seen: Seen) -> None:
        """Count a recording in."""
        for name, single in seen.activations.items():
            self._add(name, single.mass, single.outside)
        self.recordings += 1
        self.seconds += seen.seconds
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
        for name, mass in other.mass.items():
            self._add(name, mass, other.outside[name])
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def save(self, path: Path) -> None:
        """Write it as a part, all or nothing.

        Raises:
            ResourceError: The file cannot be written.
        """
        counts = {name: getattr(self, name) for name in _COUNTS}
        header = {"version": VERSION, "identity": dict(self.identity), "names": list(self.mass), **counts}
        mass = np.array(list(self.mass.values()), np.int64).reshape(len(self.mass), len(JOINED_EDGES) - 1)
        outside = np.array(list(self.outside.values()), np.int64)
        with replacing(path) as part, part.open("wb") as file:
            np.savez_compressed(
                file, allow_pickle=False, header=np.array(json.dumps(header)), mass=mass, outside=outside
            )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a part.

        Raises:
            DataError: It is missing, damaged, or something else.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                header, mass, outside = json_value(str(file["header"])), file["mass"], file["outside"]
            if header["version"] != VERSION or (len(mass) and mass.shape[1] != len(JOINED_EDGES) - 1):
                what = "it is of another version"
                raise ValueError(what)
            names = [str(name) for name in header["names"]]
            counts = {n: (float if n in ("seconds", "nats") else int)(header[n]) for n in _COUNTS}
            pairs = dict(zip(names, mass, strict=True)), dict(zip(names, outside.tolist(), strict=True))
            return cls(dict(header["identity"]), *pairs, **counts)  # type: ignore[arg-type]
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            what = f"{path} cannot be read as a part ({error})"
            expected = "a file that stablequant drift --save wrote"
            raise DataError(what, expected=expected, fix="observe that speech again") from error

    def _add(self, name: str, mass: NDArray[Any], outside: int) -> None:
        self.mass[name] = self.mass.get(name, np.int64(0)) + mass.astype(np.int64)
        self.outside[name] = self.outside.get(name, 0) + outside
