"""Which runtime runs an exported folder, and the folder's files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

from stablequant.errors import ModelError, SettingsError
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend
from stablequant.runtime.openvino import OpenVinoBackend, OpenVinoBfloat16Backend
from stablequant.runtime.processor import has_bfloat16, int8_overflows

#: The marker of a runtime that computes in bfloat16 what is not in int8.
BFLOAT16 = "-bf16"
#: Runtimes that can be chosen; a folder may hold files for others.
RUNTIMES: dict[str, type[OnnxRuntimeBackend] | type[OpenVinoBackend]] = {
    "onnxruntime": OnnxRuntimeBackend,
    "openvino": OpenVinoBackend,
    "openvino-bf16": OpenVinoBfloat16Backend,
}


def target_of(runtime: str) -> str:
    """The target whose files a runtime runs."""
    return runtime.removesuffix(BFLOAT16)


def installed(*, bfloat16: bool = False) -> list[str]:
    """Runtimes that are installed; with ``bfloat16`` those too that compute in it, where the processor does."""
    return [
        runtime
        for runtime in RUNTIMES
        if find_spec(target_of(runtime)) and (target_of(runtime) == runtime or (bfloat16 and has_bfloat16()))
    ]


def file_names(graphs: Sequence[str], runtime: str = "onnxruntime") -> dict[str, str]:
    """Graph name -> file, of a model with ``graphs`` for ``runtime`` or target: model.onnx, model.openvino.onnx."""
    target = target_of(runtime)
    ending = "onnx" if target == "onnxruntime" else f"{target}.onnx"
    return {graph: f"{graph}.{ending}" for graph in graphs}


def data_of(file: Path) -> Path:
    """Where the weights of an ONNX file are that are too large for it; most have none."""
    return file.with_name(f"{file.name}.data")


def size(files: Iterable[Path]) -> int:
    """Bytes of ONNX files, with the weights beside them."""
    return sum(part.stat().st_size for file in files for part in (file, data_of(file)) if part.is_file())


def graph_files(folder: Path, graphs: Sequence[str], runtime: str = "onnxruntime") -> dict[str, Path]:
    """Paths of a model's ONNX files for ``runtime`` or target.

    Raises:
        ModelError: One is missing.
    """
    files = {name: folder / file for name, file in file_names(graphs, runtime).items()}
    if missing := [str(path) for path in files.values() if not path.is_file()]:
        what = f"{', '.join(missing)} is missing"
        fix = f"write it with stablequant export {folder} --target {target_of(runtime)}"
        raise ModelError(what, expected="a folder written by stablequant quantize", fix=fix)
    return files


def is_exported(folder: Path) -> bool:
    """Whether ``folder`` holds an exported model rather than a float checkpoint."""
    return (folder / "plan.json").is_file()


def choose(folder: Path, graphs: Sequence[str]) -> str:
    """The runtime for the int8 files in ``folder``: OpenVINO where it is the fastest, installed, and has files."""
    has_files = all((folder / file).is_file() for file in file_names(graphs, "openvino").values())
    return "openvino" if has_files and _openvino_is_fastest(graphs) else "onnxruntime"


def advice(folder: Path, graphs: Sequence[str]) -> str:
    """How to make ``folder`` faster on this machine, in words; empty if nothing is known that would."""
    if choose(folder, graphs) == "openvino" or not _openvino_is_fastest(graphs):
        return ""
    return f"faster on this processor: stablequant export {folder} --target openvino"


def _openvino_is_fastest(graphs: Sequence[str]) -> bool:
    """Whether OpenVINO is installed, and runs a model with ``graphs`` faster than ONNX Runtime on this processor.

    It does not where its int8 kernels could overflow (`OpenVinoBackend`): ONNX Runtime has int8 kernels there too. A decoder's
    many small steps are faster in ONNX Runtime everywhere (docs/results/speed.md).
    """
    return len(graphs) == 1 and "openvino" in installed() and not int8_overflows()


def open_exported(
    folder: Path, graphs: Sequence[str], *, runtime: str = "", threads: int | None = None
) -> OnnxRuntimeBackend | OpenVinoBackend:
    """The int8 files of ``folder``, ready to run.

    Args:
        folder: What quantize wrote.
        graphs: Of the model, in the order in which they run.
        runtime: Of ``RUNTIMES``; default: as `choose` does.
        threads: Of one operation; default: the runtime's own choice.

    Raises:
        SettingsError: There is no such runtime, or the processor does not compute in what it asks for.
        MissingRuntimeError: It is not installed.
        ModelError: The folder has no files for it.
    """
    runtime = runtime or choose(folder, graphs)
    if runtime not in RUNTIMES:
        what = f"--runtime {runtime}"
        raise SettingsError(what, expected=f"one of {', '.join(RUNTIMES)}, torch")
    if runtime.endswith(BFLOAT16) and not has_bfloat16():
        # OpenVINO would compute in something else, and say nothing.
        what = f"--runtime {runtime}, but this processor does not compute in bfloat16"
        raise SettingsError(what, expected=f"--runtime {target_of(runtime)}")
    return RUNTIMES[runtime](graph_files(folder, graphs, runtime), threads=threads)
