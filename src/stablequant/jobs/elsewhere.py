"""Write a folder's int8 files in the layout of another program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from stablequant.errors import ModelError, SettingsError
from stablequant.export.elsewhere import LAYOUTS
from stablequant.export.run_folder import require_whole
from stablequant.families.checkpoint import load_frontend
from stablequant.files import replacing
from stablequant.quantize.plan import Plan
from stablequant.runtime.registry import graph_files, is_exported


def lay_out(folder: Path, layout: str) -> dict[str, Any]:
    """Write the files for ONNX Runtime in ``folder`` as ``layout`` has them, into a folder of that name in it.

    Raises:
        SettingsError: There is no such layout.
        ModelError: ``folder`` is not what quantize wrote.
        ExportError: The program has no layout for the model.
    """
    if layout not in LAYOUTS:
        what = f"--layout {layout[:100]}"
        raise SettingsError(what, expected=f"one of {', '.join(LAYOUTS)}")
    if not is_exported(folder):
        what = f"{folder} has no plan.json"
        raise ModelError(what, expected="a folder written by stablequant quantize")
    plan = Plan.load(folder / "plan.json")
    frontend = load_frontend(folder, plan.model.details.get("language"))
    paths = graph_files(folder, frontend.head.graphs)
    require_whole(folder, [*paths.values()])
    found = LAYOUTS[layout](frontend, {name: onnx.load(path) for name, path in paths.items()})
    for name, content in found.items():
        with replacing(folder / layout / name) as part:
            part.write_bytes(content)
    return {"model": str(folder), "layout": layout, "files": [str(folder / layout / name) for name in found]}
