"""An exported model as a folder that needs nothing else: int8 files, processor, tokenizer, configuration, plan."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx

from stablequant.errors import ExportError
from stablequant.export.data_file import DataFile, joined
from stablequant.export.targets import DEFAULT, Target
from stablequant.export.translate import to_onnx
from stablequant.families.checkpoint import PROCESSOR_FILES
from stablequant.families.model import SpeechModel
from stablequant.files import disk_errors, replacing
from stablequant.quantize.plan import Plan
from stablequant.quantize.weights import WeightStore
from stablequant.runtime.registry import data_of, file_names

#: Weights that one file holds: ONNX files are protobuf messages, which end at 2 GiB. Larger ones stand beside the file.
LARGEST = 2**31 - 2**26


def write_graphs(
    model: SpeechModel,
    plan: Plan | None,
    folder: Path,
    target: Target = DEFAULT,
    weights: WeightStore | None = None,
    *,
    most: int = LARGEST,
) -> dict[str, Path]:
    """Write the ONNX files of ``model`` into ``folder``, in int8 where ``plan`` says so (``None``: all in float).

    Args:
        model: What is written.
        plan: How it is quantised.
        folder: Where to.
        target: The runtime that the files are for.
        weights: Integer weights of the model; default: made here.
        most: Bytes of weights that a file holds; where there are more, they are all in a file of their own beside it, which its
            runtime maps to memory (`runtime.registry.data_of`).

    Raises:
        ExportError: The plan's width is not 8 bits, its grids are not what the target takes, or ONNX's own checker refuses a
            file.
        PlanError: The plan was made for another model.
    """
    if plan is not None:
        plan.check(model.fingerprint, (op.name for op in model.ops(matmuls=True)))
        target.check(plan)
    scheme = {} if plan is None else plan.scheme()
    weights = weights or WeightStore.of(model)
    files, names = {}, file_names(model.frontend.head.graphs, target.name)
    for graph in model.graphs:
        files[graph.name] = path = folder / names[graph.name]
        data = data_of(path)
        with disk_errors(path):
            folder.mkdir(parents=True, exist_ok=True)
            with DataFile(data) as tensors:
                proto = to_onnx(graph, scheme, weights, target, tensors)
        with replacing(path) as part:
            part.write_bytes(proto.SerializeToString())
            try:
                onnx.checker.check_model(str(part))
            except onnx.checker.ValidationError as error:
                what = f"{path.name} is not a valid ONNX model ({error})"
                raise ExportError(what) from error
            if tensors.bytes <= most:
                with part.open("wb") as file:
                    file.writelines(joined(proto, data))
                data.unlink()
    return files


def copy_processor(source: Path, folder: Path) -> None:
    """Copy configuration, processor, tokenizer and licence files from the checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    with disk_errors(folder):
        for name in PROCESSOR_FILES:
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)
