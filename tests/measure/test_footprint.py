"""Memory and load time come from a process of their own, and tell a large model from a small one."""

from __future__ import annotations

from pathlib import Path

import pytest
import support

from stablequant.errors import ResourceError
from stablequant.measure import footprint


def written(folder: Path, scheme: dict) -> dict[str, Path]:
    files = {}
    for graph, proto in support.onnx_files("moonshine", scheme).items():
        files[graph] = folder / f"{graph}.onnx"
        files[graph].write_bytes(proto.SerializeToString())
    return files


def test_int8_files_take_less_memory_than_float_ones(tmp_path: Path) -> None:
    frontend, found = support.moonshine().frontend, []
    for scheme in ({}, support.scheme("moonshine")):
        files = written(tmp_path, scheme)
        found.append(footprint.measure(files, "onnxruntime", frontend, seconds=1.0))
    in_float, int8 = found
    # Python and the runtime alone: well below what PyTorch would bring.
    assert all(2e7 < f.idle_rss_bytes < 2e8 and f.load_seconds > 0 for f in found)
    weights = support.moonshine().float_bytes
    assert in_float.peak_rss_bytes > in_float.idle_rss_bytes + weights
    assert int8.peak_rss_bytes < in_float.peak_rss_bytes - 0.5 * weights


def test_a_process_that_dies_is_told_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"junk")
    with pytest.raises(ResourceError, match=r"model.onnx died \(exit code 1\).*ONNX Runtime cannot load"):
        footprint.measure({"model": path}, "onnxruntime", support.graft().frontend)
