"""Methods of quantisation, each an entry: what the table of all methods at every width measures.

A method makes of a study and a width the model that it quantises, each layer's scheme, and the integer weights. A width is a word
of stablequant/widths.py. Where a method makes no sense at a width it makes nothing. To add one, add an entry to `METHODS`:

    Method("all in float but the weights", lambda study, bits: frames(study, "w4a16"))
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from judging import bytes_ratio
from study import Study
from tables.claim import OURS

from stablequant.families.checkpoint import load
from stablequant.families.model import SpeechModel
from stablequant.grid.unrounded import Unrounded
from stablequant.jobs.finetune import REPORT
from stablequant.quantize import calibrated
from stablequant.quantize.folding import fold
from stablequant.quantize.options import own_widths
from stablequant.quantize.scheme import Scheme
from stablequant.quantize.weights import WeightStore
from stablequant.recipes import recipe
from stablequant.search.allocate import allocate, layer_options
from stablequant.search.budget import within_budget
from stablequant.search.costs import modelled
from stablequant.search.objective import Divergence
from stablequant.search.paper_scheme import naive_costs, paper_scheme
from stablequant.settings import Settings
from stablequant.training.losses import Distillation


@dataclass(frozen=True)
class Made:
    """What a method makes: the model, each layer's scheme, and its integer weights."""

    model: SpeechModel
    scheme: Scheme
    weights: WeightStore


@dataclass(frozen=True)
class Method:
    """A way to quantise.

    Attributes:
        name: In the table.
        make: Of a study and a width; ``None``: it makes no sense there.
        labels: Whether it needs transcripts.
        training: Whether the model is trained for it.
        option: What the command needs for it.
        trained: Steps, seconds of speech and minutes of a training, where they are known.
    """

    name: str
    make: Callable[[Study, str], Made | None]
    labels: bool = False
    training: bool = False
    option: str = ""
    trained: Mapping[str, float] = field(default_factory=dict)


def static(study: Study, bits: str, calibrator: str, percentile: float = 99.99) -> Made | None:
    """One scale an activation by the same calibrator everywhere, every operation at one width, the nearest weights by channel."""
    settings = _whole(study, bits, percentile)
    if settings is None:
        return None
    return Made(study.model, calibrated.uniform(study.histograms, calibrator, settings), study.store())


def static_our_weights(study: Study, bits: str) -> Made | None:
    """The same by least squares with the weights and convolutions that a scale a block has: what the activations alone cost."""
    settings = study.settings.updated(bits=bits)
    if settings.weights.group is None or _in_float(settings):
        return None
    scheme = {
        op.name: calibrated.layer(study.histograms, op.name, "mse", own_widths(study.model, op, settings))
        for op in study.model.ops()
    }
    return Made(study.model, scheme, study.store())


def paper(study: Study, bits: str, *, all_layers: bool = False) -> Made | None:
    """The paper's scheme: flagged layers clipped at one p, found by divergence; or all layers clipped so."""
    settings = _whole(study, bits)
    if settings is None:
        return None
    weights, histograms = study.store(), study.histograms
    trials = study.trials("dev", Divergence(), weights)
    if all_layers:
        naive = dict.fromkeys(histograms, float("inf"))
    else:
        naive = naive_costs(trials, histograms, settings)
    # What the search takes is timed with the rest, so the unit of its own account is of no use here.
    return Made(study.model, paper_scheme(trials, histograms, naive, settings, 1).scheme, weights)


def frames(study: Study, bits: str, **weights: Any) -> Made:
    """A scale a frame, or a block below 8 bits, nothing searched; ``weights``: settings of how they are rounded."""
    given = {f"weights.{name}": value for name, value in weights.items()}
    scheme = study.by_frame(study.settings.updated(bits=bits, **given))
    return Made(study.model, scheme, study.store())


def folded(study: Study, bits: str, method: str, *, one_scale: bool = False) -> Made | None:
    """A fold of the weights, then a scale a frame or block and GPTQ; or ``one_scale`` an activation and the nearest weights."""
    made = fold(study.model, study.speech["calibration"], method)
    on_it = study.on(made.model, method)
    return static(on_it, bits, "mse") if one_scale else frames(on_it, bits, rounding="gptq")


