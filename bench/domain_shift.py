"""Does what was calibrated on clean speech hold elsewhere: in noise, on a telephone, at other levels, on other sets?

    python bench/domain_shift.py examples/moonshine-tiny --other sky --other fotaq --other librivox5
    python bench/domain_shift.py tests/assets/wavlm-graft --other sky --count 60

Calibrated on the clean calibration speech of --data: one scale by least squares ("mse"), the paper's clipping of flagged layers
("clipped", p searched by divergence on clean dev speech), flagged inputs in two planes, and a scale a frame. The two calibrated
schemes again from a mixed set: clean, degraded and other speech. Each is measured on the test speech of --data under every
condition, and on that of every --other: divergence from float, and words. And p is searched on degraded dev speech.

Writes bench/results/domain_shift.json, other models in it left as they are, and the two plots of docs/results; finished trials
are kept in build/bench, so a run that was cut off goes on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from inputs import WORK, add_data, add_model, arguments_of, sources
from judging import Both, difference
from numpy.typing import NDArray
from result_path import RESULTS, ROOT, command, save
from tables.domain_shift import plot_delta, plot_p, table

from stablequant.cli.console import ProgressLine
from stablequant.data import conditions, manifest
from stablequant.data.speech import Speech
from stablequant.families.checkpoint import load
from stablequant.families.model import SpeechModel
from stablequant.jobs.open import simulator
from stablequant.jobs.speech import decode, read_splits
from stablequant.observe.cached import observe_once
from stablequant.observe.collect import Histograms
from stablequant.quantize import calibrated
from stablequant.quantize.by_frame import by_frame
from stablequant.quantize.scheme import Scheme
from stablequant.quantize.simulate import Simulator
from stablequant.runtime.processor import machine
from stablequant.search.exact import Exact
from stablequant.search.journal import Journal
from stablequant.search.objective import Divergence, Objective
from stablequant.search.trials import Candidate, Trials
from stablequant.settings import Settings
from stablequant.tasks import fidelity
from stablequant.tasks.score import Score
from stablequant.tasks.task import Task, task_of

CONDITIONS = "clean,noise:10,noise:0,babble:10,telephone,codec,reverb,speed:0.9,gain:-20,gain:6,clipped,long:28,silence"
#: What p is searched under.
SEARCHED = "clean,noise:10,noise:0,telephone,reverb,gain:-20"
#: What is mixed into calibration speech, in equal parts with clean and other speech.
MIXED = "noise:10,telephone,reverb"
#: Values of p, in per cent of the mass.
VALUES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
#: Utterances to find flagged layers on.
STAGE_1 = 16
#: Of docs/results, drawn anew whenever something is known.
PLOTS = {"domain-shift.svg": plot_delta, "domain-shift-p.svg": plot_p}
#: Draws of the bootstrap of p.
DRAWS = 2000


@dataclass(frozen=True)
class Bench:
    """What all measurements share."""

    model: SpeechModel
    simulated: Simulator
    settings: Settings
    task: Task
    journal: Journal
    progress: ProgressLine

    def trials(self, speech: Speech, objective: Objective) -> Trials:
        """Of one set of speech."""
        return Trials(self.simulated, speech, self.settings, objective, self.journal, self.progress)

    def under(self, name: str, speech: Speech) -> Speech:
        """``speech`` under the condition called ``name``."""
        data = self.settings.data
        (condition,) = conditions.parse(name)
        return conditions.apply(condition, speech, data.seed, data.batch_size, data.batch_seconds)

    def of(self, source: str, split: str, count: int) -> Speech | None:
        """At most ``count`` recordings of a split of another set; ``None`` where it has none."""
        found = [u for u in manifest.load([source]) if u.split == split]
        order = np.random.default_rng(self.settings.data.seed).permutation(len(found))[:count]
        chosen = [found[i] for i in sorted(order)]
        return decode(self.model.frontend, self.task, {split: chosen}, self.settings)[split] if found else None

    def drawn(self, speech: Speech, count: int) -> Speech:
        """At most ``count`` recordings, in batches of their own."""
        data = self.settings.data
        return speech.part(speech.draw(count, data.seed), data.batch_size, data.batch_seconds)

    def together(self, parts: Sequence[Speech]) -> Speech:
        """Several sets as one."""
        utterances = tuple(u for part in parts for u in part.utterances)
        waveforms = tuple(w for part in parts for w in part.waveforms)
        whole = replace(parts[0], utterances=utterances, waveforms=waveforms)
        return whole.part(range(len(utterances)), self.settings.data.batch_size, self.settings.data.batch_seconds)


def flagged_layers(bench: Bench, histograms: Histograms, dev: Speech) -> list[str]:
    """What stage 1 flags by divergence, most sensitive first."""
    trials = bench.trials(bench.drawn(dev, STAGE_1), Divergence())
    (reference,) = trials.run([Candidate("float", {})], "float on dev")
    found = Exact(trials, reference).sensitivity(histograms)
    return [layer.name for layer in sorted(found, key=lambda x: -x.delta) if layer.flagged]


def p_search(bench: Bench, histograms: Histograms, flagged: Sequence[str], speech: Speech) -> dict[str, Any]:
    """The p of least divergence on ``speech``, with its interval over draws of utterances."""
    base = calibrated.uniform(histograms, "mse", bench.settings)
    schemes = {p: calibrated.mixed(base, histograms, calibrated.same_p(flagged, p), bench.settings) for p in VALUES}
    trials = bench.trials(speech, Divergence())
    outcomes = trials.run([Candidate(f"p {p:g}", s) for p, s in schemes.items()], "search of p", base=schemes[0.0])
    nats = np.array([o.score.errors for o in outcomes])
    steps = np.array(outcomes[0].score.units)
    random = np.random.default_rng(0)
    picks = random.integers(len(steps), size=(DRAWS, len(steps)))
    rates: NDArray[np.float64] = nats[:, picks].sum(-1) / steps[picks].sum(-1)
    chosen = np.array(VALUES)[rates.argmin(0)]
    whole = nats.sum(1) / steps.sum()
    return {
        "p_opt": VALUES[int(whole.argmin())],
        "p_interval": [float(x) for x in np.quantile(chosen, (0.025, 0.975), method="inverted_cdf")],
        "p_divergence": [float(f"{x:.4g}") for x in whole],
        "p_utterances": len(steps),
        "draws": rates,
    }


def regret(found: Mapping[str, Any], p: float) -> dict[str, Any]:
    """Nats that the p found on clean speech costs beyond the best one, with its interval."""
    clean, best = VALUES.index(p), VALUES.index(found["p_opt"])
    differences = found["draws"][clean] - found["draws"][best]
    rates = np.array(found["p_divergence"])
    low, high = np.quantile(differences, (0.025, 0.975))
    return {
        "regret": float(f"{rates[clean] - rates[best]:.3g}"),
        "regret_interval": [float(f"{low:.3g}"), float(f"{high:.3g}")],
    }


def schemes_of(
    bench: Bench, histograms: Histograms, mixed: Histograms, flagged: Sequence[str], p: float
) -> dict[str, Scheme]:
    """All that is compared."""
    settings = bench.settings
    two = settings.updated(planes=2)
    frame = settings.updated(scales="frame", strategy="none")

    def clipped(some: Histograms, value: float, chosen: Settings) -> Scheme:
        base = calibrated.uniform(some, "mse", settings)
        return calibrated.mixed(base, some, calibrated.same_p(flagged, value), chosen)

    return {
        "mse": calibrated.uniform(histograms, "mse", settings),
        "clipped": clipped(histograms, p, settings),
        "two planes": clipped(histograms, 0.0, two),
        "frame": by_frame(bench.model, histograms, frame),
        "mse, mixed": calibrated.uniform(mixed, "mse", settings),
        "clipped, mixed": clipped(mixed, p, settings),
    }


def growth(clean: Score, other: Score) -> dict[str, Any]:
    """How many times ``clean`` the divergence ``other`` is, with its interval; paired where the recordings are the same."""
    random = np.random.default_rng(0)
    picks = random.integers(len(clean.ids), size=(DRAWS, len(clean.ids)))
    others = picks if other.ids == clean.ids else random.integers(len(other.ids), size=(DRAWS, len(other.ids)))
    before, after = (
        np.array(s.errors)[p].sum(1) / np.array(s.units)[p].sum(1) for s, p in ((clean, picks), (other, others))
    )
    ends = np.quantile(after / before, (0.025, 0.975))
    return {"growth": round(other.rate / clean.rate, 3), "growth_interval": [round(float(x), 3) for x in ends]}


def measure(
    bench: Bench, speech: Speech, schemes: Mapping[str, Scheme], *, words: bool
) -> tuple[dict[str, Any], dict[str, Score]]:
    """Every scheme on some speech: divergence from float and, with ``words``, what it costs in words; and the divergences."""
    candidates = [Candidate(name, scheme) for name, scheme in schemes.items()]
    found: dict[str, Any] = {"utterances": len(speech.utterances), "seconds": round(speech.seconds, 1)}
    if not words:
        outcomes = bench.trials(speech, Divergence()).run(candidates, "divergence")
        scores = {o.candidate.label: o.score for o in outcomes}
        return found | {"schemes": {name: fidelity.figures(score) for name, score in scores.items()}}, scores
    reference, *outcomes = bench.trials(speech, Both()).run([Candidate("float", {}), *candidates], "words, divergence")
    task, rows, scores = task_of(bench.settings.data).suited(speech.utterances), {}, {}
    before = task.score(speech.utterances, [answer for answer, _ in reference.readings])
    for outcome in outcomes:
        after = task.score(speech.utterances, [answer for answer, _ in outcome.readings])
        near = fidelity.divergence_score(before.ids, [d for _, d in outcome.readings])
        scores[outcome.candidate.label] = near
        rows[outcome.candidate.label] = fidelity.figures(near) | difference(before, after)
    return found | {"words": int(before.total), "float": round(before.rate, 4), "schemes": rows}, scores


def main() -> None:
    """Measure one model."""
    parser = arguments_of(__doc__)
    add_model(parser)
    add_data(parser)
    parser.add_argument("--other", action="append", default=[], metavar="SOURCE", help="another set; may be repeated")
    parser.add_argument("--conditions", default=CONDITIONS, help=f"default: {CONDITIONS}")
    parser.add_argument(
        "--words", default="all", metavar="NAMES", help="of conditions and sets; others: divergence alone"
    )
    parser.add_argument(
        "--searched", default=SEARCHED, metavar="NAMES", help=f"of conditions and sets, for p; default: {SEARCHED}"
    )
    parser.add_argument("--count", type=int, default=60, help="test utterances of each set")
    parser.add_argument("--dev", type=int, default=32, help="utterances that p is searched on")
    parser.add_argument("--calibration", type=int, default=160, help="utterances to calibrate on")
    parser.add_argument(
        "--flagged", metavar="LAYERS", help="that an earlier stage 1 flagged; default: it is run, by divergence"
    )
    parser.add_argument("--name", help="of the model in the result; default: the folder's")
    arguments = parser.parse_args()
    name, data = arguments.name or Path(arguments.model).name, sources(arguments)
    folder, progress = WORK / f"domain-shift-{name}", ProgressLine()
    folder.mkdir(parents=True, exist_ok=True)
    model = load(arguments.model)
    path = RESULTS / "domain_shift.json"
    models: dict[str, Any] = json.loads(path.read_text())["models"] if path.is_file() else {}
    speech, task, settings = read_splits(model.frontend, data, Settings(objective="divergence"))
    with Journal(folder / "trials.sqlite") as journal:
        bench = Bench(model, simulator(model, settings), settings, task, journal, progress)
        clean = bench.drawn(speech["calibration"], arguments.calibration)
        histograms = observe_once(model, clean, False, folder / "clean.npz", progress)
        others = {Path(s).name: s for s in arguments.other}
        extra = [
            part for s in others.values() if (part := bench.of(s, "calibration", arguments.calibration)) is not None
        ]
        parts = [clean, *(bench.under(c, clean) for c in MIXED.split(",")), *extra]
        share = arguments.calibration // len(parts)
        mixed = observe_once(
            model, bench.together([bench.drawn(p, share) for p in parts]), False, folder / "mixed.npz", progress
        )
        flagged = (
            arguments.flagged.split(",") if arguments.flagged else flagged_layers(bench, histograms, speech["dev"])
        )
        dev = bench.drawn(speech["dev"], arguments.dev)
        p_clean = p_search(bench, histograms, flagged, dev)["p_opt"]
        schemes = schemes_of(bench, histograms, mixed, flagged, p_clean)
        test = bench.drawn(speech["test"], arguments.count)
        result: dict[str, Any] = {
            "flagged": flagged,
            "p_clean": p_clean,
            "p_values": list(VALUES),
            "calibration_utterances": {"clean": len(clean.utterances), "mixed": share * len(parts)},
            "sources": [Path(s).stem for s in data],
            "command": command(),
            "machine": machine(),
            "conditions": {},
        }

        def add(condition: str, found: Mapping[str, Any]) -> None:
            result["conditions"].setdefault(condition, {}).update(found)
            save("domain_shift", {"models": {**models, name: result}})
            for file, plot in PLOTS.items():
                (ROOT / "docs" / "results" / file).write_text(plot("domain_shift"))

        with_words = arguments.words.split(",")
        measured = {("condition", c): bench.under(c, test) for c in arguments.conditions.split(",")}
        searched = {c: bench.under(c, dev) for c in arguments.searched.split(",") if c not in others}
        for other, source in others.items():
            if (some := bench.of(source, "test", arguments.count)) is not None:
                measured["set", other] = some
            if other in arguments.searched.split(","):
                searched[other] = bench.of(source, "dev", arguments.dev)
        # Words of a decoder take longest: but for clean speech they come last.
        late = [key for key in measured if key[1] in with_words and key[1] != "clean"]
        clean_scores: dict[str, Score] = {}

        def measure_one(kind: str, condition: str, *, words: bool) -> None:
            found, scores = measure(bench, measured[kind, condition], schemes, words=words)
            if condition == "clean":
                clean_scores.update(scores)
            elif clean_scores:
                for scheme, score in scores.items():
                    found["schemes"][scheme] |= growth(clean_scores[scheme], score)
            for scheme in ("mse", "clipped"):
                ratio = growth(scores[scheme], scores[f"{scheme}, mixed"])
                found["schemes"][f"{scheme}, mixed"] |= {
                    "of_clean_calibration": ratio["growth"],
                    "of_clean_calibration_interval": ratio["growth_interval"],
                }
            add(condition, {"kind": kind} | found)

        for kind, condition in (key for key in measured if key not in late):
            words = condition in with_words or (arguments.words == "all" and not condition.startswith("silence"))
            measure_one(kind, condition, words=words)
        for condition, some in searched.items() if flagged else ():
            found = p_search(bench, histograms, flagged, some)
            add(condition, {k: v for k, v in found.items() if k != "draws"} | regret(found, p_clean))
        for kind, condition in late:
            measure_one(kind, condition, words=True)
    print(table("domain_shift"))


if __name__ == "__main__":
    main()
