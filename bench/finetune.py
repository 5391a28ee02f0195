"""What quantisation-aware training buys, in divergence from the float model, and what it leaves for GPTQ.

    python bench/finetune.py                       # both models on the embedded speech
    python bench/finetune.py MODEL --data SOURCE --forms w4a8 --steps 100

Each form is trained for by distillation (docs/finetune.md) on the calibration speech. The divergence is KL a token or a frame
from the float model that training began with, on a part of the dev speech, the decoder given the float model's own transcript
(search/objective.py), four ways: weights rounded to the nearest code or by GPTQ, those of the checkpoint or the tuned ones.
Moments for GPTQ are of the calibration speech, through the model whose weights are rounded. Writes bench/results/finetune.json
form by form, others in it left as they are. Minutes are of one thread's computation in training.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import inputs  # first: it sets what torch reads when it is imported
from result_path import RESULTS, command, save
from tables.finetune import table

from stablequant.data.speech import Speech
from stablequant.families.checkpoint import load
from stablequant.families.model import SpeechModel
from stablequant.jobs.finetune import REPORT, Judge, Tuning, scheme_for, tune
from stablequant.jobs.speech import read_splits
from stablequant.observe.moments import moments_once
from stablequant.quantize.scheme import LayerScheme, Scheme
from stablequant.quantize.weights import WeightStore
from stablequant.runtime.processor import machine
from stablequant.settings import Settings
from stablequant.training.losses import Distillation
from stablequant.training.train import TITLE, Schedule

FRAME = {"scales": "frame", "strategy": "none", "objective": "divergence"}
#: Name -> settings.
FORMS: Mapping[str, Mapping[str, Any]] = {
    "w4a8": FRAME | {"bits": "w4a8"},
    "w4a4": FRAME | {"bits": "w4a4"},
    "w8a8 static": FRAME | {"scales": "calibrated"},
}


def by_gptq(scheme: Scheme) -> dict[str, LayerScheme]:
    """The same with weights rounded by GPTQ."""
    return {n: replace(s, weight=replace(s.weight, rounding="gptq")) if s.weight else s for n, s in scheme.items()}


def gptq(judge: Judge, model: SpeechModel, work: Speech, scheme: Scheme, kept: Path) -> dict[str, Any]:
    """The divergence of ``model`` with weights rounded by GPTQ."""
    store = WeightStore.of(model, moments_once(model, work, kept / "moments.safetensors"))
    return judge.judged(model, by_gptq(scheme), store)


def measure(
    folder: str, data: list[str], settings: Settings, schedule: Schedule, form: str, *, fit: bool
) -> dict[str, Any]:
    """One form of one model, before and after, and by GPTQ if weights are to be ``fit`` so; a stopped training goes on."""
    model = load(folder)
    speech, _, settings = read_splits(model.frontend, data, settings)
    work, kept = speech["calibration"], inputs.WORK / "finetune" / Path(folder).name
    kept /= form.replace(" ", "-")
    if (kept / "out" / REPORT).is_file():  # of an earlier measurement
        shutil.rmtree(kept / "out")
    (kept / "tuned").mkdir(parents=True, exist_ok=True)
    count = settings.search.divergence_utterances
    chosen = speech["dev"].draw(count, settings.data.seed)
    dev = speech["dev"].part(chosen, settings.data.batch_size, settings.data.batch_seconds)
    scheme = scheme_for(model, work, settings, kept / "activations.npz")
    tuning = Tuning(work, dev, settings, schedule, scheme=scheme, name=folder, sources=tuple(data))
    steps = Steps()
    report = tune(model, tuning, kept / "out", progress=steps)
    ways = {
        "nearest": report["dev"]["before"],
        "tuned, nearest": report["dev"]["after"],
        "tuned, float": report["dev"]["float_after"],
    }
    if fit:
        judge, tuned = Judge(model, dev, Distillation(model)), load(kept / "out")
        ways["GPTQ"] = gptq(judge, model, work, scheme, kept)
        ways["tuned, GPTQ"] = gptq(judge, tuned, work, scheme, kept / "tuned")
    return {
        "ways": {name: {k: found[k] for k in ("divergence", "divergence_error")} for name, found in ways.items()},
        "steps": schedule.steps,
        "learning_rate": schedule.learning_rate,
        "batch_seconds": settings.data.batch_seconds,
        "data": [Path(source).stem for source in data],
        "training_seconds": report["seconds"],
        "training_loss": report["training_loss"],
        "cpu_minutes": round(steps.seconds * schedule.steps / 60, 2),
        "dev_utterances": len(dev.utterances),
        "dev_seconds": round(dev.seconds, 1),
        "command": command(),
        "machine": machine(),
    }


class Steps:
    """Tells how far training is, and how much of the processor's time a step takes."""

    def __init__(self) -> None:
        """Start with none."""
        self._began: tuple[int, float] | None = None
        self.seconds = 0.0

    def __call__(self, title: str, done: int, total: int) -> None:
        """Note a step."""
        if done % 10 == 0:
            print(title, done, total, flush=True)
        if title == TITLE:
            now = time.process_time()
            first, began = self._began = self._began or (done, now)
            self.seconds = (now - began) / max(1, done - first)


def main() -> None:
    """Measure one model, or both of the repository."""
    parser = inputs.arguments_of(__doc__)
    parser.add_argument("models", nargs="*", default=[inputs.MOONSHINE, inputs.GRAFT], help="folders of checkpoints")
    inputs.add_data(parser)
    parser.add_argument("--forms", default=",".join(FORMS), help="of these, with commas")
    parser.add_argument("--steps", type=int, default=Schedule.steps)
    parser.add_argument("--learning-rate", type=float, default=Schedule.learning_rate)
    parser.add_argument("--utterances", type=int, default=16, help="of the dev speech")
    parser.add_argument("--without-gptq", action="store_true", help="measure the nearest codes alone")
    inputs.add_settings(parser)
    arguments = parser.parse_args()
    data, path = inputs.sources(arguments), RESULTS / "finetune.json"
    schedule = Schedule(arguments.steps, arguments.learning_rate)
    for folder in arguments.models:
        for form in arguments.forms.split(","):
            given = FORMS[form] | {"divergence_utterances": arguments.utterances}
            settings = inputs.settings_of(arguments).updated(**given)
            found = measure(folder, data, settings, schedule, form, fit=not arguments.without_gptq)
            models: dict[str, Any] = json.loads(path.read_text())["models"] if path.is_file() else {}
            models[f"{Path(folder).name}, {form}"] = found
            save("finetune", {"models": models})
            print(found, flush=True)
    print(table("finetune"))


if __name__ == "__main__":
    main()
