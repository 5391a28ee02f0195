"""Whisper in int8: ours with the recipe fast, and what else makes Whisper int8, on the same speech in one run.

    pip install '.[peers]'
    python bench/whisper.py openai/whisper-tiny.en --data examples/asterisk

Ours are the files that `stablequant quantize --recipe fast` writes, of --calibration recordings, and of every --run the files
of a folder that quantize wrote by another recipe; rows "window=audio" compute the audio alone. ONNX Runtime's dynamic
quantisation and NNCF are given our float graph. faster-whisper (CTranslate2) and whisper.cpp are converted from the checkpoint
and decode as the others do: greedy, in one window, without timestamps. The wheel of whisper.cpp is compiled for AVX2; rows say
what theirs is compiled for. Word errors are those of the test speech, each difference to float32 in ONNX Runtime with its paired
95 % interval. Times are end to end, features and decoding included, on recordings of real lengths, in turns: one thread, one
recording at a time. A peer that is not installed, or fails, is listed with its reason. The float model's tokens are compared with
those that transformers' `generate` chooses, recording by recording. Writes bench/results/whisper.json.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from inputs import add_data, arguments_of, sources
from peers import ctranslate, whispercpp
from peers.measured import IN, measured, of_runs
from peers.quantisers import nncf_ptq, ort_dynamic
from peers.row import Feeds, Files, Material, Peer, in_onnxruntime
from result_path import save
from tables import whisper

from stablequant.data.speech import Speech
from stablequant.export import package
from stablequant.export.targets import TARGETS, Target
from stablequant.export.translate import to_onnx
from stablequant.families.checkpoint import load
from stablequant.families.model import SpeechModel
from stablequant.heads.decoder import forced
from stablequant.heads.head import Answer
from stablequant.heads.seq2seq import Seq2SeqHead
from stablequant.jobs.speech import read_splits
from stablequant.observe.collect import Histograms, observe
from stablequant.quantize import by_frame
from stablequant.quantize.folding import fold
from stablequant.quantize.weights import WeightStore
from stablequant.recipes import recipe
from stablequant.runtime.onnxruntime import OnnxRuntimeBackend
from stablequant.runtime.registry import file_names
from stablequant.settings import Settings

#: Recordings that peers calibrate on, those that are timed, and the rounds.
FED, TIMED, ROUNDS = 24, 8, 5
#: What else makes Whisper int8.
PEERS = (
    "dynamic",
    "nncf",
    "faster-whisper-float32",
    "faster-whisper-int8",
    *(f"whisper.cpp-{kind}" for kind in whispercpp.KINDS),
)


def ours(model: SpeechModel, histograms: Histograms, settings: Settings, folder: Path, target: Target) -> Files:
    """The int8 files of the recipe, as export writes them."""
    scheme, weights = by_frame.base(model, histograms, settings), WeightStore(model.layer_weights())
    names, files = file_names(model.frontend.head.graphs, target.name), {}
    folder.mkdir(exist_ok=True)
    for graph in model.graphs:
        files[graph.name] = folder / names[graph.name]
        files[graph.name].write_bytes(to_onnx(graph, scheme, weights, target).SerializeToString())
    return files


def equal_tokens(model: SpeechModel, speech: Speech, answers: Sequence[Answer]) -> int:
    """Recordings to which transformers' greedy ``generate`` gives the very tokens of ``answers``."""
    import torch
    import transformers

    theirs = transformers.WhisperForConditionalGeneration.from_pretrained(model.path, dtype=torch.float32).eval()
    head, equal = model.frontend.head, 0
    assert isinstance(head, Seq2SeqHead)
    asked = {"do_sample": False, "num_beams": 1, "return_dict_in_generate": True}
    for sound, answer in zip(speech.waveforms, answers, strict=True):
        mel = model.frontend.features([sound]).feeds["input_features"].transpose(0, 2, 1)
        with torch.inference_mode():
            limit = head.most_steps(len(sound))
            found = theirs.generate(torch.from_numpy(np.ascontiguousarray(mel)), max_new_tokens=limit, **asked)
        tokens = (found["sequences"] if "sequences" in found else found)[0].tolist()
        end = [] if answer.truncated else [head.decoder.end]
        equal += [*head.decoder.prompt, *answer.tokens, *end] == tokens
    return equal


def feeds(model: SpeechModel, speech: Speech, files: Files) -> Feeds:
    """Inputs of both graphs on calibration speech, the decoder's with the float model's own text behind its prompt."""
    frontend, backend = model.frontend, OnnxRuntimeBackend(files, threads=1)
    head = frontend.head
    assert isinstance(head, Seq2SeqHead)
    found: Feeds = {"encoder": [], "decoder": []}
    for sound in speech.waveforms[:FED]:
        features = frontend.features([sound])
        encoded = frontend.encode(backend, features)
        (answer,) = head.read(backend, encoded, features.sizes)
        begun = forced(backend, encoded, [()], head.decoder)
        past = {into: begun[out] for out, into in head.decoder.cache}
        found["encoder"].append(features.feeds)
        if answer.tokens:
            found["decoder"].append({"input_ids": np.array([answer.tokens], np.int64), **encoded, **past})
    return found


