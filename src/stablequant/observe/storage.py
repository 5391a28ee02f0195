"""Histograms on disk: one npz file for a whole model, sparse, without pickle, written in one step."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stablequant.errors import DataError, ResourceError
from stablequant.files import json_value
from stablequant.grid.histogram import MANTISSA_BITS, MAX_EXPONENT, MIN_EXPONENT, Histogram

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = {"version": 1, "mantissa_bits": MANTISSA_BITS, "exponents": [MIN_EXPONENT, MAX_EXPONENT]}


def save_histograms(
    path: str | Path, histograms: Mapping[str, Histogram], meta: Mapping[str, Any] | None = None
) -> None:
    """Write histograms and a JSON-serialisable description; an old file stays whole until the new one is.

    Raises:
        ResourceError: The file cannot be written, as when the disk is full.
    """
    path = Path(path)
    header = {"format": FORMAT, "names": list(histograms), "meta": dict(meta or {})}
    parts = [histogram.to_arrays() for histogram in histograms.values()]
    arrays = {key: np.concatenate([part[key] for part in parts]) for key in (parts[0] if parts else ())}
    arrays["sizes"] = np.array([len(part["index"]) for part in parts], np.int64)
    arrays["header"] = np.array(json.dumps(header))
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        partial.replace(path)
    except OSError as error:
        what = f"{path} cannot be written: {error.strerror or error}"
        raise ResourceError(what, fix="free some space, or choose another output folder") from error
    finally:
        partial.unlink(missing_ok=True)


def load_histograms(path: str | Path) -> tuple[dict[str, Histogram], dict[str, Any]]:
    """Read what `save_histograms` wrote: the histograms by name, and the description.

    Raises:
        DataError: The file is missing, damaged, or of another format.
    """
    fix = f"remove {path}: the next run observes the activations again"
    try:
        with np.load(Path(path), allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        header = json_value(str(arrays["header"]))
        form, names, meta = header["format"], header["names"], header["meta"]
        sizes = arrays["sizes"]
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        what = f"{path} cannot be read as histograms: {error}"
        raise DataError(what, expected="a file written by save_histograms", fix=fix) from error
    if form != FORMAT:
        what = f"{path} has histogram format {form}"
        raise DataError(what, expected=str(FORMAT), fix=fix)
    stops = np.cumsum(sizes)[:-1]
    if not names:
        return {}, meta
    columns = zip(names, np.split(arrays["index"], stops), np.split(arrays["counts"], stops), strict=True)
    ends = arrays["ends"].reshape(-1, 2)
    histograms = {
        name: Histogram.from_arrays({"index": index, "counts": counts, "ends": ends[i]}, name)
        for i, (name, index, counts) in enumerate(columns)
    }
    return histograms, meta
