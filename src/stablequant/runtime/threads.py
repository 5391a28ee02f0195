"""How many threads a runtime is given where nobody tells it."""

from __future__ import annotations

import os

#: PyTorch and numpy obey it; ONNX Runtime and OpenVINO know it no more, and take every core of a machine that may be shared.
VARIABLE = "OMP_NUM_THREADS"


def asked_threads() -> int | None:
    """The threads that the environment variable asks for (``4``, or ``4,2`` by level of nesting); None: it asks for none."""
    first = os.environ.get(VARIABLE, "").partition(",")[0].strip()
    return int(first) or None if first.isascii() and first.isdigit() else None
