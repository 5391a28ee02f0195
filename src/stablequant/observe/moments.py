"""Observe the inputs of all layers once: their moments are kept in a safetensors file, and read from it a layer at a time.

The matrices of a large model take as much as its weights, or more. So they are summed up in as many passes over the speech as
keep each below `MOST_BYTES`, or a quarter of the weights, written to the file pass by pass, and read when a layer's turn comes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from stablequant.data.speech import Speech
from stablequant.errors import DataError
from stablequant.families.model import SpeechModel
from stablequant.files import json_value, replacing
from stablequant.grid.moments import Moments
from stablequant.observe.cached import identity
from stablequant.observe.gram import observe_moments, shared_rows
from stablequant.progress import Progress, silent

#: Of the matrices that one pass sums up in main memory, or this share of the float weights if that is more.
MOST_BYTES, SHARE = 2**29, 0.25
#: Raised when the same speech would give other moments than in an earlier version.
VERSION = 1
TITLE = "observing the inputs of layers"


class StoredMoments(Mapping[str, Moments]):
    """Moments by layer, in a file; nothing is held in memory.

    Attributes:
        path: The file.
        meta: What they were made from.
    """

    def __init__(self, path: Path) -> None:
        """Read what the file holds.

        Raises:
            DataError: It is missing, damaged, or of another format.
        """
        self.path = path
        try:
            with safe_open(path, "pt") as file:
                header = json_value((file.metadata() or {})["stablequant"])
                self._shared, self.meta = dict(header["layers"]), dict(header["meta"])
                held = set(file.keys())
            if missing := sorted({_tensors(name)[0] for name in self._shared.values()} - held):
                raise KeyError(missing[0])
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise self._damaged(error) from error

    def __getitem__(self, layer: str) -> Moments:
        """Of the rows that ``layer`` reads; KeyError where it has none."""
        gram, mean, rows = _tensors(self._shared[layer])
        try:
            with safe_open(self.path, "pt") as file:
                return Moments(file.get_tensor(gram), file.get_tensor(mean), int(file.get_tensor(rows)))
        except (OSError, SafetensorError, ValueError) as error:
            raise self._damaged(error) from error

    def __iter__(self) -> Iterator[str]:
        """Names of the layers that have moments."""
        return iter(self._shared)

    def __len__(self) -> int:
        """How many those are."""
        return len(self._shared)

    def _damaged(self, error: Exception) -> DataError:
        what = f"{self.path} cannot be read as moments: {error}"
        fix = f"remove {self.path}: the next run observes the inputs again"
        return DataError(what, expected="a file that an earlier run left", fix=fix)


def moments_once(model: SpeechModel, speech: Speech, path: Path, progress: Progress = silent) -> StoredMoments:
    """Moments from ``path`` if they are of this model and speech, else from float passes over it, kept there.

    Args:
        model: Runs in float.
        speech: What it is run on.
        path: The file.
        progress: Told what is running, how many batches are done, and how many there are.

    Raises:
        DataError: The file that is there is damaged.
        ResourceError: It cannot be written.
    """
    meta = {**identity(model, speech), "version": VERSION}
    if path.is_file() and (stored := StoredMoments(path)).meta == meta:
        return stored
    shared, weights = shared_rows(model), model.layer_weights()
    widths = {name: weights[name][0].numel() for name in dict.fromkeys(shared.values())}
    passes = _passes(widths, max(MOST_BYTES, int(SHARE * model.float_bytes)))
    total = len(passes) * len(speech.batches)

    def batches(before: int) -> Iterator[list[NDArray[np.float32]]]:
        for done, batch in enumerate(speech.batches, before + 1):
            yield speech.waveforms_of(batch)
            progress(TITLE, done, total)

    progress(TITLE, 0, total)
    with replacing(path) as part, part.open("wb") as file:
        file.write(_header(widths, {"layers": shared, "meta": meta}))
        for number, layers in enumerate(passes):
            found = observe_moments(model, batches(number * len(speech.batches)), layers)
            for name in layers:
                gram, mean = found[name].gram.numpy(), found[name].mean.numpy()
                for array in (gram, mean, np.array(found[name].rows)):
                    file.write(array.astype(array.dtype.newbyteorder("<"), copy=False).data)
            del found, gram, mean, array  # the next pass has matrices of its own
    return StoredMoments(path)


def _passes(widths: Mapping[str, int], most: int) -> list[list[str]]:
    """The layers in runs whose matrices take ``most`` bytes; one that does not fit by itself has a pass of its own."""
    passes: list[list[str]] = []
    room = 0
    for name, width in widths.items():
        size = 4 * width * width
        if size > room:
            passes.append([])
            room = most
        passes[-1].append(name)
        room -= size
    return passes


def _tensors(name: str) -> tuple[str, str, str]:
    return f"{name}.gram", f"{name}.mean", f"{name}.rows"


def _header(widths: Mapping[str, int], about: Mapping[str, Any]) -> bytes:
    """The head of a safetensors file whose tensors follow in the order of ``widths``: gram, mean and rows of each layer."""
    entries: dict[str, Any] = {"__metadata__": {"stablequant": json.dumps(about)}}
    end = 0
    for name, width in widths.items():
        shapes: tuple[list[int], ...] = ([width, width], [width], [])
        for key, kind, size, shape in zip(_tensors(name), ("F32", "F32", "I64"), (4, 4, 8), shapes, strict=True):
            start, end = end, end + size * prod(shape)
            entries[key] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
