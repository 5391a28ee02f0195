"""Look at a model: what its activations are, what a scheme costs, and what it is rewritten to before that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stablequant.data.speech import Speech
from stablequant.data.utterance import unlabelled
from stablequant.errors import DataError
from stablequant.families.model import SpeechModel
from stablequant.grid.weights import WeightSpec
from stablequant.jobs.evaluate import evaluate_on, said_by
from stablequant.observe import collect
from stablequant.observe.collect import Histograms
from stablequant.observe.moments import moments_once
from stablequant.quantize import folding
from stablequant.quantize.by_frame import base
from stablequant.quantize.scheme import LayerScheme, Scheme
from stablequant.quantize.simulate import Simulator
from stablequant.quantize.weights import WeightStore
from stablequant.settings import Settings
from stablequant.tasks.bootstrap import Difference, paired_bootstrap
from stablequant.tasks.task import Evaluation, task_of


def fold(model: SpeechModel, speech: Speech | None = None, method: str = "smooth", **options: Any) -> SpeechModel:
    """Rewrite the weights of ``model`` so that it computes the same and rounds better; everything else takes the result.

    Nothing that was observed on ``model`` holds of what comes out: observe that. Folds can follow each other. What a fold leaves
    alone, and why, is in the result's ``notes``.

    Args:
        model: What is rewritten; it stays as it is.
        speech: Calibration speech, which "smooth" and "awq" need.
        method: "smooth" (SmoothQuant; option ``strength``), "awq" (its scaling of weights; options ``weights``, ``steps``),
            "rotate" (rotations as of QuaRot and SpinQuant; option ``seed``), or one registered with `fold_method`.
        options: Of the method.

    Raises:
        SettingsError: The method or an option is unknown, or an option has an impossible value.
        DataError: The method needs speech, and there is none.
    """
    return folding.fold(model, speech, method, **options).model


def observe(model: SpeechModel, speech: Speech, *, attention_matmuls: bool = False) -> Histograms:
    """Histograms of the activations of every layer of the float ``model`` on ``speech``, by layer, padding left out.

    Args:
        model: What is observed.
        speech: Calibration speech; its text is not used.
        attention_matmuls: Whether to observe attention's two products too.
    """
    batches = (speech.waveforms_of(batch) for batch in speech.batches)
    return collect.observe(model, batches, matmuls=attention_matmuls)


def scheme(
    model: SpeechModel,
    statistics: Histograms,
    calibrator: str = "mse",
    *,
    weights: WeightSpec | None = None,
    layers: Sequence[str] | None = None,
    **settings: Any,
) -> dict[str, LayerScheme]:
    """Every layer quantised by one calibrator, or with scales that are computed when it runs.

    Args:
        model: What is quantised.
        statistics: Of `observe`.
        calibrator: "max", "percentile", "mse", "entropy", "clipped_mse", or one registered with `calibrator`.
        weights: How weights become integers; default: 8 bits, one scale an output channel.
        layers: Names of the layers to quantise, others stay in float; default: all.
        settings: Any of docs/settings.md, such as ``symmetric=False``, ``scales="frame"`` or ``bits="w4a8"``, whose groups have
            scales of their own and need ``scales="frame"``.

    Raises:
        SettingsError: The calibrator or a setting is unknown.
        DataError: A layer was not observed.
    """
    chosen = Settings.parse(settings)
    names = list(statistics) if layers is None else list(layers)
    if unknown := sorted(set(names) - set(statistics)):
        what = f"layers {', '.join(unknown)} were not observed"
        raise DataError(
            what, expected=f"names among {len(statistics)} of this model", fix="stablequant inspect lists them"
        )
    whole = base(model, statistics, chosen.updated(calibrator=calibrator))
    found = {name: whole[name] for name in names}
    if weights is None:
        return found
    return {name: replace(s, weight=weights) if s.weight else s for name, s in found.items()}


def weights(model: SpeechModel, speech: Speech, path: str | Path) -> WeightStore:
    """Integer weights of ``model`` that can be made for calibration ``speech``.

    Such are those with ``rounding="gptq"`` or ``"adaround"``, or ``correct_bias=True``.

    Args:
        model: Whose weights.
        speech: Calibration speech; its text is not used.
        path: File that keeps what the layers read on it, and has it the next time: up to gigabytes.
    """
    return WeightStore.of(model, moments_once(model, speech, Path(path)))


def evaluate(
    model: SpeechModel,
    speech: Speech,
    scheme: Scheme | None = None,
    *,
    weights: WeightStore | None = None,
    **settings: Any,
) -> Evaluation:
    """Answers and score of ``model`` on ``speech``, in float or, with a ``scheme``, in simulated quantisation.

    Speech without text is compared with what ``model`` says in float. ``weights`` are those of `weights`, which a scheme needs
    whose weights are made for calibration speech.
    """
    matmuls = any(layer.weight is None for layer in (scheme or {}).values())
    simulator = Simulator(model, matmuls=matmuls, weights=weights)
    backend = simulator.backend(scheme or {})
    task = task_of(Settings.parse(settings).data).suited(speech.utterances)
    if unlabelled(speech.utterances):
        speech = said_by(model.frontend, simulator.backend({}), speech)
    return evaluate_on(model.frontend, backend, task, speech)


def compare(before: Evaluation, after: Evaluation) -> Difference:
    """By how much ``after`` errs more than ``before`` on the same speech, with its paired 95 % interval, in points.

    Raises:
        DataError: They were not evaluated on the same speech.
    """
    return paired_bootstrap(before.score, after.score)
