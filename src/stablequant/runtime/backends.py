"""Which runtime runs an exported folder, and the folder's files."""

from __future__ import annotations

from pathlib import Path

from stablequant.errors import ModelError
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend

#: Graph name -> file, for each shape of model.
FILES = {"ctc": {"model": "model.onnx"}, "seq2seq": {"encoder": "encoder.onnx", "decoder": "decoder.onnx"}}


def graph_files(folder: Path, shape: str) -> dict[str, Path]:
    """Paths of a model's ONNX files.

    Raises:
        ModelError: One is missing.
    """
    files = {name: folder / file for name, file in FILES[shape].items()}
    if missing := [str(path) for path in files.values() if not path.is_file()]:
        what = f"{', '.join(missing)} is missing"
        raise ModelError(what, expected="a folder written by stablequant quantize")
    return files


def is_exported(folder: Path) -> bool:
    """Whether ``folder`` holds an exported model rather than a float checkpoint."""
    return (folder / "plan.json").is_file()


def open_exported(folder: Path, shape: str, *, threads: int | None = None) -> OnnxRuntimeBackend:
    """The int8 files of ``folder``, ready to run."""
    return OnnxRuntimeBackend(graph_files(folder, shape), threads=threads)
