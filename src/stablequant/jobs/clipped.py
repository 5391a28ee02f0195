"""What a plan's grids clip: in which layers and channels, while what was said, and whether those words go wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stablequant.data import manifest
from stablequant.data.speech import Speech
from stablequant.data.utterance import unlabelled
from stablequant.errors import PlanError
from stablequant.grid.affine import QuantParams
from stablequant.jobs.clip_counts import ClipCounts
from stablequant.jobs.open import open_plan, planned_weights
from stablequant.jobs.speech import decode
from stablequant.progress import Progress, silent
from stablequant.quantize.scheme import Scheme
from stablequant.quantize.simulate import Simulator
from stablequant.runtime.processor import machine
from stablequant.tasks.asr import wrong_words
from stablequant.tasks.rules import Rules, resolve

#: Level of the tests that the verdict rests on.
LEVEL = 0.05


def clipped(
    folder: Path, sources: Sequence[str], *, checkpoint: str = "", progress: Progress = silent
) -> dict[str, Any]:
    """Count what the static grids of the plan in ``folder`` clip of the speech of ``sources``, and say what it is.

    Every recording is run in float ("before") and under the plan ("after"). Time steps are aligned with the answer's own tokens:
    by the best path of CTC, or by a decoder's cross-attention; steps in silence, told by energy, stand apart. A decoder's steps
    are its tokens.

    The verdict is "phonetics" if speech is clipped more often than silence and clipping is uneven over tokens by more than chance
    (permuted within recordings), both before quantisation; else "noise".

    Args:
        folder: That quantize wrote.
        sources: Manifests, folders or ``hf:`` data sets of speech. Without text nothing is said of words that went wrong.
        checkpoint: Where the float checkpoint of the plan is now; default: where it was.
        progress: Told what is running.

    Raises:
        PlanError: The plan has no static grid.
        StablequantError: As of `jobs.open.open_plan`, and of reading speech.
    """
    plan, model = open_plan(folder, checkpoint)
    if not static_grids(plan.scheme()):
        what = (
            f"{folder / 'plan.json'} has a scale a frame or a block, or float, in every layer: nothing can be clipped"
        )
        raise PlanError(
            what, expected="a plan with static grids", fix="ask this of a plan of --recipe paper or default"
        )
    simulator = Simulator(model, matmuls=True, weights=planned_weights(folder, plan, model))
    utterances = manifest.load(sources)
    speech = decode(model.frontend, None, {"all": utterances}, plan.settings)["all"]
    texts = [u.text for u in speech.utterances if u.text is not None]
    data = plan.settings.data
    rules = None if unlabelled(speech.utterances) else resolve(data.normalizer, data.written, texts)
    return {
        "folder": str(folder),
        "model": plan.model.name,
        "data": list(sources),
        "recordings": len(speech.utterances),
        "seconds": round(speech.seconds, 1),
        "skipped": dict(speech.skipped),
        **look(simulator, plan.scheme(), plan.flagged, speech, rules, progress),
        "machine": machine(),
    }


def look(
    simulator: Simulator,
    scheme: Scheme,
    flagged: Sequence[str],
    speech: Speech,
    rules: Rules | None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """What `clipped` says of ``speech`` under a ``scheme``.

    Args:
        simulator: Of the model, with attention's products apart.
        scheme: How each layer is quantised.
        flagged: Layers that were given a clip of their own: where there are any, figures by speech, token and word are of them.
        speech: What is run.
        rules: By which words are compared; ``None``: there is no text.
        progress: Told what is running.
    """
    model, grids = simulator.model, static_grids(scheme)
    judged = [name for name in flagged if name in grids] or list(grids)
    runs = {
        "before": ClipCounts(model, simulator, grids, judged),
        "after": ClipCounts(model, simulator, grids, judged, simulator.operands(scheme)),
    }
    title = "looking for clipped values"
    progress(title, 0, len(speech.utterances))
    for done, (utterance, waveform) in enumerate(zip(speech.utterances, speech.waveforms, strict=True), 1):
        for counts in runs.values():
            answer = counts.watch(waveform)
            if rules is not None and utterance.text is not None:
                counts.judge(wrong_words(rules, utterance.text, answer.text))
        progress(title, done, len(speech.utterances))
    found = {name: counts.result() for name, counts in runs.items()}
    return {
        "static_layers": len(grids),
        "judged": judged,
        "aligned_by": "cross-attention" if len(model.graphs) > 1 else "the best path of CTC",
        "verdict": verdict(found["before"]),
        "runs": found,
    }


def verdict(found: Mapping[str, Any]) -> str:
    """Phonetics or noise, by the rule of `clipped`; nothing where nothing is clipped."""
    if not any(row["clipped"] for row in found["layers"]):
        return "nothing is clipped"
    in_speech = found["speech"] is None or found["speech"]["in_speech"] > found["speech"]["in_silence"]
    tokens = found["tokens"]
    return "phonetics" if in_speech and tokens is not None and tokens["p"] < LEVEL else "noise"


def static_grids(scheme: Scheme) -> dict[str, QuantParams]:
    """The static grid of each layer's input, where it has one; products of activations are not looked at."""
    return {
        name: layer.activations[0]
        for name, layer in scheme.items()
        if len(layer.activations) == 1 and isinstance(layer.activations[0], QuantParams)
    }
