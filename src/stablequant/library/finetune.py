"""Fine-tune a model for a scheme."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stablequant.families.checkpoint import load
from stablequant.families.model import SpeechModel
from stablequant.jobs.finetune import SETTINGS, Tuning, tune
from stablequant.jobs.speech import searched
from stablequant.library.speech import SpeechSplits, read_speech
from stablequant.progress import Progress, silent
from stablequant.quantize.scheme import Scheme
from stablequant.settings import Settings
from stablequant.training.train import Schedule


@dataclass(frozen=True)
class Tuned:
    """A checkpoint that `finetune` wrote.

    Attributes:
        folder: Where: what `load` and `quantize` take.
        report: What came of it, see docs/finetune.md.
    """

    folder: Path
    report: dict[str, Any]


def finetune(
    model: SpeechModel | str,
    speech: SpeechSplits | Sequence[str],
    out: str | Path,
    *,
    scheme: Scheme | None = None,
    steps: int = Schedule.steps,
    learning_rate: float = Schedule.learning_rate,
    labels: bool = False,
    progress: Progress = silent,
    **settings: Any,
) -> Tuned:
    """Train a checkpoint's weights for a scheme, by distillation from the float model, and write them as a checkpoint.

    Args:
        model: From `load`, or its folder or hub id.
        speech: From `read_speech`, or sources for it; trained on is its calibration part.
        out: Folder to write; a run that was stopped there goes on.
        scheme: What to train for; default: as the settings have it, with a scale a frame.
        steps: Of the optimiser, one a batch.
        learning_rate: At its highest.
        labels: Learn from the text instead of from the float model.
        progress: Told what is running.
        settings: Any of docs/settings.md, such as ``bits="w4a8"``, ``scales="calibrated"`` or ``batch_seconds=16``.

    Raises:
        StablequantError: Of any kind; the state of training stays in ``out``.
    """
    language = Settings().updated(**settings).data.language
    loaded = load(model, language) if isinstance(model, str) else model
    known = speech.settings.model_dump(exclude_defaults=True) if isinstance(speech, SpeechSplits) else {}
    chosen = Settings.parse({**SETTINGS}).updated(**known).updated(**settings)
    if not isinstance(speech, SpeechSplits):
        speech = read_speech(speech, loaded, **{**SETTINGS, **settings})
        chosen = speech.settings
    data = chosen.data
    loaded = loaded.asked(data.language, translate=data.translate, window=data.window)
    schedule = Schedule(steps, learning_rate, data.seed)
    dev = searched(speech.dev, chosen)
    tuning = Tuning(speech.calibration, dev, chosen, schedule, labels, scheme, str(loaded.path), tuple(speech.sources))
    return Tuned(Path(out), tune(loaded, tuning, Path(out), progress=progress))
