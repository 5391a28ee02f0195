"""Does calibration still fit production? Activations of production speech against those of calibration, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stablequant.data import manifest
from stablequant.errors import DataError, SettingsError
from stablequant.families.model import SpeechModel
from stablequant.files import file_digest
from stablequant.grid import chance
from stablequant.grid.affine import QuantParams
from stablequant.grid.chance import STATISTICS, Ends, Limits
from stablequant.jobs.open import Opened, open_model
from stablequant.jobs.speech import decode, divide
from stablequant.observe.production import ENDING, Production
from stablequant.observe.recordings import Recordings, Seen, Watcher
from stablequant.observe.reference import NAME, Reference
from stablequant.progress import Progress, silent
from stablequant.quantize.plan import Plan
from stablequant.runtime.processor import machine

#: Share of speech of calibration's kind that is called something else.
FALSE_ALARMS = 0.01


def drift(
    folder: Path,
    sources: Sequence[str],
    *,
    checkpoint: str = "",
    save: Path | None = None,
    false_alarms: float = FALSE_ALARMS,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Judge whether the calibration of the plan in ``folder`` covers the speech of ``sources``.

    The first time, calibration speech is observed recording by recording and kept in the folder as reference.npz; later and
    elsewhere the folder is enough.

    Args:
        folder: That quantize wrote.
        sources: Recordings: manifests, folders or ``hf:`` data sets, whose text is not looked at; and parts that ``save``
            wrote, here or on other machines, by their ending ``.npz``.
        checkpoint: Where the float checkpoint of the plan is now; default: where it was. Parts alone need none.
        save: Where to write what was observed of ``sources``, as a part.
        false_alarms: Rate at which speech of the same kind as calibration's is said not to be covered.
        progress: Told what is running.

    Returns:
        ``covered``; ``recordings``, ``seconds``, ``skipped``; ``activations``: one row each with its statistics and their limits,
        in network order; ``divergence`` of int8 from float on production and calibration, and its limit.

    Raises:
        ModelError: The float checkpoint is gone, and speech is to be observed.
        DataError: Neither reference.npz nor the calibration speech is there, or a part is of another plan.
        SettingsError: ``false_alarms`` is no rate, ``save`` has another ending, or a source is given twice.
    """
    if not 0 < false_alarms < 1:
        what = f"--false-alarms {false_alarms:g}"
        raise SettingsError(what, expected="a rate above 0 and below 1")
    if save is not None and save.suffix != ENDING:
        what = f"--save {save}"
        raise SettingsError(what, expected=f"a name that ends in {ENDING}, by which --data knows a part")
    if len(set(sources)) < len(sources):
        what = "the same speech or part is given twice with --data"
        raise SettingsError(what, expected="each once", fix="leave one out")
    parts = [source for source in sources if source.endswith(ENDING)]
    speech = [source for source in sources if source not in parts]
    work = _Work(folder, checkpoint, progress)
    production = Production(work.identity)
    # Before calibration speech is observed, which may take minutes: what cannot be read is told at once.
    for part in parts:
        production.merge(Production.load(Path(part)))
    recordings = work.recordings(speech) if speech else None
    reference = work.reference()
    if recordings is not None:
        production.merge(work.production(recordings))
    if not production.recordings:
        what = "no recording was observed"
        raise DataError(what, expected="speech, or parts that hold some", fix="give more with --data")
    if save is not None:
        production.save(save)
    return {
        "folder": str(folder),
        "model": work.plan.model.name,
        "data": list(sources),
        **judged(reference, production, false_alarms),
        "machine": machine(),
    }


def judged(
    reference: Reference, production: Production, false_alarms: float, draws: int = chance.DRAWS
) -> dict[str, Any]:
    """What `drift` says of ``production`` compared with ``reference``."""
    as_many = reference.as_many(production.recordings, production.seconds)
    found = reference.activations
    limits = chance.limits(found.values(), reference.nats, reference.steps, as_many, false_alarms, draws=draws)
    values = np.array([chance.statistics(a, production.mass[n], production.outside[n]) for n, a in found.items()])
    rows = [_row(name, *pair) for name, *pair in zip(found, values, limits.values, strict=True)]
    distance = _divergence(reference, production, limits)
    return {
        "covered": not distance["exceeds"] and not any(row["exceeds"] for row in rows),
        "false_alarms": false_alarms,
        "recordings": production.recordings,
        "seconds": round(production.seconds, 1),
        "skipped": production.skipped,
        "calibration": {
            "recordings": len(reference.seconds),
            "seconds": round(float(reference.seconds.sum()), 1),
            "compared_with": as_many,
        },
        "divergence": distance,
        "activations": rows,
    }


