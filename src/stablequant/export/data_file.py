"""The large tensors of an ONNX model beside it, as ONNX's external data: written one by one as they are made, none held.

A protobuf message ends at 2 GiB, so the weights of a large model lie in a file of their own. Those of others are put into the
one file in the end, from this one. https://onnx.ai/onnx/repo-docs/ExternalData.html
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

#: Tensors of fewer bytes stay in the model: runtimes read shapes from them before they open other files.
SMALL = 1024
#: Where a tensor may begin, so that a runtime can map it to memory.
PAGE = 4096


class DataFile:
    """Tensors in one file, while a model is written.

    Attributes:
        path: The file; a model in the same folder refers to it by its name.
        bytes: Of all tensors.
    """

    def __init__(self, path: Path) -> None:
        """Start an empty file."""
        self.path, self.bytes = path, 0
        self._file = path.open("wb")

    def __enter__(self) -> Self:
        """The file, open for writing."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close it."""
        self._file.close()

    def add(self, array: NDArray[Any], name: str) -> TensorProto:
        """Write the tensor called ``name``, and return what stands for it in a model."""
        start = self._file.tell()
        if gap := -start % PAGE:
            self._file.seek(gap, 1)
            start += gap
        array = np.ascontiguousarray(array)
        self._file.write(array.astype(array.dtype.newbyteorder("<"), copy=False).reshape(-1).view(np.uint8).data)
        self.bytes += array.nbytes
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor = TensorProto(name=name, data_type=kind, dims=array.shape, data_location=TensorProto.EXTERNAL)
        for key, value in (("location", self.path.name), ("offset", start), ("length", array.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        return tensor


def joined(model: onnx.ModelProto, data: Path) -> Iterator[bytes]:
    """``model`` as one file, piece by piece, with its tensors from ``data`` in it.

    Serialised protobuf messages that follow each other are read as one whose lists are joined
    (https://protobuf.dev/programming-guides/encoding/#last-one-wins): first the model without those tensors, then one by one a
    model of nothing but a tensor.
    """
    outside = [t for t in model.graph.initializer if t.data_location == TensorProto.EXTERNAL]
    inside = [t for t in model.graph.initializer if t.data_location != TensorProto.EXTERNAL]
    rest = onnx.ModelProto()
    rest.CopyFrom(model)
    del rest.graph.initializer[:]
    rest.graph.initializer.extend(inside)
    yield rest.SerializeToString()
    with data.open("rb") as file:
        for tensor in outside:
            place = {entry.key: entry.value for entry in tensor.external_data}
            file.seek(int(place["offset"]))
            raw = file.read(int(place["length"]))
            whole = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims, raw_data=raw)
            yield onnx.ModelProto(graph=onnx.GraphProto(initializer=[whole])).SerializeToString()
