"""Speech for a job: divided, decoded, and checked against what the model can write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stablequant.data import manifest
from stablequant.data.audio import LONGEST_SECONDS, require_few_bad
from stablequant.data.remarks import require_sound
from stablequant.data.speech import Speech
from stablequant.data.splits import make_splits
from stablequant.data.utterance import Utterance
from stablequant.errors import DataError
from stablequant.families.frontend import Frontend
from stablequant.quantize.plan import Plan
from stablequant.settings import Settings
from stablequant.tasks.task import Task, task_of


@dataclass(frozen=True)
class Division:
    """Speech that a job was given, divided; no audio has been read.

    Attributes:
        parts: Calibration, dev and test, disjoint; of the calibration speech as much as is wanted.
        task: Scores it.
        settings: These and the task have all decided that was left to the speech: rules for its language.
        notes: What a user should know of the speech as a whole, each with the sources' names.
    """

    parts: Mapping[str, Sequence[Utterance]]
    task: Task
    settings: Settings
    notes: tuple[tuple[str, str], ...]


def divide(sources: Sequence[str], settings: Settings) -> Division:
    """Calibration, dev and test speech of ``sources``."""
    utterances = manifest.load(sources)
    task = task_of(settings.data).suited(utterances)
    settings = settings.updated(**task.decided())
    seed = settings.data.seed
    splits = make_splits(utterances, seed)
    order = np.random.default_rng(seed).permutation(len(splits.calibration))
    drawn = tuple(splits.calibration[i] for i in sorted(order[: settings.data.calibration_utterances]))
    bare = sum(u.text is None for u in utterances)
    told = f"{bare} of {len(utterances)} recordings have no text, as others have: they serve calibration alone"
    notes = ((", ".join(sources), told),) if 0 < bare < len(utterances) else ()
    return Division({"calibration": drawn, "dev": splits.dev, "test": splits.test}, task, settings, notes)


def read(frontend: Frontend, division: Division) -> dict[str, Speech]:
    """The audio of a division."""
    speech = decode(frontend, division.task, division.parts, division.settings)
    calibration = speech["calibration"]
    require_sound(calibration.waveforms, "calibration")
    return speech | {"calibration": replace(calibration, notes=(*division.notes, *calibration.notes))}


def read_splits(
    frontend: Frontend, sources: Sequence[str], settings: Settings
) -> tuple[dict[str, Speech], Task, Settings]:
    """`divide` and `read` at once: speech, its task, and the settings with all decided that was left to the speech."""
    division = divide(sources, settings)
    return read(frontend, division), division.task, division.settings


def searched(dev: Speech, settings: Settings) -> Speech:
    """The dev speech that trials are run on: of a divergence's little noise a part tells enough."""
    search, data = settings.search, settings.data
    if search.objective == "task" or search.divergence_utterances >= len(dev.utterances):
        return dev
    return dev.part(dev.draw(search.divergence_utterances, data.seed), data.batch_size, data.batch_seconds)


def decode(
    frontend: Frontend,
    task: Task | None,
    parts: Mapping[str, Sequence[Utterance]],
    settings: Settings,
    *,
    longest: float | None = LONGEST_SECONDS,
) -> dict[str, Speech]:
    """Audio of each part at the model's rate; without a task nothing is asked of the text.

    What cannot be used is skipped; its share is counted over all parts together, and none may be left empty.
    """
    window = frontend.bounds.window
    # What a model with a window does not hear would count as if it had said nothing; whoever cuts gives no limit.
    if window is not None and longest is not None:
        longest = min(window, longest)
    everything = [utterance for part in parts.values() for utterance in part]
    refused = task.refuse(everything, frontend.head) if task else {}
    data, speech = settings.data, {}
    for name, part in parts.items():
        if not part:
            what = f"the split {name} holds no utterance"
            raise DataError(what, expected="speech to calibrate, to search and to test on", fix="give more data")
        speech[name] = Speech.read(
            part,
            frontend.sampling_rate,
            max_bad_fraction=1.0,
            batch_size=data.batch_size,
            batch_seconds=data.batch_seconds,
            shortest=frontend.bounds.shortest,
            refused=refused,
            longest=longest,
            window=frontend.bounds.padded,
        )
    require_few_bad([bad for s in speech.values() for bad in s.skipped], len(everything), data.max_bad_fraction)
    return speech


def recordings_of(
    folder: Path, plan: Plan, frontend: Frontend, sources: Sequence[str], count: int
) -> list[NDArray[np.float32]]:
    """At most ``count`` test recordings of ``sources``, or else of what the plan in ``folder`` was made with, of every length.

    Raises:
        DataError: The speech that the plan was made with is not there.
    """
    try:
        test = make_splits(manifest.load(sources or plan.data["test"].sources), plan.settings.data.seed).test
    except DataError as error:
        if sources:
            raise
        what = f"{folder / 'plan.json'} was made with speech that is not there: {error.what}"
        raise DataError(what, expected=error.expected, fix="give other speech with --data") from error
    few = sorted(test, key=lambda u: u.id)[:: max(1, len(test) // count)][:count]
    return decode(frontend, None, {"test": few}, plan.settings)["test"].sample(count)
