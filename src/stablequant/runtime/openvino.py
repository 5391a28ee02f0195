"""OpenVINO behind the interface that decoding uses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from stablequant.errors import ExportError, MissingRuntimeError, memory_ran_out
from stablequant.runtime.outputs import Outputs
from stablequant.runtime.processor import int8_overflows
from stablequant.runtime.threads import asked_threads

#: Inputs of layers that the plan leaves in float are not rounded.
CONFIGURATION = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
#: OpenVINO's int8 kernels add two products in 16 bits on x86 without VNNI. They are off there: float kernels then multiply
#: the same int8 operands, which gives the right result, and sooner (docs/results/speed.md).
WITHOUT_INT8_KERNELS = {"LP_TRANSFORMS_MODE": "NO"}
_AGAIN = "export again with stablequant export --target openvino"


class OpenVinoBackend:
    """Compiled models of a model's ONNX files, one a graph, for any batch and length."""

    #: What is not in int8 is computed in.
    precision = "f32"

    def __init__(self, files: Mapping[str, Path | bytes], *, threads: int | None = None) -> None:
        """Load ``files`` (graph name -> path or serialised model).

        Args:
            files: What to run.
            threads: Of one inference; default: as many as OMP_NUM_THREADS asks for, or OpenVINO's own choice.

        Raises:
            MissingRuntimeError: OpenVINO is not installed.
            ExportError: OpenVINO refuses a file.
        """
        core = _openvino().Core()
        settings = (
            CONFIGURATION
            | {"INFERENCE_PRECISION_HINT": self.precision}
            | (WITHOUT_INT8_KERNELS if int8_overflows() else {})
        )
        if threads := threads or asked_threads():
            settings = settings | {"INFERENCE_NUM_THREADS": str(threads)}
        self.requests: dict[str, Any] = {}
        self._outputs: dict[str, list[str]] = {}
        self._labels = {n: "a model in memory" if isinstance(file, bytes) else str(file) for n, file in files.items()}
        for name, file in files.items():
            try:
                model = core.read_model(file if isinstance(file, bytes) else str(file))
                compiled = core.compile_model(model, "CPU", settings)
            except Exception as error:  # OpenVINO raises RuntimeError for anything
                if memory_ran_out(error):
                    raise
                what = f"OpenVINO cannot load {self._labels[name]} ({_reason(error)})"
                raise ExportError(what, fix=_AGAIN) from error
            self.requests[name] = compiled.create_infer_request()
            # A tensor has a name for every node that it passes through; its result has the one from the file.
            results = [output.node.get_friendly_name() for output in compiled.outputs]
            self._outputs[name] = [result.removesuffix("/sink_port_0") for result in results]

    @property
    def name(self) -> str:
        """Runtime and version."""
        version: str = _openvino().__version__
        return f"openvino {version.split('-')[0]}" + (", bfloat16" if self.precision == "bf16" else "")

    def run(self, graph: str, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs of ``graph`` by name.

        Raises:
            ExportError: The file takes other inputs, as another model's does, or fails on these.
        """
        try:
            # Inputs are read where they lie; outputs are copied, as the next run writes over them.
            found = self.requests[graph].infer(dict(feeds), share_inputs=True)
        except Exception as error:
            if memory_ran_out(error):
                raise
            what = f"OpenVINO cannot run {self._labels[graph]} ({_reason(error)})"
            raise ExportError(what, fix=_AGAIN) from error
        return Outputs(self._labels[graph], ((name, found[name]) for name in self._outputs[graph]))

    def put(self, array: NDArray[Any]) -> NDArray[Any]:
        """As it is."""
        return array

    def get(self, array: NDArray[Any]) -> NDArray[Any]:
        """As it is."""
        return array


class OpenVinoBfloat16Backend(OpenVinoBackend):
    """The same with bfloat16 between the int8 products: faster where the processor has it, and each value keeps 8 bits."""

    precision = "bf16"


def _openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        what = f"OpenVINO is not installed ({error})"
        raise MissingRuntimeError(
            what, fix="pip install 'stablequant[openvino]', or use --runtime onnxruntime"
        ) from error
    return openvino


def _reason(error: Exception) -> str:
    """What OpenVINO says behind the places in its own source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
