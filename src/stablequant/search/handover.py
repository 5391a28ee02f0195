"""Hand an object to many processes without a copy of its tensors for each: they lie in one file, which all map.

The file has no name, so nothing is left behind however the processes end; they inherit it open. Shared memory would
do as well, but containers often have 64 MB of it.
"""

from __future__ import annotations

import io
import mmap
import pickle
import tempfile
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from stablequant.files import disk_errors

#: Bytes; any type of number may begin at a multiple.
ALIGNMENT = 64


class HandedOver:
    """An object as it was at one moment, in an open file.

    Attributes:
        descriptor: Of the file; a process that inherits it can `take` the object.
        start: Where in the file the object begins that refers to the tensors before.
    """

    def __init__(self, value: Any) -> None:
        """Write ``value``: its tensors, each once, then the rest, pickled.

        Raises:
            ResourceError: The folder for temporary files is full.
        """
        self._file = tempfile.TemporaryFile()
        with disk_errors(Path(tempfile.gettempdir()) / "(a copy of the model for the worker processes)"):
            rest = io.BytesIO()
            _Pickler(rest, self._file).dump(value)
            self.start = self._file.tell()
            self._file.write(rest.getbuffer())
            self._file.flush()

    @property
    def descriptor(self) -> int:
        """Of the file."""
        return self._file.fileno()

    def close(self) -> None:
        """Let go of the file; processes that have taken the object keep it."""
        self._file.close()


def take(descriptor: int, start: int) -> Any:
    """The object of a `HandedOver`; what this process writes to its tensors, it alone sees."""
    data = mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)
    data.seek(start)
    return _Unpickler(data, data).load()


class _Pickler(pickle.Pickler):
    """Writes plain tensors in main memory to a file of their own, and only their places to the stream."""

    def __init__(self, stream: IO[bytes], tensors: IO[bytes]) -> None:
        super().__init__(stream, protocol=pickle.HIGHEST_PROTOCOL)
        self._tensors = tensors
        self._places: dict[tuple[int, int], int] = {}

    def persistent_id(self, value: Any) -> tuple[Any, ...] | None:
        if type(value) is not Tensor or value.device.type != "cpu" or value.layout != torch.strided:
            return None
        storage = value.untyped_storage()
        if not storage.nbytes() or value.requires_grad or value.is_quantized:
            return None
        key = storage.data_ptr(), storage.nbytes()
        if key not in self._places:
            self._tensors.write(bytes(-self._tensors.tell() % ALIGNMENT))
            self._places[key] = self._tensors.tell()
            self._tensors.write(torch.empty(0, dtype=torch.uint8).set_(storage).numpy().data)
        count = storage.nbytes() // value.element_size()
        layout = tuple(value.shape), value.stride(), value.storage_offset()
        return self._places[key], value.dtype, count, layout


class _Unpickler(pickle.Unpickler):
    """Makes tensors from their places."""

    def __init__(self, stream: Any, data: mmap.mmap) -> None:
        super().__init__(stream)
        self._data = data

    def persistent_load(self, place: tuple[Any, ...]) -> Tensor:
        offset, dtype, count, (shape, stride, first) = place
        whole = torch.frombuffer(self._data, dtype=dtype, offset=offset, count=count)
        return whole.as_strided(shape, stride, first)
