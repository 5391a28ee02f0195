"""Models of usual sizes, random weights: the int8 file beside every float backend and other ways to int8.

    pip install '.[peers]'
    python bench/sizes.py --threads 1 2
    python bench/sizes.py --models wav2vec2-base HuBERT-large --brief --no-peers --seconds 30 --name sizes-30s

wav2vec2-base, HuBERT-large, whisper-small and the first layers of conformers (bench/random_models.py) as their configurations
have them, with one calibrated scale an input and with a scale a frame wherever a layer can have one; what the default recipe
chooses lies between. Random weights transcribe nothing, so there is no error rate, and grids come from one pass over noise
instead of a search; neither changes a time. The baseline is the fastest float32 of ONNX Runtime and OpenVINO on the graph
without a plan, transformers' own model in PyTorch, and the same compiled; where the processor computes in bfloat16 there are
rows for that. All take turns, with the same features. Memory and load time come from a process of their own each. A backend or
peer that fails is listed with its reason. Beside each speed stands how far the logits are from ONNX Runtime's in float on the
same audio, and where they have nothing to do with them, that and why (bench/peers/difference.py).
An encoder-decoder runs its encoder on the whole window, and its decoder for three tokens a second of audio, the same number in
every row, so its outputs are not compared; it has no peers here, since theirs would say what they like, and no compiled row,
since its cache grows with each step.
``--brief`` leaves out PyTorch, memory, and all peers but two that run in the same runtimes; conformers have those two in any
case, and on more threads than one there are our runtimes alone. On one thread the seconds are those that this process
computes, so that others on the machine count less. Adds to bench/results/NAME.json, a model at a time; what it holds of
another machine or other audio goes.
"""

from __future__ import annotations

import gc
import json
import shlex
import statistics
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import inputs  # first: it sets what torch reads when it is imported
import numpy as np
import torch
from peers.difference import compared
from peers.quantisers import QUANTISERS
from peers.row import Files, Material, Peer, size
from random_models import LAYERS, NETWORKS, WHISPERS, checkpoint
from result_path import result_path, save
from tables import sizes
from transformers import AutoModelForCTC, AutoModelForSpeechSeq2Seq

from stablequant.export.targets import TARGETS
from stablequant.export.translate import to_onnx
from stablequant.families.checkpoint import load
from stablequant.families.model import SpeechModel
from stablequant.measure import footprint
from stablequant.measure.latency import interleaved
from stablequant.network.backend import Backend
from stablequant.observe.collect import observe
from stablequant.quantize import calibrated
from stablequant.quantize.by_frame import by_frame
from stablequant.quantize.weights import WeightStore
from stablequant.runtime.processor import has_bfloat16, machine
from stablequant.runtime.registry import RUNTIMES, installed, target_of
from stablequant.settings import Settings

#: Of whole models, first layers of conformers, and encoder-decoders.
ALL = (*NETWORKS, *WHISPERS)
USUAL: Mapping[str, Any] = {"seconds": 10.0, "batch": 1, "rounds": 5, "name": "sizes"}
#: Decoder steps for a second of audio: English speech takes 2 to 4 tokens.
STEPS_A_SECOND = 3
#: Peers whose other modes give graphs of the same speed.
BESIDE = (
    "ONNX Runtime, dynamic",
    "Optimum, dynamic",
    "ONNX Runtime, static, percentile",
    "NNCF, post-training",
    "torchao, dynamic",
)
#: Of those, the ones that run in our runtimes as we let them.
BRIEFLY = ("ONNX Runtime, dynamic", "NNCF, post-training")
#: What all outputs are compared with.
REFERENCE = "float32, onnxruntime"
Feeds = Mapping[str, Any]
#: Gives logits; the argument is of no use, as the input is always the same.
Runner = Callable[[Any], Any]