def default(study: Study, bits: str) -> Made:
    """The recipe `default`, by modelled times, which are the same on every machine."""
    settings = _recipe(study, bits)
    study = study.folded(settings)
    weights = study.store()
    trials = study.trials("dev", Divergence(), weights)
    costs = modelled(trials.simulator, trials.speech, layer_options(trials, study.histograms, settings))
    found = allocate(trials, study.histograms, settings, costs)
    return Made(study.model, found.chosen.candidate.scheme, weights)


def mix(study: Study, bits: str) -> Made | None:
    """Each layer's width within the bytes that one width everywhere takes."""
    uniform = _recipe(study, bits)
    if uniform.weights.bits == 8 or _in_float(uniform):
        return None
    study = study.folded(uniform)
    share = bytes_ratio(study.model, study.by_frame(uniform))
    settings = _recipe(study, "w8a8").updated(
        **{"activations.bits": uniform.activations.bits, "search.target_bytes": share}
    )
    weights = study.store()
    found = within_budget(study.trials("dev", Divergence(), weights), study.histograms, settings)
    return Made(study.model, found.chosen.candidate.scheme, weights)


def trained(folder: str, width: str, study: Study, bits: str) -> Made | None:
    """A checkpoint that was trained for one width, a scale a frame or a block and the nearest weights, as in its training."""
    if bits != width:
        return None
    return frames(study.on(load(folder), f"tuned-{width}"), bits)


def tuned(given: Sequence[str]) -> list[Method]:
    """A method an option ``WIDTH=FOLDER``."""
    pairs = [value.split("=", 1) for value in given]
    return [
        Method(
            "trained for it (QAT)",
            partial(trained, folder, width),
            _learnt_from_text(folder),
            True,
            f"--tuned {width}={folder}",
            {key: value for key, value in _report(folder).items() if key in ("steps", "seconds", "minutes")},
        )
        for width, folder in pairs
    ]


def _learnt_from_text(folder: str) -> bool:
    """Whether what stablequant finetune wrote needed transcripts; other checkpoints are taken to."""
    return bool(_report(folder).get("loss") != Distillation.name)


def _report(folder: str) -> dict[str, Any]:
    """What stablequant finetune tells of a training; nothing of another checkpoint's."""
    path = Path(folder) / REPORT
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def _whole(study: Study, bits: str, percentile: float = 99.99) -> Settings | None:
    """One width in every operation, weights by channel: as tools with static scales have it. ``None``: activations in float."""
    settings = study.settings.updated(bits=bits, percentile=percentile)
    return None if _in_float(settings) else settings.updated(**{"weights.group": None})


def _recipe(study: Study, bits: str) -> Settings:
    return study.settings.updated(**recipe("default").settings, bits=bits)


def _in_float(settings: Settings) -> bool:
    return settings.activations.bits == Unrounded().bits


METHODS = (
    Method("static, max", partial(static, calibrator="max")),
    *(
        Method(f"static, percentile {value:g}", partial(static, calibrator="percentile", percentile=value))
        for value in (99.9, 99.99, 99.999)
    ),
    Method("static, mse", partial(static, calibrator="mse")),
    Method("static, entropy", partial(static, calibrator="entropy")),
    Method("static, clipped mse, one p by divergence", partial(paper, all_layers=True)),
    Method("static, mse, weights in groups", static_our_weights),
    Method("the paper's scheme, by divergence", paper),
    Method("a scale a frame or block, nearest", partial(frames, range="max")),
    Method("a scale a frame or block, mse", partial(frames, range="mse")),
    Method("a scale a frame or block, mse, bias", partial(frames, range="mse", correct_bias=True)),
    Method("a scale a frame or block, GPTQ", partial(frames, rounding="gptq")),
    Method("a scale a frame or block, AdaRound", partial(frames, rounding="adaround")),
    Method("a scale a frame or block, GPTQ, bias", partial(frames, rounding="gptq", correct_bias=True)),
    Method("SmoothQuant, static, mse", partial(folded, method="smooth", one_scale=True)),
    Method("SmoothQuant, a scale a frame or block, GPTQ", partial(folded, method="smooth")),
    Method("AWQ's scaling, a scale a frame or block, GPTQ", partial(folded, method="awq")),
    Method("rotations, a scale a frame or block, GPTQ", partial(folded, method="rotate")),
    Method(OURS, default),
    Method("a width a layer within these bytes", mix),
)