def converted(model: SpeechModel, kind: str, work: Path, *, int8: bool) -> Peer:
    """CTranslate2 with weights, and where it can products, of ``kind``."""
    import ctranslate2
    import faster_whisper

    folder = work / f"ctranslate2-{kind}"
    seconds = ctranslate.convert(model.path, folder, kind)
    system = ctranslate.FasterWhisper(folder, kind)
    return Peer(
        f"faster-whisper {faster_whisper.__version__}, {kind} (ctranslate2 {ctranslate2.__version__})",
        lambda sounds: [Answer(system.text(sound), ()) for sound in sounds],
        sum(path.stat().st_size for path in folder.glob("model.bin")),
        None,
        int8=int8,
        quantise_seconds=seconds,
        peak_rss_bytes=ctranslate.peak_rss_bytes(folder, kind),
    )


def in_whispercpp(model: SpeechModel, kind: str, work: Path) -> Peer:
    """whisper.cpp with weights of ``kind``."""
    file = work / f"whisper.cpp-{kind}.bin"
    seconds = whispercpp.write(model.path, file, kind)
    return Peer(
        whispercpp.name(kind),
        whispercpp.WhisperCpp(file).answers,
        file.stat().st_size,
        None,
        int8=kind != "f16",
        quantise_seconds=seconds,
        peak_rss_bytes=whispercpp.peak_rss_bytes(file),
    )


def systems(
    model: SpeechModel,
    calibration: Speech,
    settings: Settings,
    work: Path,
    folders: Sequence[Path],
    peers: Sequence[str],
    left_out: dict[str, str],
) -> Iterator[Peer]:
    """Float and ours in both runtimes, and the peers that can be had."""
    plain = {name: package.write_graphs(model, None, work, TARGETS[name]) for name in IN}
    for name, row in IN.items():
        yield row("float32", model, plain[name], int8=False)
    for window in ("full", "audio"):
        asked, folder, told = model.asked(window=window), work / window, "" if window == "full" else ", window=audio"
        folder.mkdir()
        if told:
            files = package.write_graphs(asked, None, folder, TARGETS["onnxruntime"])
            yield in_onnxruntime(f"float32{told}", asked, files, int8=False)
        folded = asked if settings.fold == "none" else fold(asked, calibration, settings.fold).model
        histograms = observe(folded, (calibration.waveforms_of(batch) for batch in calibration.batches))
        for name, row in IN.items():
            made = ours(folded, histograms, settings, folder / "ours", TARGETS[name])
            yield row(f"stablequant, fast{told}", asked, made, ours=True)
    yield from of_runs(model, folders)
    material = Material.of(model, feeds(model, calibration, plain["onnxruntime"]), None, work)
    makers = {
        "dynamic": lambda: ort_dynamic(material),
        "nncf": lambda: nncf_ptq(material),
        "faster-whisper-float32": lambda: converted(model, "float32", work, int8=False),
        "faster-whisper-int8": lambda: converted(model, "int8", work, int8=True),
        **{f"whisper.cpp-{kind}": partial(in_whispercpp, model, kind, work) for kind in whispercpp.KINDS},
    }
    for name, make in ((name, makers[name]) for name in peers):
        try:
            yield make()
        except Exception as error:  # whatever a peer fails with is its result
            left_out[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def main() -> None:
    """Measure all of them."""
    parser = arguments_of(__doc__)
    parser.add_argument("model", help="folder or hub id of a Whisper checkpoint for English")
    add_data(parser)
    parser.add_argument("--calibration", type=int, default=32, help="recordings; default: 32")
    parser.add_argument("--count", type=int, default=0, help="test recordings; default: all")
    parser.add_argument("--run", type=Path, action="append", default=[], help="folder of a run; may be repeated")
    parser.add_argument("--peers", default=",".join(PEERS), help=f"which; default: {','.join(PEERS)}")
    parser.add_argument("--name", default="whisper", help="of the result; default: whisper")
    parser.add_argument("--timed", type=int, default=TIMED, help=f"recordings that are timed; default: {TIMED}")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of the timing; default: {ROUNDS}")
    arguments = parser.parse_args()
    model = load(arguments.model)
    chosen = {**recipe("fast").settings, "calibration_utterances": arguments.calibration, "batch_size": 1}
    data = sources(arguments)
    speech, task, settings = read_splits(model.frontend, data, Settings.parse(chosen))
    test = speech["test"].first(arguments.count) if arguments.count else speech["test"]
    left_out: dict[str, str] = {}
    with TemporaryDirectory(prefix="stablequant-") as work:
        peers = arguments.peers.split(",")
        found = list(systems(model, speech["calibration"], settings, Path(work), arguments.run, peers, left_out))
        rows, scores, said = measured(found, test, task, arguments.timed, arguments.rounds)
    equal = equal_tokens(model, test, said)
    result = {
        "model": Path(arguments.model).name,
        "data": data,
        "words": int(scores[0].total),
        "utterances": len(test.utterances),
        "calibration": len(speech["calibration"].utterances),
        "equal_tokens": equal,
        "timed": arguments.timed,
        "rounds": arguments.rounds,
        "left_out": left_out,
        "rows": rows,
    }
    print(whisper.table(save(arguments.name, result, timed=True)))


if __name__ == "__main__":
    main()
