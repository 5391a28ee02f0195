"""Olive's static quantisation, from an environment of its own; as a program, what runs in there.

python bench/peers/olive_static.py MODEL.onnx FEEDS.npz OUT.onnx    # prints the version, then the file that was made
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from peers.row import Material, Peer


def static(m: Material) -> Peer:
    """Its pass for static int8 as it comes; with a scale an output channel ONNX Runtime cannot run its decoder."""
    from peers.environment import python_of, run
    from peers.row import in_onnxruntime
    from stablequant.runtime.processor import int8_overflows

    # It imports requests, and does not say so.
    python = python_of("olive", "olive-ai", "onnxruntime", "requests")
    began, made, version = time.perf_counter(), {}, ""
    for graph, path in m.files.items():
        feeds = m.work / f"{graph}.olive.npz"
        np.savez(
            feeds, **{f"{i}/{name}": array for i, feed in enumerate(m.feeds[graph]) for name, array in feed.items()}
        )
        into = m.work / f"{graph}.olive.onnx"
        version, made_here = run([python, Path(__file__), path, feeds, into, str(int8_overflows())]).split("\n")[-3:-1]
        made[graph] = Path(made_here)
    seconds = time.perf_counter() - began
    return in_onnxruntime(f"Olive {version}, static", m.model, made, quantise_seconds=seconds)


def _quantise(model: str, feeds: str, into: str, reduce_range: bool) -> tuple[str, str]:
    """Version and file; runs where Olive is, and nothing of ours."""
    os.environ["OLIVE_DISABLE_TELEMETRY"] = "1"
    import olive
    from olive.data.config import DataConfig
    from olive.data.registry import Registry
    from olive.model import ONNXModelHandler
    from olive.passes.olive_pass import create_pass_from_dict
    from olive.passes.onnx.quantization import OnnxStaticQuantization

    @Registry.register_dataset("calibration_feeds")
    def calibration_feeds(path: str) -> list[tuple[dict[str, Any], int]]:
        samples: dict[str, dict[str, Any]] = {}
        with np.load(path) as file:
            for key in file.files:
                number, _, name = key.partition("/")
                samples.setdefault(number, {})[name] = file[key]
        return [(sample, 0) for sample in samples.values()]

    data = DataConfig(
        name="speech",
        load_dataset_config={"type": "calibration_feeds", "params": {"path": feeds}},
        dataloader_config={"type": "no_auto_batch_dataloader"},
    )
    config = {"data_config": data, "reduce_range": reduce_range}
    made = create_pass_from_dict(OnnxStaticQuantization, config, disable_search=True).run(ONNXModelHandler(model), into)
    return olive.__version__, made.model_path


if __name__ == "__main__":
    print("\n".join(_quantise(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4] == "True")))
