"""Which runtime runs an exported folder, and the folder's files."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from stablequant.errors import ModelError, SettingsError
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend
from stablequant.runtime.openvino import OpenVinoBackend
from stablequant.runtime.processor import int8_overflows

#: Graphs of each shape of model.
GRAPHS = {"ctc": ("model",), "seq2seq": ("encoder", "decoder")}
#: Runtimes that can be chosen; a folder may hold files for others.
RUNTIMES: dict[str, type[OnnxRuntimeBackend] | type[OpenVinoBackend]] = {
    "onnxruntime": OnnxRuntimeBackend,
    "openvino": OpenVinoBackend,
}


def file_names(shape: str, target: str = "onnxruntime") -> dict[str, str]:
    """Graph name -> file, of a model of ``shape`` for ``target``: model.onnx, model.openvino.onnx."""
    ending = "onnx" if target == "onnxruntime" else f"{target}.onnx"
    return {graph: f"{graph}.{ending}" for graph in GRAPHS[shape]}


def graph_files(folder: Path, shape: str, target: str = "onnxruntime") -> dict[str, Path]:
    """Paths of a model's ONNX files for ``target``.

    Raises:
        ModelError: One is missing.
    """
    files = {name: folder / file for name, file in file_names(shape, target).items()}
    if missing := [str(path) for path in files.values() if not path.is_file()]:
        what = f"{', '.join(missing)} is missing"
        mend = f"write it with stablequant export {folder} --target {target}"
        raise ModelError(what, expected="a folder written by stablequant quantize", mend=mend)
    return files


def is_exported(folder: Path) -> bool:
    """Whether ``folder`` holds an exported model rather than a float checkpoint."""
    return (folder / "plan.json").is_file()


def choose(folder: Path, shape: str) -> str:
    """The runtime for the int8 files in ``folder``: OpenVINO where it is installed, has files, and its int8 kernels serve.

    They do not where they could overflow (`OpenVinoBackend`): ONNX Runtime has int8 kernels there too.
    """
    has_files = all((folder / file).is_file() for file in file_names(shape, "openvino").values())
    if has_files and find_spec("openvino") is not None and not int8_overflows():
        return "openvino"
    return "onnxruntime"


def open_exported(
    folder: Path, shape: str, *, runtime: str = "", threads: int | None = None
) -> OnnxRuntimeBackend | OpenVinoBackend:
    """The int8 files of ``folder``, ready to run.

    Args:
        folder: What quantize wrote.
        shape: "ctc" or "seq2seq".
        runtime: "onnxruntime" or "openvino"; default: as `choose` does.
        threads: Of one operation; default: the runtime's own choice.

    Raises:
        SettingsError: There is no such runtime.
        MissingRuntimeError: It is not installed.
        ModelError: The folder has no files for it.
    """
    runtime = runtime or choose(folder, shape)
    if runtime not in RUNTIMES:
        what = f"--runtime {runtime}"
        raise SettingsError(what, expected=f"one of {', '.join(RUNTIMES)}, torch")
    return RUNTIMES[runtime](graph_files(folder, shape, runtime), threads=threads)
