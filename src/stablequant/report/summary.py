"""summary.json: what a run found, in numbers. docs/summary.md explains each field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from stablequant.data.traits import traits
from stablequant.jobs.evidence import PAPER, Evidence
from stablequant.quantize.bits import average_bits
from stablequant.runtime.processor import machine
from stablequant.search.objective import POINTS_A_NAT
from stablequant.search.stage2 import Trial, choose
from stablequant.tasks import fidelity
from stablequant.tasks.bootstrap import paired_bootstrap
from stablequant.tasks.breakdown import breakdown
from stablequant.tasks.task import Evaluation

SCHEMA_VERSION = 1
#: What is evaluated beside the methods that are simulated.
NO_METHODS = ("float", "int8_file")


def summarise(evidence: Evidence) -> dict[str, Any]:
    """The summary of a run; rates in per cent, differences in points, times in seconds, sizes in bytes."""
    plan, model = evidence.plan, evidence.model
    reference = evidence.test["float"]
    against_simulation, against_plain = evidence.agreements
    labelled = not evidence.fidelity
    unit = "wer_" if labelled else ""  # what the float model says is no truth to err from
    return {
        "schema_version": SCHEMA_VERSION,
        "model": {
            "name": plan.model.name,
            "family": model.family,
            "fingerprint": model.fingerprint,
            "float_bytes": model.float_bytes,
        },
        "data": {name: identity.model_dump(mode="json") for name, identity in plan.data.items()}
        | {
            "references": "text" if labelled else "float32",
            "normalizer": reference.figures.get("normalizer", plan.settings.data.normalizer),
            "skipped": {name: dict(s.skipped) for name, s in evidence.job.speech.items() if s.skipped},
            "notes": [[*note] for s in evidence.job.speech.values() for note in s.notes],
        },
        "float": dict(reference.figures),
        "methods": {
            name: _compared(evidence, name) | _how(evidence, name) for name in evidence.test if name not in NO_METHODS
        },
        "int8_file": _compared(evidence, "int8_file")
        | {
            "bytes": evidence.file_bytes,
            "bytes_ratio": round(evidence.file_bytes / model.float_bytes, 4),
            "speedup": round(evidence.speedup, 3),
            "speed_seconds": {k: [round(s, 4) for s in v] for k, v in evidence.speed_seconds.items()},
            "runtime": evidence.runtime,
            f"{unit}difference_to_simulation": round(against_simulation.difference, 4),
            "transcripts_identical_to_simulation": round(against_simulation.identical, 4),
            f"{unit}difference_to_unoptimised": round(against_plain.difference, 4),
            "transcripts_identical_to_unoptimised": round(against_plain.identical, 4),
            f"{unit}difference_limit": round(against_simulation.limit, 4),
        },
        **breakdown(evidence.job.task, traits(evidence.job.speech["test"]), evidence.test["int8_file"], reference),
        "checks": [
            {
                "reference": c.reference,
                "identical": round(c.identical, 4),
                "difference": round(c.difference, 4),
                "interval": [round(end, 4) for end in c.interval],
                "limit": round(c.limit, 4),
                "passed": c.passed,
            }
            for c in evidence.agreements
        ],
        "warnings": list(evidence.warnings),
        "flagged": list(plan.flagged),
        "p": plan.p if plan.p is not None or not plan.flagged else {x.name: x.p for x in plan.layers if x.flagged},
        "p_curves": p_curves(evidence),
        "gamma": plan.settings.search.gamma,
        "dev": ({"float_wer": round(evidence.dev.rate, 4)} if labelled else {})
        | {
            "words": int(evidence.dev.total),
            "utterances": len(evidence.dev.ids),
            "resolution": None if evidence.resolution is None else round(evidence.resolution, 4),
        },
        "search": {
            "mode": plan.settings.search.strategy,
            "objective": plan.settings.search.objective,
            "evaluations": round(evidence.search.spent.evaluations, 2),
            "stage_1": round(evidence.search.spent.stage_1, 2),
            "stage_2": round(evidence.search.spent.stage_2, 2),
            "naive": evidence.search.spent.naive,
            "seconds": round(evidence.search.spent.seconds, 1),
        },
        "allocation": _allocation(evidence),
        "ops": len(model.ops(matmuls=plan.settings.activations.attention_matmuls)),
        "ops_int8": len(plan.scheme()),
        "widths": f"w{plan.settings.weights.bits}a{plan.settings.activations.bits}"
        if not plan.settings.search.mixed
        else "mixed",
        "weight_bits": round(average_bits(model.layer_weights(), plan.scheme()), 3),
        "ops_float": [layer.name for layer in plan.layers if not layer.activations],
        "seconds": evidence.job.clock.seconds,
        "machine": machine(),
        "versions": plan.versions,
        "command": evidence.job.command,
    }


def _allocation(evidence: Evidence) -> dict[str, Any] | None:
    """What an allocation chose, in layers and nats; ``None`` where there was none."""
    found = evidence.search.allocation
    if found is None:
        return None
    return {
        "schemes": dict(Counter(choice.name for choice in found.choices.values())),
        "allowance": found.allowance,
        "within": found.within,
        "divergence": float(f"{found.chosen.score.rate:.4g}"),
        "divergence_most_accurate": float(f"{found.accurate.score.rate:.4g}"),
        "budgets": [
            {"bytes_ratio": round(b.share, 4), "estimate": float(f"{b.nats:.4g}"), "chosen": b.chosen}
            for b in found.budgets
        ],
    }


def _how(evidence: Evidence, name: str) -> dict[str, Any]:
    """How the paper's scheme was found; nothing of other methods."""
    found = evidence.search.paper
    if name != PAPER or found is None:
        return {}
    return {
        "p": found.p,
        "flagged": list(found.flagged),
        "objective": "divergence",
        "tried": found.tried,
        "utterances_searched": found.utterances,
        "evaluations": round(found.evaluations, 2),
        "seconds": round(found.seconds, 1),
    }


