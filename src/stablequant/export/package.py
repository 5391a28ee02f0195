"""An exported model as a folder that needs nothing else: int8 files, processor, tokenizer, configuration, plan."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx

from stablequant.errors import ExportError
from stablequant.export.targets import DEFAULT, Target
from stablequant.export.translate import to_onnx
from stablequant.families.checkpoint import PROCESSOR_FILES
from stablequant.families.model import SpeechModel
from stablequant.files import disk_errors, replacing
from stablequant.quantize.plan import Plan
from stablequant.quantize.weights import WeightStore
from stablequant.runtime.registry import file_names

#: ONNX files are protobuf messages, which end at 2 GiB; larger weights would have to stand beside them.
LARGEST = 2**31 - 1


def write_graphs(
    model: SpeechModel,
    plan: Plan | None,
    folder: Path,
    target: Target = DEFAULT,
    weights: WeightStore | None = None,
) -> dict[str, Path]:
    """Write the ONNX files of ``model`` into ``folder``, in int8 where ``plan`` says so (``None``: all in float).

    Args:
        model: What is written.
        plan: How it is quantised.
        folder: Where to.
        target: The runtime that the files are for.
        weights: Integer weights of the model; default: made here.

    Raises:
        ExportError: The plan's width is not 8 bits, its grids are not what the target takes, a file would be too large, or
            ONNX's own checker refuses it.
        PlanError: The plan was made for another model.
    """
    if plan is not None:
        plan.check(model.fingerprint, (op.name for op in model.ops(matmuls=True)))
        target.check(plan)
    scheme = {} if plan is None else plan.scheme()
    weights = weights or WeightStore.of(model)
    files, names = {}, file_names(model.frontend.head.graphs, target.name)
    for graph in model.graphs:
        path = folder / names[graph.name]
        proto = to_onnx(graph, scheme, weights, target)
        if proto.ByteSize() > LARGEST:
            what = f"{path.name} would take {proto.ByteSize():,} bytes"
            raise ExportError(what, expected="at most 2 GiB, what one ONNX file can hold")
        try:
            onnx.checker.check_model(proto)
        except onnx.checker.ValidationError as error:
            what = f"{path.name} is not a valid ONNX model ({error})"
            raise ExportError(what) from error
        with replacing(path) as part:
            part.write_bytes(proto.SerializeToString())
        files[graph.name] = path
    return files


def copy_processor(source: Path, folder: Path) -> None:
    """Copy configuration, processor, tokenizer and licence files from the checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    with disk_errors(folder):
        for name in PROCESSOR_FILES:
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)
