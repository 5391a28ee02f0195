"""How well divergence predicts words, and the estimate divergence."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import cpu, interval, markdown

#: Beyond so many nats a decoder breaks down, and words are no longer in proportion.
PROPORTIONAL = 0.5


def table(name: str) -> str:
    """Of bench/objective.py."""
    models = load_result(name)["models"]
    parts = []
    for model, found in models.items():
        rows = [
            [
                r["scheme"],
                f"{r['divergence']:.4f}",
                f"{r['standard_error']:.4f}",
                f"{r['delta']:+.2f}",
                interval(r["delta_interval"]),
            ]
            for r in sorted(found["schemes"], key=lambda r: float(r["divergence"]))
        ]
        few = [
            [count, f"{p['spearman']:.3f}", f"{100 * p['relative_error']:.0f} %", f"{p['spread_over_told']:.2f}"]
            for count, p in found["parts"].items()
        ]
        e, cost = found["estimate"], found["cost"]
        slopes = [
            r["delta"] / r["divergence"]
            for r in found["schemes"]
            if r["delta_interval"][0] > 0 and r["divergence"] < PROPORTIONAL
        ]
        parts += [
            f"**{model}** ({', '.join(found['sources'])}: {found['utterances']} dev utterances, {found['words']} test words)",
            markdown(["scheme", "nats a step", "standard error", "points", "95 % interval"], rows),
            f"Rank agreement (Spearman) of nats and points: {found['spearman']:.3f}. Points a nat, of schemes beyond chance and "
            f"below {PROPORTIONAL} nats: {min(slopes):.0f} to {max(slopes):.0f}. Seconds of computation for all schemes: "
            f"{cost['divergence_seconds']:.0f} by divergence (with the estimates below), {cost['words_seconds']:.0f} by words.",
            markdown(["utterances", "rank agreement", "standard error told", "spread seen / told"], few),
            f"One layer at a time, {e['pairs']} schemes of some layers, the estimate from one backward pass against trials: rank "
            f"agreement {e['spearman']:.3f}, median ratio {e['median_ratio']:.2f}; {e['estimate_evaluations']:.1f} against "
            f"{e['trial_evaluations']:.1f} evaluations.",
            f"{cpu(found)}. `{found['command']}`",
        ]
    return "\n\n".join(parts)