def p_curves(evidence: Evidence) -> list[dict[str, Any]]:
    """Stage 2's trials: one p for all flagged layers, then each layer's own where that was searched."""
    series = evidence.search.stage2.series
    found = [_p_curve(evidence, trials, _moved(trials) if number else None) for number, trials in enumerate(series)]
    return [curve for number, curve in enumerate(found) if not number or curve["layer"]]


def _p_curve(evidence: Evidence, series: Sequence[Trial], layer: str | None) -> dict[str, Any]:
    """One series, rates in per cent, or in the points that a divergence stands for."""
    points = POINTS_A_NAT if evidence.plan.settings.search.objective == "divergence" else 1.0

    def p(trial: Trial) -> float:
        return trial.p[layer] if layer else next(iter(trial.p.values()))

    def told(rate: float) -> float:
        return round(points * rate, 4)

    return {
        "layer": layer,
        "chosen": p(choose(series)),
        "float": told(evidence.search.reference.score.rate),
        "trials": [
            {"p": p(t), "rate": told(t.rate), "interval": t.interval and [*map(told, t.interval)], "share": t.share}
            for t in series
        ],
    }


def _moved(series: Sequence[Trial]) -> str | None:
    """The layer whose p differs within ``series``; ``None`` if none does."""
    return next((name for name in series[0].p if len({trial.p[name] for trial in series}) > 1), None)


def _compared(evidence: Evidence, name: str) -> dict[str, Any]:
    distance = evidence.fidelity.get(name)
    found = compared(evidence.test["float"], evidence.test[name])
    return found if distance is None else found | fidelity.figures(distance)


def compared(reference: Evaluation, result: Evaluation) -> dict[str, Any]:
    """A method's figures, and the difference to ``reference`` with its interval by paired bootstrap over utterances."""
    difference = paired_bootstrap(reference.score, result.score)
    return {
        **result.figures,
        "delta": round(difference.delta, 4),
        "delta_interval": [round(difference.low, 4), round(difference.high, 4)],
    }
