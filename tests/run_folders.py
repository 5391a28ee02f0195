"""Folders that quantize wrote, changed by hand: as if a run had left them so."""

from __future__ import annotations

import json
from pathlib import Path

from stablequant.export.run_folder import MANIFEST
from stablequant.files import file_digest


def list_anew(folder: Path) -> None:
    """Let the manifest of ``folder`` say what its files are now, so that a change is met by what reads the file itself."""
    path = folder / MANIFEST
    found = json.loads(path.read_text())
    for name in found["files"]:
        if (folder / name).is_file():
            found["files"][name] = {"sha256": file_digest(folder / name), "bytes": (folder / name).stat().st_size}
    found["plan"] = found["files"]["plan.json"]["sha256"]
    path.write_text(json.dumps(found))
