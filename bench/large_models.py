"""What large models need to be quantised: peak memory and seconds of each step, in a process of its own.

    python bench/large_models.py
    python bench/large_models.py --models XLS-R-1B-28-layers --steps write float32-onnxruntime int8-onnxruntime
    python bench/large_models.py --models HuBERT-large --steps default     # hours: GPTQ of a large model on one thread

The shapes of published models with random weights, in bfloat16 shards (bench/sharded_models.py). Random weights transcribe
nothing, and take what trained ones take. Speech is the shortest real recordings of examples/asterisk, so few of each split that
a step ends soon. `fast` and `default` are whole runs of stablequant quantize; `moments`, `round` and `estimate` are the parts of
the latter that take most memory: GPTQ's moments, GPTQ of the widest layers, and the backward pass. Peak memory is what Linux
tells of the process (VmHWM), mapped files included. Beside it stands what Python and its libraries take before a model is
loaded. `write` and a step for each kind of file behind it (bench/large_files.py) leave the search out: they write a model in
float and in int8, load each file in its runtime, and compare what it says to one recording with the simulation. Steps that are
not asked for stay as they were measured.
Writes bench/results/large_models.json after every step.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import inputs  # first: it sets what torch reads when it is imported
import large_files
import torch
from result_path import ROOT, load_result, result_path, save
from sharded_models import SHARDED, sharded
from tables import large_files as large_files_table
from tables import large_models

from stablequant.data import manifest
from stablequant.data.audio import read
from stablequant.data.speech import Speech
from stablequant.families.checkpoint import load
from stablequant.families.model import SpeechModel
from stablequant.jobs.export import export
from stablequant.jobs.quantize import quantize
from stablequant.jobs.speech import read_splits
from stablequant.measure.memory import peak
from stablequant.observe.collect import observe
from stablequant.observe.moments import StoredMoments, moments_once
from stablequant.processes import Process
from stablequant.quantize.scheme import weight_spec
from stablequant.quantize.simulate import Simulator
from stablequant.quantize.weights import WeightStore
from stablequant.recipes import recipe
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend
from stablequant.search.allocate import layer_options
from stablequant.search.fisher import estimate
from stablequant.search.objective import Divergence
from stablequant.search.trials import Trials
from stablequant.settings import Settings

NAME = "large_models"
#: Given to no model; a run with random weights may write where it likes.
RUNS = large_files.RUNS


def few(recordings: int) -> str:
    """A manifest of the shortest ``recordings`` of each split that a model with a wide kernel still takes."""
    folder, rows = ROOT / inputs.DATA[0], []
    known = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    for split in ("train", "dev", "test"):
        rows += sorted((row for row in known if row["split"] == split), key=lambda row: float(row["duration"]))[
            :recordings
        ]
    path = RUNS / f"{recordings}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({**row, "audio": str(folder / row["audio"])}) + "\n" for row in rows))
    return str(path)


def _idle(folder: Path, speech: str) -> None:
    """All libraries, and no model."""
    OnnxRuntimeBackend({})


def _load(folder: Path, speech: str) -> None:
    load(folder)


def _observe(folder: Path, speech: str) -> None:
    model = load(folder)
    first = manifest.load([speech])[0]
    observe(model, [[read(first, model.frontend.sampling_rate)]])


def _quantise(folder: Path, speech: str, name: str) -> None:
    settings = Settings.parse(recipe(name).settings)
    quantize(str(folder), [speech], RUNS / folder.name / name, settings, force=True)


def _fast(folder: Path, speech: str) -> None:
    _quantise(folder, speech, "fast")


def _parts(folder: Path, speech: str) -> tuple[SpeechModel, Mapping[str, Speech], Settings]:
    """What the default recipe works on."""
    settings = Settings.parse(recipe("default").settings)
    model = load(folder)
    parts, _, settings = read_splits(model.frontend, [speech], settings)
    return model, parts, settings


def _moments(folder: Path, speech: str) -> None:
    """Of the default recipe: the inputs' moments, into a file."""
    model, parts, _ = _parts(folder, speech)
    moments_once(model, parts["calibration"], _moments_file(folder))


def _round(folder: Path, speech: str) -> None:
    """Of the default recipe: GPTQ of the layers with the most inputs and outputs, all others being rounded already."""
    model, _, settings = _parts(folder, speech)
    spec = weight_spec(settings.weights)
    store, weights = WeightStore.of(model, StoredMoments(_moments_file(folder))), model.layer_weights()
    widest = [max(weights, key=lambda name, axis=axis: weights[name].shape[axis]) for axis in (0, 1)]  # type: ignore[misc]
    for layer in weights:
        store.codes(layer, replace(spec, rounding="nearest", correct_bias=False))
    for layer in dict.fromkeys(widest):
        store.codes(layer, spec)