def _row(name: str, values: NDArray[np.float64], limits: NDArray[np.float64]) -> dict[str, Any]:
    """An activation's statistics with their limits, ``None`` where one does not apply, and those beyond."""
    layer, _, index = name.rpartition("#")
    pairs = dict(zip(STATISTICS, zip(values.tolist(), limits.tolist(), strict=True), strict=True))
    return {
        "layer": layer,
        "input": int(index),
        **{s: None if np.isnan(value) else float(f"{value:.4g}") for s, (value, _) in pairs.items()},
        "limits": {s: None if np.isnan(limit) else float(f"{limit:.4g}") for s, (_, limit) in pairs.items()},
        "exceeds": [s for s, (value, limit) in pairs.items() if value > limit],
    }


def _divergence(reference: Reference, production: Production, limits: Limits) -> dict[str, Any]:
    usual = float(reference.nats.sum() / reference.steps.sum())
    found = production.nats / max(1, production.steps)
    return {
        "production": float(f"{found:.4g}"),
        "calibration": float(f"{usual:.4g}"),
        "limit": float(f"{usual * limits.ratio:.4g}"),
        "exceeds": bool(found > usual * limits.ratio),
    }


@dataclass
class _Work:
    """A folder whose model is opened when speech must be observed, once."""

    folder: Path
    checkpoint: str
    progress: Progress

    def __post_init__(self) -> None:
        self.plan = Plan.load(self.folder / "plan.json")
        #: What an observation depends on beside its speech; the plan names its checkpoint by hash, and its settings.
        self.identity = {"plan": file_digest(self.folder / "plan.json")}
        self._opened: Opened | None = None

    def _model(self) -> tuple[SpeechModel, Watcher]:
        if self._opened is None:
            self._opened = open_model(self.folder, simulate=True, checkpoint=self.checkpoint)
        opened = self._opened
        assert opened.checkpoint is not None
        model, matmuls = opened.checkpoint, self.plan.settings.activations.attention_matmuls
        return model, Watcher(model, opened.backend, ends_of(self.plan, model), matmuls=matmuls)

    def reference(self) -> Reference:
        """Calibration speech, observed once and kept in the folder."""
        path = self.folder / NAME
        if path.is_file() and (kept := Reference.load(path)).identity == self.identity:
            return kept
        planned, settings = self.plan.data["calibration"], self.plan.settings
        try:
            division = divide(planned.sources, settings)
            model, watch = self._model()
            parts = {"calibration": division.parts["calibration"]}
            speech = decode(model.frontend, division.task, parts, settings)["calibration"]
        except DataError as error:
            what = f"{self.folder} has no {NAME}, and its calibration speech is not there: {error.what}"
            fix = f"run stablequant drift once where that speech is, which leaves {NAME} in the folder"
            raise DataError(what, expected=error.expected, fix=fix) from error
        if speech.fingerprint != planned.fingerprint:
            what = f"{', '.join(planned.sources)} is not the calibration speech that {self.folder} was made with"
            fix = f"put that speech back, or copy {NAME} from where stablequant drift was run with it"
            raise DataError(what, expected="the same recordings and texts", fix=fix)
        title, total = "observing calibration speech", len(speech.waveforms)
        self.progress(title, 0, total)

        def seen() -> Iterator[Seen]:
            for done, waveform in enumerate(speech.waveforms, 1):
                yield watch([waveform])
                self.progress(title, done, total)

        made = Reference.of(seen(), ends_of(self.plan, model), self.identity)
        made.save(path)
        return made

    def recordings(self, sources: Sequence[str]) -> Recordings:
        """The speech of ``sources``, found and none of it decoded."""
        utterances = manifest.load(sources)
        model, _ = self._model()
        return Recordings(utterances, model.frontend, self.plan.settings.data.max_bad_fraction)

    def production(self, recordings: Recordings) -> Production:
        """What is seen of ``recordings``, one at a time."""
        _, watch = self._model()
        production = Production(self.identity)
        title = "observing production speech"
        self.progress(title, 0, len(recordings))
        for pieces in recordings:
            production.add(watch(pieces))
            self.progress(title, recordings.used, len(recordings) - len(recordings.skipped))
        production.skipped = len(recordings.skipped)
        return production


def ends_of(plan: Plan, model: SpeechModel) -> dict[str, Ends]:
    """For every observed activation the values that its static grid does not clip; ``None`` where it has none."""
    scheme = plan.scheme()
    ends: dict[str, Ends] = {}
    for op in model.ops(matmuls=plan.settings.activations.attention_matmuls):
        specs = scheme[op.name].activations if op.name in scheme else ()
        for index in range(len(op.node.activations)):
            spec = specs[index] if index < len(specs) else None
            grid = spec.unclipped if isinstance(spec, QuantParams) else None
            ends[f"{op.name}#{index}"] = None if grid is None else (grid.low, grid.high)
    return ends
