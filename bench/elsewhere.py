"""Int8 folders in another program: sherpa-onnx transcribes what ours does, from the files of `stablequant export --layout`.

    stablequant quantize tests/assets/wavlm-graft --recipe fast --data examples/asterisk --out build/graft
    stablequant quantize examples/moonshine-tiny --recipe fast --data examples/asterisk --out build/moonshine
    python bench/elsewhere.py build/graft build/moonshine

An environment with sherpa-onnx alone is made in build/bench/elsewhere when first asked for. Both programs transcribe the first
--count recordings of the test split one at a time; texts are compared with each other and, normalised, with what was said. As a
yardstick ours are compared with ours of the same audio with one part in a million of noise.
Writes bench/results/elsewhere.json after each folder; no time is reported.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import numpy as np
from inputs import WORK, add_data, arguments_of, sources
from result_path import save
from tables import elsewhere

from stablequant.data import manifest
from stablequant.data.audio import read
from stablequant.data.splits import make_splits
from stablequant.jobs.elsewhere import lay_out
from stablequant.jobs.open import open_model
from stablequant.tasks.task import task_of

PROGRAM = "sherpa-onnx"
#: Runs in the other environment: paths of raw float32 recordings on stdin, texts on stdout.
OTHER = """
import json, sys
from importlib.metadata import version
import numpy as np
import sherpa_onnx
folder, kind, paths = json.load(sys.stdin)
make = sherpa_onnx.OfflineRecognizer
if kind == "ctc":
    recognizer = make.from_omnilingual_asr_ctc(model=f"{folder}/model.onnx", tokens=f"{folder}/tokens.txt", num_threads=1)
else:
    recognizer = make.from_moonshine_v2(
        encoder=f"{folder}/encoder.onnx", decoder=f"{folder}/decoder.onnx", tokens=f"{folder}/tokens.txt", num_threads=1
    )
texts = []
for path in paths:
    stream = recognizer.create_stream()
    stream.accept_waveform(16000, np.fromfile(path, np.float32))
    recognizer.decode_stream(stream)
    texts.append(stream.result.text.strip())
print(json.dumps({"version": version("sherpa-onnx"), "texts": texts}))
"""


def environment() -> Path:
    """The Python of an environment with sherpa-onnx and numpy."""
    folder = WORK / "elsewhere"
    python = folder / "bin" / "python"
    if not (folder / "ready").is_file():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", PROGRAM, "numpy"], check=True)
        (folder / "ready").touch()
    return python


def compare(folder: Path, data: list[str], count: int) -> dict[str, Any]:
    """Texts of both programs for the test recordings of ``data``."""
    opened = open_model(folder, runtime="onnxruntime", threads=1)
    frontend = opened.frontend
    utterances = make_splits(manifest.load(data), opened.settings.data.seed).test[:count]
    task = task_of(opened.settings.data).suited(utterances)
    sounds = [read(u, frontend.sampling_rate) for u in utterances]
    ours = [frontend.recognize(opened.backend, [sound])[0] for sound in sounds]
    noise = np.random.default_rng(0)
    moved = [(s * (1 + 1e-6 * noise.standard_normal(len(s)))).astype(np.float32) for s in sounds]
    again = [frontend.recognize(opened.backend, [sound])[0] for sound in moved]
    laid_out = lay_out(folder, PROGRAM)
    raw = WORK / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    paths = [raw / f"{n}.f32" for n in range(len(sounds))]
    for path, sound in zip(paths, sounds, strict=True):
        sound.tofile(path)
    kind = "ctc" if len(frontend.head.graphs) == 1 else "moonshine"
    given = json.dumps([str(Path(laid_out["files"][0]).parent), kind, list(map(str, paths))])
    ran = subprocess.run([environment(), "-c", OTHER], input=given, check=True, capture_output=True, text=True)
    found = json.loads(ran.stdout.splitlines()[-1])
    theirs = [type(a)(text, ()) for a, text in zip(ours, found["texts"], strict=True)]
    return {
        "model": folder.name,
        "class": frontend.config["architectures"][0],
        "program": f"{PROGRAM} {found['version']}",
        "runtime": opened.runtime,
        "recordings": len(utterances),
        "words": task.figures(utterances, ours)["words"],
        "equal": sum(a.text == text for a, text in zip(ours, found["texts"], strict=True)),
        "equal_in_noise": sum(a.text == b.text for a, b in zip(ours, again, strict=True)),
        "our_rate_in_noise": round(task.score(utterances, again).rate, 4),
        "our_rate": round(task.score(utterances, ours).rate, 4),
        "their_rate": round(task.score(utterances, theirs).rate, 4),
        "different": [
            {"id": u.id, "ours": a.text, "theirs": text}
            for u, a, text in zip(utterances, ours, found["texts"], strict=True)
            if a.text != text
        ],
    }


def main() -> None:
    """Compare every folder."""
    parser = arguments_of(__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="that stablequant quantize wrote")
    parser.add_argument("--count", type=int, default=40, help="recordings, from the test split")
    add_data(parser)
    arguments = parser.parse_args()
    data, rows = sources(arguments), []
    for folder in arguments.folders:
        rows.append(compare(folder, data, arguments.count))
        save("elsewhere", {"data": data, "rows": rows})
    print(elsewhere.table("elsewhere"))


if __name__ == "__main__":
    sys.exit(main())
