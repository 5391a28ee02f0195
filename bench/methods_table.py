"""Every method at every width: the same model, speech, seeds and decoding, in simulation.

    python bench/methods_table.py                                        # Moonshine tiny on the embedded speech
    python bench/methods_table.py tests/assets/wavlm-graft --count 40
    python bench/methods_table.py --bits w4a8,w4a4 --methods 'the recipe default' --tuned w4a8=FOLDER
    python bench/methods_table.py --methods 'the recipe default' --into widths

A row is a method at a width: points lost on the test speech with the interval of the difference, divergence from float there,
the minutes of processor that the method took beyond the observation of calibration speech that all share (a trained model's
without its training), and the bytes of its weights. Where the divergence on a few utterances is above what any usable plan has,
the row is of these alone, and says so: a broken decoder runs to its limit.

Adds to bench/results/methods_table.json, or another with --into, a row at a time. A row that is there is kept if the same code
measured it, or with --keep; finished trials are kept in build/bench, so a run that was cut off goes on.
"""

from __future__ import annotations

import json
import math
import shlex
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import inputs  # first: it sets what torch reads when it is imported
from judging import Both, bytes_ratio, difference, float_readings
from result_path import RESULTS, save
from rivals import METHODS, Made, Method, tuned
from study import Study
from tables.methods_table import table

import stablequant
from stablequant.files import digest
from stablequant.quantize.simulate import Simulator
from stablequant.runtime.processor import machine
from stablequant.search.journal import Journal
from stablequant.search.objective import Divergence
from stablequant.search.trials import Candidate, Trials
from stablequant.settings import Settings
from stablequant.tasks import fidelity
from stablequant.widths import WIDTHS

#: The file that has all methods at all widths.
INTO = "methods_table"
#: Nats a step that no usable plan has, and the test utterances on which that is found out. Moonshine tiny lost half of the words
#: at 0.8 nats; Whisper tiny wrote three words for each that was said at 1.1.
BROKEN, FEW = 1.0, 16
#: What of the source a row depends on.
ROOMS = ("data", "grid", "network", "heads", "families", "tasks", "observe", "quantize", "search")
#: Dev utterances that searches are judged on, and those to calibrate on, at most.
DEV, CALIBRATION = Settings().search.divergence_utterances, Settings().data.calibration_utterances


def code_version() -> str:
    """A hash of the source that a row depends on."""
    source = Path(stablequant.__file__).parent
    files = [p for room in ROOMS for p in sorted((source / room).rglob("*.py"))]
    files += [source / "settings.py", source / "widths.py", source / "recipes.py"]
    return digest([[str(p.relative_to(source)), p.read_text()] for p in files])[:12]


class Table:
    """The rows of one model."""

    def __init__(self, study: Study, count: int | None, version: str) -> None:
        """Let the float model answer the test speech."""
        self.study, self.version = study, version
        test, data = study.speech["test"], study.settings.data
        if count is not None:
            test = test.part(test.draw(count, data.seed), data.batch_size, data.batch_seconds)
        self.test, self.few = test, sorted(test.draw(FEW, data.seed))
        self.readings = float_readings(study.model, test)
        self.float = study.task.score(test.utterances, [answer for answer, _ in self.readings])
        self.journal = Journal(study.folder / "trials.sqlite")

    def row(self, method: Method, bits: str) -> dict[str, Any] | None:
        """One method at one width; ``None`` where it makes no sense."""
        began = time.process_time()
        made = method.make(self.study, bits)
        if made is None:
            return None
        for layer, scheme in made.scheme.items():
            if scheme.weight is not None:
                made.weights.codes(layer, scheme.weight)
        minutes = (time.process_time() - began) / 60
        return {
            "method": method.name,
            "bits": bits,
            **self._judged(made, f"{method.name}, {bits}"),
            "minutes": round(minutes, 2),
            "labels": method.labels,
            "training": method.training,
            "bytes_ratio": round(bytes_ratio(made.model, made.scheme), 4),
            "version": self.version,
            **({"option": method.option} if method.option else {}),
            **({"trained": dict(method.trained)} if method.trained else {}),
        }

    def _judged(self, made: Made, label: str) -> dict[str, Any]:
        """Words and divergence on the test speech, or on a part of it if the model is broken."""
        study, candidate = self.study, Candidate(label, made.scheme)
        simulator = Simulator(made.model, weights=made.weights)
        # Named by the row and the code: two models of one checkpoint are not taken for one another.
        both = Both(f"answers and divergence, {label}, {self.version}")
        trials = Trials(simulator, self.test, study.settings, both, self.journal, study.progress)
        near = Trials(
            simulator, self.test, study.settings, Divergence(f"divergence, {label}, {self.version}"), self.journal
        ).on(self.few)
        few = [self.readings[i] for i in self.few]
        (seen,) = near.run([candidate], f"{label}: divergence", reference=few)
        broken = not seen.score.rate <= BROKEN and len(few) < len(self.readings)
        trials, readings = (trials.on(self.few), few) if broken else (trials, self.readings)
        (outcome,) = trials.run([candidate], f"{label}: words", reference=readings)
        utterances, score = trials.speech.utterances, study.task.score
        before = score(utterances, [answer for answer, _ in readings])
        found = fidelity.divergence_score(before.ids, [near for _, near in outcome.readings])
        figures = (
            fidelity.figures(found) if math.isfinite(found.rate) else dict.fromkeys(("divergence", "divergence_error"))
        )
        part = {"words": int(before.total), "utterances": len(utterances)} if broken else {}
        return figures | difference(before, score(utterances, [answer for answer, _ in outcome.readings])) | part


