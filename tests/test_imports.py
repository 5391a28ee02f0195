"""Every module can be the first that a process imports, as in a worker that unpickles its task: no import is circular."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import stablequant

SOURCE = Path(stablequant.__file__).parent

# Packages that take seconds to load are loaded once; each module then has a fork of its own, without any other of ours.
EACH_ALONE = """
import importlib, os, sys, traceback
import numpy, onnx, onnxruntime, pydantic, torch, transformers
for name in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        try:
            importlib.import_module(name)
        except BaseException:
            print(name, traceback.format_exc(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_every_module_can_be_imported_first() -> None:
    paths = [path.relative_to(SOURCE.parent).with_suffix("") for path in SOURCE.rglob("*.py")]
    names = sorted(".".join(p.parts).removesuffix(".__init__") for p in paths if p.name != "__main__")
    assert len(names) > 50
    ran = subprocess.run([sys.executable, "-c", EACH_ALONE, *names], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr
