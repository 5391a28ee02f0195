"""Weights that are too large for one ONNX file stand beside it, and the model is the same to the last bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import support

from stablequant.errors import ModelError
from stablequant.export import package, parity
from stablequant.export.data_file import DataFile, joined
from stablequant.export.run_folder import PLAN, RunFolder, require_whole
from stablequant.export.targets import TARGETS
from stablequant.export.translate import to_onnx
from stablequant.runtime.registry import RUNTIMES, data_of, graph_files, size


def logits(files: dict[str, Path], runtime: str) -> np.ndarray:
    frontend = support.graft().frontend
    sounds = support.waveforms()[:2]
    return np.concatenate(parity.logits(frontend, RUNTIMES[runtime](files, threads=1), sounds, []))


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_weights_beside_a_float_file_change_nothing(tmp_path: Path, runtime: str) -> None:
    whole = package.write_graphs(support.graft(), None, tmp_path / "whole", TARGETS[runtime])
    beside = package.write_graphs(support.graft(), None, tmp_path / "beside", TARGETS[runtime], most=0)
    assert [p.name for p in (tmp_path / "whole").iterdir()] == [whole["model"].name]
    assert {p.name for p in (tmp_path / "beside").iterdir()} == {beside["model"].name, f"{beside['model'].name}.data"}
    assert beside["model"].stat().st_size < 0.1 * whole["model"].stat().st_size
    assert size(beside.values()) == sum(p.stat().st_size for p in (tmp_path / "beside").iterdir())
    np.testing.assert_array_equal(logits(beside, runtime), logits(whole, runtime))
    # A file that is renamed still finds its weights: they are known by their own name.
    renamed = beside["model"].rename(tmp_path / "beside" / "other.onnx")
    np.testing.assert_array_equal(logits({"model": renamed}, runtime), logits(whole, runtime))


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_int8_files_are_those_that_are_made_in_memory(tmp_path: Path, runtime: str) -> None:
    scheme, store = support.scheme("graft"), support.integer_weights("graft")
    made = to_onnx(support.graft().graphs[0], scheme, store, TARGETS[runtime])
    data = tmp_path / "model.onnx.data"
    with DataFile(data) as tensors:
        proto = to_onnx(support.graft().graphs[0], scheme, store, TARGETS[runtime], tensors)
    beside, whole, plain = tmp_path / "model.onnx", tmp_path / "whole.onnx", tmp_path / "plain.onnx"
    beside.write_bytes(proto.SerializeToString())
    whole.write_bytes(b"".join(joined(proto, data)))
    plain.write_bytes(made.SerializeToString())
    found = onnx.load(whole)
    assert {t.name: t for t in found.graph.initializer} == {t.name: t for t in made.graph.initializer}
    assert list(found.graph.node) == list(made.graph.node)
    expected = logits({"model": plain}, runtime)
    for path in (beside, whole):
        np.testing.assert_array_equal(logits({"model": path}, runtime), expected)


def test_a_run_hands_the_weights_over_with_their_file(tmp_path: Path) -> None:
    with RunFolder(tmp_path).held() as held:
        package.write_graphs(support.graft(), None, held.aside, most=0)
        (held.aside / PLAN).write_text("{}")
        written = held.publish()
    assert {p.name for p in written} == {PLAN, "model.onnx", "model.onnx.data"}
    files = graph_files(tmp_path, ["model"])
    require_whole(tmp_path, [*files.values()])
    data = data_of(files["model"])
    with data.open("r+b") as file:
        file.write(b"x")
    with pytest.raises(ModelError, match=r"model\.onnx\.data is damaged, or of another run"):
        require_whole(tmp_path, [*files.values()])
    data.unlink()
    with pytest.raises(ModelError, match=r"model\.onnx\.data is missing"):
        require_whole(tmp_path, [*files.values()])
