"""What ONNX Runtime makes of the files."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.parser
import onnxruntime
import pytest
import support

from stablequant.runtime import onnxruntime as backend
from stablequant.runtime.onnxruntime import DISABLED, EXACT
from stablequant.runtime.openvino import OpenVinoBackend


@pytest.mark.parametrize("name", support.MODELS)
def test_products_are_int8_kernels_and_nothing_is_computed_in_every_run_that_can_be_once(
    name: str, tmp_path: Path
) -> None:
    """A few convolutions stay in float; their weights are multiplied out once. Values given out are not copied."""
    protos = support.onnx_files(name, support.scheme(name))
    for graph in support.MODELS[name]().graphs:
        proto = protos[graph.name]
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / f"{graph.name}.onnx")
        for key, value in EXACT.items():
            options.add_session_config_entry(key, value)
        onnxruntime.InferenceSession(proto.SerializeToString(), options, disabled_optimizers=list(DISABLED))
        optimised = onnx.load(options.optimized_model_filepath).graph
        kernels = sum(node.op_type == "MatMulIntegerToFloat" for node in optimised.node)
        assert kernels == len(graph.quantisable()) - sum(node.op_type == "Conv" for node in optimised.node)
        constants = {i.name for i in optimised.initializer}
        made = {out for node in optimised.node for out in node.output}
        for node in optimised.node:
            assert node.op_type != "Conv" or node.input[1] in constants
            assert node.op_type != "DequantizeLinear" or node.input[0] not in constants
            assert node.op_type != "Identity" or node.input[0] not in made


def test_products_of_uint8_and_int8_are_left_as_they_are_where_they_cannot_overflow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those of uint8 and uint8 take twice as long there."""
    monkeypatch.setattr(backend, "int8_overflows", lambda: False)
    assert backend.configuration() == {}
    monkeypatch.setattr(backend, "int8_overflows", lambda: True)
    assert backend.configuration() == EXACT


@pytest.mark.parametrize(
    ("asked", "threads", "given"),
    [("1", None, 1), (" 2,1", None, 2), ("2", 1, 1), ("", None, 0), ("0", None, 0), ("all", None, 0)],
)
def test_both_runtimes_take_as_many_threads_as_the_environment_asks_for(
    monkeypatch: pytest.MonkeyPatch, asked: str, threads: int | None, given: int
) -> None:
    """0 is their own choice; what is given to them goes first."""
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    model = '<ir_version: 8, opset_import: ["": 17]> case (float[t] x) => (float[t] y) { y = Relu(x) }'
    files: dict[str, Path | bytes] = {"case": onnx.parser.parse_model(model).SerializeToString()}
    (session,) = backend.OnnxRuntimeBackend(files, threads=threads).sessions.values()
    assert session.get_session_options().intra_op_num_threads == given
    (request,) = OpenVinoBackend(files, threads=threads).requests.values()
    assert request.get_compiled_model().get_property("INFERENCE_NUM_THREADS") == given or not given