def _estimate(folder: Path, speech: str) -> None:
    """Of the default recipe: what each layer's rounding costs, by a backward pass; all integer weights are there."""
    model, parts, settings = _parts(folder, speech)
    histograms = observe(model, [parts["calibration"].waveforms])
    store = WeightStore.of(model)
    for op in model.ops():
        store.codes(op.name, replace(weight_spec(settings.weights), rounding="nearest", correct_bias=False))
    trials = Trials(Simulator(model, weights=store), parts["dev"], settings, Divergence())
    estimate(trials, layer_options(trials, histograms, settings))


def _moments_file(folder: Path) -> Path:
    return RUNS / folder.name / "moments.safetensors"


def _default(folder: Path, speech: str) -> None:
    _quantise(folder, speech, "default")


def _export(folder: Path, speech: str) -> None:
    """Of what the fast recipe left, for OpenVINO."""
    export(RUNS / folder.name / "fast", "openvino")


def _file(kind: str, runtime: str) -> Callable[[Path, str], Mapping[str, Any]]:
    """Of what `write` left: a kind of file in a runtime, on as many threads as PyTorch was given."""
    return lambda folder, speech: large_files.compare(folder, kind, runtime, torch.get_num_threads())


#: What each does to a checkpoint with the speech of a manifest; some tell more than what they take.
STEPS: dict[str, Callable[[Path, str], Mapping[str, Any] | None]] = {
    "idle": _idle,
    "load": _load,
    "observe": _observe,
    "fast": _fast,
    "export": _export,
    "moments": _moments,
    "round": _round,
    "estimate": _estimate,
    "write": large_files.write,
    **{
        f"{kind}-{runtime}": _file(kind, runtime)
        for kind in large_files.KINDS
        for runtime in ("onnxruntime", "openvino")
    },
    "default": _default,
}


def measured(step: str, folder: Path, speech: str, threads: int) -> Iterator[dict[str, Any]]:
    """What a step takes, in the process that calls this."""
    torch.set_num_threads(threads)
    began = time.perf_counter()
    more = STEPS[step](folder, speech) or {}
    yield {"peak_bytes": peak(), "seconds": round(time.perf_counter() - began, 1), **more}


def in_a_process(step: str, folder: Path, speech: str, threads: int) -> Mapping[str, Any]:
    """The same in a fresh one; where it fails, why."""
    import large_models  # by its name: another process knows no __main__ of this one

    with Process() as process:
        process.start(large_models.measured, step, folder, speech, threads)
        kind, content = process.receive()
    found: Mapping[str, Any] = content if kind == "piece" else {"failed": f"{kind}: {content}"}
    return found


def facts(folder: Path) -> dict[str, Any]:
    """Parameters of a checkpoint, from the headers of its files."""
    from safetensors import safe_open

    index = json.loads((folder / "model.safetensors.index.json").read_text())
    count = 0
    for file in sorted(set(index["weight_map"].values())):
        with safe_open(folder / file, "pt") as tensors:
            count += sum(torch.Size(tensors.get_slice(key).get_shape()).numel() for key in tensors.keys())  # noqa: SIM118
    return {"parameters": count, "float_bytes": 4 * count}


def main() -> None:
    """Measure every step of every model."""
    parser = inputs.arguments_of(__doc__)
    parser.add_argument("--models", nargs="+", choices=SHARDED, default=list(SHARDED))
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=[step for step in STEPS if step != "default"])
    parser.add_argument("--recordings", type=int, default=2, help="of each split")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="checkpoints and runs, gigabytes each")
    arguments = parser.parse_args()
    models = load_result(NAME)["models"] if result_path(NAME).is_file() else {}
    speech = few(arguments.recordings)
    for name in arguments.models:
        folder = sharded(name)
        row = models.setdefault(name, facts(folder) | {"steps": {}})
        for step in arguments.steps:
            found = in_a_process(step, folder, speech, arguments.threads)
            row["steps"][step] = {**found, "recordings": arguments.recordings, "threads": arguments.threads}
            result = {"command": f"python bench/large_models.py --recordings {arguments.recordings}", "models": models}
            print(large_models.table(save(NAME, result)), large_files_table.table(NAME), sep="\n\n", flush=True)
        if not arguments.keep:
            shutil.rmtree(folder)
            shutil.rmtree(RUNS / name, ignore_errors=True)


if __name__ == "__main__":
    main()
