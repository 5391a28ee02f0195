"""Calibration speech as a yardstick: its activations recording by recording, on joined bins, in one file of a run's folder."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from stablequant.errors import DataError
from stablequant.files import json_value, replacing
from stablequant.grid.chance import Activation, Ends, Single
from stablequant.observe.recordings import Seen

#: Name of the file in a run's folder.
NAME = "reference.npz"
VERSION = 1


@dataclass(frozen=True)
class Reference:
    """Calibration speech, recording by recording.

    Attributes:
        identity: What it depends on: checkpoint, processor, plan and calibration speech.
        activations: By name, in network order.
        nats: Divergence of int8 from float ``[recordings]``, summed
        steps: over so many steps ``[recordings]``.
        seconds: Of audio ``[recordings]``.
    """

    identity: Mapping[str, Any]
    activations: Mapping[str, Activation]
    nats: NDArray[np.float64]
    steps: NDArray[np.float64]
    seconds: NDArray[np.float64]

    def as_many(self, recordings: int, seconds: float) -> int:
        """Calibration recordings that speech of so many ``recordings`` and ``seconds`` stands for, at least one.

        As many as there are, and fewer where they are shorter than those of calibration: then each tells less.
        """
        return max(1, min(recordings, round(seconds / float(self.seconds.mean()))))

    @classmethod
    def of(cls, seen: Iterable[Seen], ends: Mapping[str, Ends], identity: Mapping[str, Any]) -> Self:
        """From what was seen of each recording; ``ends`` of static grids by activation."""
        rows: dict[str, list[Single]] = {name: [] for name in ends}
        figures = []
        for one in seen:
            for name, single in one.activations.items():
                rows[name].append(single)
            figures.append((one.divergence.nats, one.divergence.steps, one.seconds))
        activations = {name: Activation.of(singles, ends[name]) for name, singles in rows.items()}
        return cls(identity, activations, *np.array(figures, float).T)

    def save(self, path: Path) -> None:
        """Write it, all or nothing.

        Raises:
            ResourceError: The file cannot be written.
        """
        found = self.activations.values()
        header = {
            "version": VERSION,
            "identity": dict(self.identity),
            "ends": {name: a.ends for name, a in self.activations.items()},
        }
        arrays: dict[str, NDArray[Any]] = {
            "sizes": np.array([len(a.bins) for a in found]),
            "bins": np.concatenate([a.bins for a in found]),
            "mass": np.concatenate([a.mass for a in found], axis=1),
            "largest": np.stack([a.largest for a in found]),
            "outside": np.stack([a.outside for a in found]),
            "recordings": np.stack((self.nats, self.steps, self.seconds)),
            "header": np.array(json.dumps(header)),
        }
        with replacing(path) as part, part.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            DataError: The file is missing, damaged, or of another version.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {key: file[key] for key in file.files}
            header = json_value(str(arrays["header"]))
            if header["version"] != VERSION:
                what = f"its version is {header['version']}, not {VERSION}"
                raise ValueError(what)
            stops = np.cumsum(arrays["sizes"])[:-1]
            columns = zip(np.split(arrays["bins"], stops), np.split(arrays["mass"], stops, axis=1), strict=True)
            ends = {
                name: None if pair is None else (float(pair[0]), float(pair[1]))
                for name, pair in header["ends"].items()
            }
            rows = zip(ends.items(), columns, arrays["outside"], arrays["largest"], strict=True)
            activations = {
                name: Activation(bins, mass, outside, largest, pair)
                for (name, pair), (bins, mass), outside, largest in rows
            }
            return cls(header["identity"], activations, *arrays["recordings"])
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            what = f"{path} cannot be read as calibration speech: {error}"
            fix = f"remove {path}: the next stablequant drift observes the calibration speech again"
            raise DataError(what, expected="a file that an earlier stablequant drift left", fix=fix) from error