def noise(seconds: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Audio of that length at 16 kHz."""
    return (0.1 * np.random.default_rng(0).standard_normal(int(16000 * seconds))).astype(np.float32)


def write(model: SpeechModel, folder: Path) -> dict[tuple[str, str], Files]:
    """Files of every graph, by kind and target: in float, and all of it in int8, with calibrated scales and a scale a frame."""
    histograms = observe(model, [[noise(2.0)]])
    scheme = calibrated.uniform(histograms, "max", Settings())
    frames = by_frame(model, histograms, Settings.parse({"scales": "frame"}))
    weights = WeightStore(model.layer_weights())
    files = {}
    for target in installed():
        for kind, chosen in (("float", {}), ("int8", scheme), ("int8 by frame", frames)):
            files[kind, target] = {g.name: folder / f"{kind}.{g.name}.{target}.onnx" for g in model.graphs}
            for graph in model.graphs:
                proto = to_onnx(graph, chosen, weights, TARGETS[target])
                files[kind, target][graph.name].write_bytes(proto.SerializeToString())
    return files


def run_through(model: SpeechModel, backend: Backend, feeds: Feeds, steps: Sequence[int]) -> Any:
    """The first graph, and so many steps of a decoder if there is one; logits of a model without."""
    head = model.frontend.head
    outputs = backend.run(head.graphs[0], feeds)
    if len(head.graphs) > 1:
        head.run_for(backend, outputs, steps)
        return None
    return outputs["logits"]


def in_torch(path: Path, values: torch.Tensor, left_out: dict[str, str]) -> dict[str, Runner]:
    """Transformers' own model, as it is, compiled, and in bfloat16; ``left_out`` gets why compiling failed."""

    def run(way: Callable[..., Any], values: torch.Tensor = values) -> Any:
        with torch.inference_mode():
            return way(values).logits.float().numpy()

    network = AutoModelForCTC.from_pretrained(path, dtype=torch.float32).eval()
    found: dict[str, Runner] = {"float32, torch": lambda _: run(network)}
    try:
        compiled = torch.compile(network)
        run(compiled)
        found["float32, torch, compiled"] = lambda _: run(compiled)
    except Exception as error:  # whatever it fails with is its result
        left_out["float32, torch, compiled"] = reason(error)
    if has_bfloat16():
        half = AutoModelForCTC.from_pretrained(path, dtype=torch.bfloat16).eval()
        found["bfloat16, torch"] = lambda _: run(half, values.bfloat16())
    return found


def in_torch_by_steps(path: Path, feeds: Feeds, steps: int) -> dict[str, Runner]:
    """Transformers' own encoder-decoder, so many greedy steps with its cache."""
    mel = torch.from_numpy(np.ascontiguousarray(feeds["input_features"].transpose(0, 2, 1)))

    def run(network: Any, mel: torch.Tensor) -> object:
        with torch.inference_mode():
            encoded, cache = network.get_encoder()(mel), None
            token = torch.full((len(mel), 1), network.config.decoder_start_token_id)
            for _ in range(steps):
                asked = {"encoder_outputs": encoded, "past_key_values": cache, "use_cache": True}
                said = network(decoder_input_ids=token, **asked)
                cache, token = said.past_key_values, said.logits[:, -1:].argmax(-1)
        return token

    network = AutoModelForSpeechSeq2Seq.from_pretrained(path, dtype=torch.float32).eval()
    found: dict[str, Runner] = {"float32, torch": lambda _: run(network, mel)}
    if has_bfloat16():
        half = AutoModelForSpeechSeq2Seq.from_pretrained(path, dtype=torch.bfloat16).eval()
        found["bfloat16, torch"] = lambda _: run(half, mel.bfloat16())
    return found


def in_pt2e(path: Path, values: torch.Tensor) -> Runner:
    """PyTorch's own static int8 for x86: exported, observed, converted, compiled, all for this length of audio."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    network = AutoModelForCTC.from_pretrained(path, dtype=torch.float32).eval()
    with torch.no_grad(), torch._inductor.config.patch(freezing=True):
        quantiser = x86.X86InductorQuantizer()
        quantiser.set_global(x86.get_default_x86_inductor_quantization_config())
        prepared = prepare_pt2e(torch.export.export(network, (values,)).module(), quantiser)
        prepared(values)
        compiled = torch.compile(convert_pt2e(prepared))
        compiled(values)

    def run(_: Any) -> Any:
        with torch.no_grad():
            return compiled(values).logits.numpy()

    return run


def reason(error: Exception) -> str:
    """Why something is left out, in a line."""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"


def peers(names: Iterable[str], model: SpeechModel, work: Path, left_out: dict[str, str]) -> Iterator[Peer]:
    """Other ways to int8. They calibrate on noise: what they do to words is in bench/compare_peers.py."""
    feeds = {"model": [model.frontend.features([noise(2.0)]).feeds]}
    material = Material.of(model, feeds, None, work)
    for name in names:
        try:
            yield QUANTISERS[name](material)
        except Exception as error:  # whatever a peer fails with is its result
            left_out[name] = reason(error)


def measure(
    name: str, seconds: float, batch: int, threads: int, *, rounds: int, beside: Iterable[str], brief: bool
) -> dict[str, Any]:
    """One size of model, ``batch`` recordings at a time, on so many threads; the peers ``beside`` it have one."""
    folder = checkpoint(name)
    model = load(folder)
    torch.set_num_threads(threads)
    sounds = [noise(seconds)] * batch
    feeds = model.frontend.features(sounds).feeds
    values = torch.from_numpy(feeds[model.graphs[0].inputs[0].name])
    steps = round(seconds * STEPS_A_SECOND) if name in WHISPERS else 0
    left_out: dict[str, str] = {}
    systems: dict[str, dict[str, Any]] = {}
    with TemporaryDirectory(prefix="stablequant-") as work:
        files = write(model, Path(work))
        runners: dict[str, Runner] = {}
        if not brief:
            runners = in_torch_by_steps(folder, feeds, steps) if steps else in_torch(folder, values, left_out)
        for (kind, target), written in files.items():
            for runtime in (r for r in installed(bfloat16=True) if target_of(r) == target):
                half = runtime != target
                label = f"{'bfloat16' if half else 'float32'}, {target}" if kind == "float" else f"{kind}, {runtime}"
                systems[label] = {"bytes": size(written)}
                if not brief:
                    cost = footprint.measure(written, runtime, model.frontend, threads=threads)
                    systems[label]["peak_rss_bytes"] = cost.peak_rss_bytes
                    systems[label]["load_seconds"] = round(cost.load_seconds, 2)
                backend = RUNTIMES[runtime](written, threads=threads)
                runners[label] = lambda _, b=backend: run_through(model, b, feeds, [steps] * batch)  # type: ignore[misc]
        for peer in peers(beside, model, Path(work), left_out):
            systems[peer.name] = {"bytes": peer.bytes, "peak_rss_bytes": peer.peak_rss_bytes, "peer": True}
            runners[peer.name] = lambda _, p=peer: run_through(model, p.backend, feeds, ())  # type: ignore[misc]
        if beside and not brief:
            try:
                runners["PT2E, static"] = in_pt2e(folder, values)
                systems["PT2E, static"] = {"peer": True}
            except Exception as error:  # whatever it fails with is its result
                left_out["PT2E, static"] = reason(error)
        outputs = {} if steps else {label: np.array(run(None)) for label, run in runners.items()}
        measured = interleaved(runners, [None], rounds, time.process_time if threads == 1 else time.perf_counter)
    medians = {label: statistics.median(s) for label, s in measured.items()}
    best = min((label for label in medians if label.startswith("float32")), key=medians.__getitem__)
    return {
        "model": f"{name}, {LAYERS[name]} layers" if name in LAYERS else name,
        "threads": threads,
        "steps": steps,
        "float_bytes": model.float_bytes,
        "ops": len(model.ops()),
        "best_float": best,
        "left_out": left_out,
        "systems": [
            {
                "name": label,
                "int8": label.startswith("int8") or "peer" in systems.get(label, {}),
                "seconds": round(taken, 4),
                "fastest": round(min(measured[label]), 4),
                "slowest": round(max(measured[label]), 4),
                "speedup": round(medians[best] / taken, 4),
                **(compared(outputs[label], outputs[REFERENCE]) if outputs else {}),
                **systems.get(label, {}),
            }
            for label, taken in medians.items()
        ],
    }


def held(name: str, about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The models of an earlier run on this machine that was ``about`` the same."""
    path = result_path(name, timed=True)
    found = json.loads(path.read_text()) if path.is_file() else {}
    same = found.get("machine") == machine() and all(found.get(key) == value for key, value in about.items())
    models: list[dict[str, Any]] = found["models"] if same else []
    return models


def command_of(arguments: Namespace, models: Iterable[Mapping[str, Any]]) -> str:
    """The command that makes the whole file, whichever of its models this process was asked for."""
    names = [n for n in ALL if any(m["model"].split(",")[0] == n for m in models)]
    words = ["--threads", *map(str, sorted({m["threads"] for m in models}))]
    words += [] if names == list(ALL) else ["--models", *names]
    for option in ("seconds", "batch", "rounds", "name"):
        if (given := getattr(arguments, option)) != USUAL[option]:
            words += [f"--{option}", f"{given:g}" if option == "seconds" else str(given)]
    words += [f"--{flag.replace('_', '-')}" for flag in ("no_peers", "brief") if getattr(arguments, flag)]
    return shlex.join(["python", "bench/sizes.py", *words])


def main() -> None:
    """Measure every size."""
    parser = inputs.arguments_of(__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--seconds", type=float, default=USUAL["seconds"])
    parser.add_argument("--batch", type=int, default=USUAL["batch"])
    parser.add_argument("--models", nargs="+", choices=ALL, default=ALL)
    parser.add_argument("--name", default=USUAL["name"], help="of the result")
    parser.add_argument("--rounds", type=int, default=USUAL["rounds"], help=f"default: {USUAL['rounds']}")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--brief", action="store_true", help="no PyTorch, no memory, two peers")
    arguments = parser.parse_args()
    brief = arguments.brief
    about = {
        "seconds": arguments.seconds,
        "batch": arguments.batch,
        "rounds": arguments.rounds,
        "runtimes": [*(RUNTIMES[r]({}).name for r in installed()), f"torch {torch.__version__}"],
    }
    models, saved = held(arguments.name, about), ""
    for name in arguments.models:
        for threads in arguments.threads:
            alone = threads > 1 or arguments.no_peers or name in WHISPERS
            beside = () if alone else BRIEFLY if brief or name in LAYERS else BESIDE
            how = {"rounds": arguments.rounds, "beside": beside, "brief": brief or threads > 1}
            found = measure(name, arguments.seconds, arguments.batch, threads, **how)
            same = ("model", "threads")
            models = [m for m in models if any(m[key] != found[key] for key in same)] + [found]
            models.sort(key=lambda m: (ALL.index(m["model"].split(",")[0]), m["threads"]))
            saved = save(
                arguments.name, {"command": command_of(arguments, models), **about, "models": models}, timed=True
            )
            gc.collect()
    print(sizes.table(saved))


if __name__ == "__main__":
    main()
