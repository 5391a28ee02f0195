"""ONNX Runtime behind the interface that decoding uses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from stablequant.errors import ExportError, memory_ran_out
from stablequant.memory import give_back
from stablequant.runtime.outputs import Outputs
from stablequant.runtime.processor import int8_overflows
from stablequant.runtime.threads import asked_threads

#: ONNX Runtime folds MatMul + Add into Gemm, which its int8 fusions do not know: a quantised layer then runs in float. And its
#: kernel of Add + Gelu is slower than both by themselves, of which Gelu has AVX512 (bench/row_kernels.py).
DISABLED = ("MatMulAddFusion", "BiasGeluFusion")
#: x86 without VNNI adds two products of uint8 and int8 in 16 bits, which can overflow; uint8 by uint8 cannot, as fast there.
#: With VNNI the former is right, and faster than the latter (docs/results/speed.md).
EXACT = {"session.x64quantprecision": "1"}


def configuration() -> dict[str, str]:
    """Settings of a session that this processor needs to be right."""
    return EXACT if int8_overflows() else {}


class OnnxRuntimeBackend:
    """Sessions of a model's ONNX files."""

    def __init__(self, files: Mapping[str, Path | bytes], *, threads: int | None = None, optimise: bool = True) -> None:
        """Load ``files`` (graph name -> path or serialised model).

        Args:
            files: What to run.
            threads: Of one operation; default: as many as OMP_NUM_THREADS asks for, or ONNX Runtime's own choice.
            optimise: False runs every node as written, the reference that an optimised graph is compared with.

        Raises:
            ExportError: ONNX Runtime refuses a file.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what it logs as an error it raises as well
        for key, value in configuration().items():
            options.add_session_config_entry(key, value)
        if threads := threads or asked_threads():
            options.intra_op_num_threads = threads
        level = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
        self.sessions: dict[str, Any] = {}
        self._outputs: dict[str, list[str]] = {}
        self._labels = {n: "a model in memory" if isinstance(file, bytes) else str(file) for n, file in files.items()}
        for name, file in files.items():
            source = file if isinstance(file, bytes) else str(file)
            try:
                self.sessions[name] = onnxruntime.InferenceSession(
                    source, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(DISABLED)
                )
            except Exception as error:  # ONNX Runtime's errors share no base of their own
                if memory_ran_out(error):
                    raise
                what = f"ONNX Runtime cannot load {self._labels[name]} ({error})"
                raise ExportError(what, fix="export again with stablequant quantize") from error
            # Asked for at every step of a decoder it would cost as much as all else here together.
            self._outputs[name] = [output.name for output in self.sessions[name].get_outputs()]
        give_back()  # weights as they lay in the file: kernels have copies, arranged in their own way

    @property
    def name(self) -> str:
        """Runtime and version."""
        import onnxruntime

        return f"onnxruntime {onnxruntime.__version__}"

    def run(self, graph: str, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs of ``graph`` by name.

        Raises:
            ExportError: The file takes other inputs, as another model's does, or fails on these.
        """
        names = self._outputs[graph]
        try:
            found = self.sessions[graph].run(names, dict(feeds))
        except Exception as error:  # as open-ended as at loading
            if memory_ran_out(error):
                raise
            what = f"ONNX Runtime cannot run {self._labels[graph]} ({error})"
            raise ExportError(what, fix="export again with stablequant quantize") from error
        return Outputs(self._labels[graph], zip(names, found, strict=True))

    def put(self, array: NDArray[Any]) -> NDArray[Any]:
        """As it is."""
        return array

    def get(self, array: NDArray[Any]) -> NDArray[Any]:
        """As it is."""
        return array
