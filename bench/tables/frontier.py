"""Bytes against words: a row a budget, and the plot."""

from __future__ import annotations

from result_path import ROOT, load_result

from tables.markdown import made_by, markdown
from tables.scatter import scatter


def table(name: str) -> str:
    """Of bench/frontier.py."""
    s = load_result(name)
    rows, notes = [], []
    for model, found in s["models"].items():
        for r in found["rows"]:
            low, high = r["delta_interval"]
            rows.append(
                [
                    f"{model}, {r['name']}",
                    f"{r['bytes_ratio']:.3f}",
                    f"{r['bits']:.2f}",
                    str(r["layers_below_8_bits"]),
                    f"{r['divergence']:.4f}",
                    f"{r['delta']:+.2f}",
                    f"{low:+.2f} to {high:+.2f}",
                ]
            )
        notes.append(
            f"{model}: {found['words']} test words of {', '.join(found['data'])}, float {found['float_wer']:.2f} %"
        )
    head = [
        "",
        "bytes of float32's",
        "bits a weight",
        "layers of 4 bits",
        "nats a step",
        "points against float",
        "95 % interval",
    ]
    note = f"{'; '.join(notes)}. In simulation; divergence on the dev speech that the choice was made on."
    return markdown(head, rows, note, made_by(*s["models"].values()))


def plot(name: str) -> None:
    """docs/results/NAME.svg: points lost, with their interval, against bytes."""
    series = {
        model: [(r["bytes_ratio"], r["delta"], *r["delta_interval"]) for r in found["rows"]]
        for model, found in load_result(name)["models"].items()
    }
    drawn = scatter(series, "bytes of the weights, as a share of float32's", "points of error rate lost, 95 % interval")
    (ROOT / "docs" / "results" / f"{name}.svg").write_text(drawn)