def command_of(arguments: Namespace) -> str:
    """The command that makes all rows of a model, whichever of them this process was asked for; of another file those alone."""
    words = ["python", "bench/methods_table.py", arguments.model]
    for source in arguments.data or ():
        words += ["--data", source]
    for recording in arguments.without:
        words += ["--without", recording]
    if arguments.into != INTO:
        words += ["--into", arguments.into]
        words += ["--methods", arguments.methods] if arguments.methods else []
        words += ["--bits", arguments.bits] if arguments.bits != ",".join(WIDTHS) else []
    usual = {"count": None, "dev": DEV, "calibration": CALIBRATION}
    for option, value in usual.items():
        if (given := getattr(arguments, option)) != value:
            words += [f"--{option}", str(given)]
    return shlex.join(words)


def main() -> None:
    """Measure the rows that are not there yet."""
    parser = inputs.arguments_of(__doc__)
    inputs.add_model(parser)
    inputs.add_data(parser)
    parser.add_argument("--methods", help="some of them, with semicolons; default: all")
    parser.add_argument("--bits", default=",".join(WIDTHS), help=f"with commas; default: {','.join(WIDTHS)}")
    parser.add_argument("--count", type=int, help="test utterances; default: all")
    parser.add_argument("--dev", type=int, default=DEV, help=f"dev utterances to search on; default: {DEV}")
    parser.add_argument("--calibration", type=int, default=CALIBRATION, help="utterances to calibrate on, at most")
    parser.add_argument(
        "--tuned", action="append", default=[], metavar="WIDTH=FOLDER", help="a checkpoint trained for it"
    )
    parser.add_argument("--keep", action="store_true", help="rows that an earlier version of the code measured, too")
    parser.add_argument("--again", action="store_true", help="measure rows that are there")
    parser.add_argument("--into", default=INTO, metavar="NAME", help="of the file in bench/results")
    parser.add_argument("--name", help="of the model in the result; default: its folder's")
    arguments = parser.parse_args()
    name, data = arguments.name or Path(arguments.model).name, inputs.sources(arguments)
    chosen = [*METHODS, *tuned(arguments.tuned)]
    if arguments.methods:
        wanted = [part.strip() for part in arguments.methods.split(";")]
        if unknown := set(wanted) - {m.name for m in chosen}:
            parser.error(f"no method {', '.join(sorted(unknown))}; there are: {'; '.join(m.name for m in chosen)}")
        chosen = [m for m in chosen if m.name in wanted]
    settings = Settings.parse(
        {
            "objective": "divergence",
            "divergence_utterances": arguments.dev,
            "calibration_utterances": arguments.calibration,
        }
    )
    study = Study.read(arguments.model, data, settings, f"methods-table/{name}")
    path, version = RESULTS / f"{arguments.into}.json", code_version()
    whole = Table(study, arguments.count, version)
    result: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {"models": {}}
    about = {
        "command": command_of(arguments),
        "data": [Path(source).name for source in data],
        "float": round(whole.float.rate, 4),
        "words": int(whole.float.total),
        "utterances": len(whole.test.utterances),
        "dev_utterances": len(study.speech["dev"].utterances),
        "calibration_utterances": len(study.speech["calibration"].utterances),
        "broken": {"nats": BROKEN, "utterances": FEW},
        "machine": machine(),
    }
    held = result["models"].get(name, {})
    # Rows on other speech are no part of the same table.
    rows = held.get("rows", []) if held.get("command") == about["command"] else []
    result["models"][name] = {**about, "rows": rows}
    order = [method.name for method in (*METHODS, *tuned(arguments.tuned))]

    def place(row: dict[str, Any]) -> int:
        return order.index(row["method"]) if row["method"] in order else len(order)

    for bits in arguments.bits.split(","):
        for method in chosen:
            same = [r for r in rows if (r["method"], r["bits"]) == (method.name, bits)]
            if not arguments.again and any(arguments.keep or r["version"] == version for r in same):
                continue
            row = whole.row(method, bits)
            if row is None:
                continue
            rows[:] = sorted([*(r for r in rows if r not in same), row], key=place)
            save(arguments.into, {"models": result["models"]})
            print(json.dumps(row), flush=True)
    print(table(arguments.into))


if __name__ == "__main__":
    main()
