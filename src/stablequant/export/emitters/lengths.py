"""How many time steps a value has, and which of them an utterance fills, as ONNX values."""

from __future__ import annotations

import numpy as np

from stablequant.export.writer import Writer


def steps(w: Writer, value: str, axis: int) -> str:
    """Size of one axis as a scalar."""

    def write() -> str:
        return w.op("Squeeze", w.op("Shape", value, start=axis, end=axis + 1))

    return w.once(("steps", value, axis), write)


def counted(w: Writer, start: str, stop: str) -> str:
    """The integers from ``start`` up to ``stop``."""
    return w.once(("range", start, stop), lambda: w.op("Range", start, stop, w.constant(np.array(1))))


def valid(w: Writer, value: str, axis: int, lengths: str) -> str:
    """Boolean ``[B, T]``: steps of ``value`` within the utterance."""

    def write() -> str:
        numbers = counted(w, w.constant(np.array(0)), steps(w, value, axis))
        return w.op("Less", numbers, w.op("Unsqueeze", lengths, w.constant([1])))

    return w.once(("valid", value, axis, lengths), write)
