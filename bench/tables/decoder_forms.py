"""Forms of a decoder's linear layers side by side."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import cpu, interval, made_by, markdown


def table(name: str) -> str:
    """Of bench/decoder_forms.py."""
    r = load_result(name)
    rows, notes = [], []
    for model in r["models"]:
        scored = model.get("words", {}).get("forms", {})
        for runtime, found in model["runtimes"].items():
            speeds = [*found["passes"].values(), *found.get("whole", {}).values()]
            for form, size in found["bytes"].items():
                score = scored.get(form) if runtime == "onnxruntime" else None
                rows.append(
                    [
                        f"{model['name']}, {r['runtimes'][runtime].split()[0]}: {form}",
                        f"{score['delta']:+.2f} ({interval(score['delta_interval'])})" if score else "",
                        f"{score['divergence']:.4f}" if score else "",
                        f"{size / 1e6:.1f}",
                        *("{:.2f} ({:.2f} to {:.2f})".format(*speed[form]) for speed in speeds),
                        *[""] * (5 - len(speeds)),
                    ]
                )
        if scored:
            notes.append(
                f"{model['name']}: {model['words']['words']} test words of {', '.join(r['data'])}, float "
                f"{scored['float32']['wer']:.2f} %, by the files of ONNX Runtime"
            )
    first = r["models"][0]["runtimes"]["onnxruntime"]
    head = [
        "",
        "points against float (95 % interval)",
        "nats a token",
        "MB of the decoder",
        *first["passes"],
        *first["whole"],
    ]
    note = (
        f"{'; '.join(notes)}. The last {len(first['passes']) + len(first['whole'])} columns are speeds against float32 in the "
        f"same runtime: passes of the decoder alone, then from audio to text. One thread, its seconds of processor, median (and "
        f"quartiles) of the ratios in {r['rounds']['passes']} and {r['rounds']['whole']} rounds in turns; "
        f"{' and '.join(r['runtimes'].values())}; {cpu(r)}."
    )
    return markdown(head, rows, note, made_by(r))
