"""Put the measured tables into README.md and docs/, between markers; with --check, fail if they are out of date.

    python bench/readme.py [--check]

A table lives between `<!-- table NAME -->` and `<!-- end -->`; NAME is a function below.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def result(name: str) -> dict[str, Any]:
    """A file of bench/results."""
    loaded: dict[str, Any] = json.loads((ROOT / "bench" / "results" / f"{name}.json").read_text())
    return loaded


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, first column to the left."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *rows))


def cpu(result: dict[str, Any]) -> str:
    """The processor that gave the times, with what int8 kernels use of it."""
    machine = result["machine"]
    features = ", ".join(f.replace("_", "-") for f in machine["features"])
    return f"{machine['cpu']} ({features}), {machine['cores']} cores"


def methods(name: str) -> str:
    """Float, rivals, stablequant and the int8 file on test speech."""
    s = result(name)
    f, file = s["float"], s["int8_file"]
    mb = s["model"]["float_bytes"] / 1e6
    rows = [["float32", f"{f['wer']:.2f}", "", "", f"{f['cer']:.2f}", f"{mb:.1f}", "1"]]
    named = [(f"{k}, simulated", v) for k, v in s["methods"].items()] + [("**the int8 file**", file)]
    for label, r in named:
        low, high = r["delta_interval"]
        is_file = r is file
        rows.append(
            [
                label,
                f"{r['wer']:.2f}",
                f"{r['delta']:+.2f}",
                f"{low:+.2f} to {high:+.2f}",
                f"{r['cer']:.2f}",
                f"{file['bytes'] / 1e6:.1f}" if is_file else "",
                f"{file['speedup']:.2f}" if is_file else "",
            ]
        )
    head = ["W8A8, every operation", "WER %", "against float", "95 % interval", "CER %", "MB", "speed"]
    names, deltas = s["flagged"], s.get("sensitivity", {})
    names = sorted(names, key=lambda n: -deltas.get(n, 0.0))
    flagged = ", ".join(f"`{n}`" for n in names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    flagged = flagged or "none"
    p = s["p"] if not isinstance(s["p"], dict) else "one a layer"
    test, dev = s["data"]["test"]["details"], s["data"]["dev"]["details"]
    planes = ", inputs of the flagged ones in two planes" if "planes=2" in s["command"] else ""
    note = (
        f"Test: {test['utterances']} utterances, {f['words']} words; search on {dev['utterances']} dev utterances, "
        f"{s['dev']['words']} words. Flagged by stage 1: {flagged}. p = {p}. "
        f"{s['ops_int8']} of {s['ops']} operations in int8{planes}; {file['bytes_ratio']:.3f} of float32's bytes. "
        f"The file's WER differs from the simulation's by {file['wer_difference_to_simulation']:+.2f} points. "
        f"Speed: one utterance at a time, both files in {file['runtime']}, "
        f"{cpu(s)}. `{s['command']}`"
    )
    return f"{markdown(head, rows)}\n\n{note}"


def ablation(name: str) -> str:
    """The open choices."""
    r = result(name)
    rows = [
        [
            x["variant"],
            f"{x['p']:g}",
            f"{x['wer']:.2f}",
            f"{x['cer']:.2f}",
            f"{x['delta']:+.2f}",
            "{:+.2f} to {:+.2f}".format(*x["delta_interval"]),
        ]
        for x in r["rows"]
    ]
    head = ["variant", "best p", "WER %", "CER %", "against float", "95 % interval"]
    first, flagged = r["rows"][0], ", ".join(f"`{n}`" for n in r["flagged"])
    note = f"Dev speech, {first['words']} words, float {first['float_wer']:.2f} %; flagged: {flagged}."
    return f"{markdown(head, rows)}\n\n{note}"


def large(name: str) -> str:
    """A model of HuBERT-large's size."""
    r = result(name)
    rows = [
        ["parameters", f"{r['parameters']:,}"],
        ["operations in int8", f"{r['ops_int8']} of {r['ops']}"],
        ["bytes, float32 to file", f"{r['float_bytes']:,} to {r['bytes']:,} ({r['bytes_ratio']:.3f}x)"],
        ["speed against float, same runtime", f"{r['speedup']:.2f}x"],
        ["peak memory of the whole run", f"{r['peak_rss_bytes'] / 1e9:.1f} GB"],
        ["minutes, all stages", f"{r['minutes']:.1f}"],
    ]
    d = r["dev_utterances"]
    machine = f"{cpu(r)}, {r['runtime']}"
    note = f"Random weights, {d['utterances']} dev utterances of {d['seconds']} s in all, three values of p; {machine}."
    return f"{markdown(['HuBERT-large size', ''], rows)}\n\n{note}"


def sizes(name: str) -> str:
    """Models of usual sizes beside every float backend."""
    r = result(name)

    def known(value: float | None, text: str) -> str:
        return "" if value is None else text.format(value)

    def label(m: dict[str, Any], x: dict[str, Any]) -> str:
        threads = "" if m["threads"] == 1 else f" ({m['threads']} threads)"
        return f"{m['model']}{threads}, {x['name']}"

    rows = [
        [
            f"**{label(m, x)}**" if x["name"].startswith("int8") else label(m, x),
            f"{x['seconds']:.2f}",
            f"{x['speedup']:.2f}",
            known(x.get("bytes") and x["bytes"] / m["float_bytes"], "{:.3f}"),
            known(x.get("peak_rss_bytes") and x["peak_rss_bytes"] / 1e6, "{:.0f}"),
            known(x.get("load_seconds"), "{:.1f}"),
        ]
        for m in r["models"]
        for x in m["systems"]
    ]
    threads = sorted({m["threads"] for m in r["models"]})
    failed = [f"{m['model']}, {n} ({why})" for m in r["models"] for n, why in m.get("left_out", {}).items()]
    note = (
        f"Random weights, {r['seconds']:g} s of audio, batch 1, threads: {', '.join(map(str, threads))}; best float32 of each "
        f"model = 1, medians of {r['rounds']} rounds in turns; bytes against those of float32 weights; "
        f"{', '.join(r['runtimes'])}; {cpu(r)}."
    )
    if failed:
        note += f" Left out: {'; '.join(failed)}."
    return f"{markdown(['', 'seconds', 'speed', 'bytes', 'peak MB', 'seconds to load'], rows)}\n\n{note}"


def perturbation(name: str) -> str:
    """What a change too small to hear does."""
    r = result(name)
    rows = [
        [
            x["name"],
            f"{x['wer']:.2f}",
            f"{x['wer_difference']:+.2f}",
            "{:+.2f} to {:+.2f}".format(*x["wer_difference_interval"]),
            f"{x['transcripts_identical']:.0%}",
            f"{x['output_change']:.1%}" if x["output_change"] > 1e-3 else f"{x['output_change']:.0e}",
        ]
        for x in r["rows"]
    ]
    head = ["", "WER %", "moves by", "95 % interval", "transcripts identical", "encoder's output moves by"]
    note = f"{r['utterances']} utterances, {r['words']} words; {cpu(r)}."
    return f"{markdown(head, rows)}\n\n{note}"


def search_cost(name: str) -> str:
    """What the search costs, three ways."""
    rows, notes = [], []
    for model, m in result(name)["models"].items():
        naive = m["naive"]["evaluations"]
        for mode in ("naive", "exact", "racing"):
            x = m[mode]
            counted = mode != "naive" or x["utterances"] == m["exact"]["utterances"]
            rows.append(
                [
                    f"{model}, {mode}",
                    f"{x['evaluations']:.1f}",
                    f"{x['evaluations'] / naive:.2f}",
                    f"{x['seconds'] / 60:.0f}" if counted else "",
                    str(len(x["flagged"])) if counted else "",
                    f"{x['p']:g}" if counted and x["p"] is not None else "",
                    f"{x['wer']:.2f}" if counted and "wer" in x else "",
                ]
            )
        e, r = m["exact"], m["racing"]
        notes.append(
            f"{model}: {e['utterances']} dev utterances, {m['words']} words, float {m['float_wer']:.2f} %. "
            f"Exact against naive on {e['identical_on_utterances']} of them: "
            f"{'identical to the last bit' if e['identical'] else 'not identical'} (transcripts, WER, flags, p, scales); "
            f"the naive search counted {m['naive']['measured']:.1f} evaluations there. Racing flags "
            f"{'the same layers' if r['same_flagged'] else 'other layers'}; stage 1 listened to "
            f"{100 * r['heard_in_stage_1']:.0f} % of the speech on average. Its plan differs from the exact one's by "
            "{:+.2f} points of WER ({:+.2f} to {:+.2f}). ".format(*r["difference_to_exact"])
            + f"{cpu(m)}. `{m['command']}`"
        )
    head = ["search", "float evaluations", "of naive", "minutes of computation", "flagged", "p", "dev WER %"]
    return markdown(head, rows) + "\n\n" + "\n\n".join(notes)


def search_ablation(name: str) -> str:
    """Gamma, step, grid, one p a layer."""
    r = result(name)
    rows = [
        [
            x["variant"],
            str(x["flagged"]),
            str(x["tried"]),
            f"{x['evaluations']:.1f}",
            ", ".join(f"{p:g}" for p in x["p"]) or "none",
            "" if x["dev_wer"] is None else f"{x['dev_wer']:.2f}",
            f"{x['test_wer']:.2f}",
            f"{x['delta']:+.2f}",
            "{:+.2f} to {:+.2f}".format(*x["delta_interval"]),
        ]
        for x in r["rows"]
    ]
    head = [
        "variant",
        "flagged",
        "p tried",
        "float evaluations",
        "p",
        "dev WER %",
        "test WER %",
        "against float",
        "95 % interval",
    ]
    note = (
        f"Dev: {r['dev_words']} words, float {r['dev_float_wer']:.2f} %; test: {r['test_words']} words, float "
        f"{r['test_float_wer']:.2f} %; exact search where it does not say racing. `{r['command']}`"
    )
    return f"{markdown(head, rows)}\n\n{note}"


def search_model(name: str) -> str:
    """The search of a large model on a large dev set, modelled."""
    r = result(name)
    naive = r["rows"]["naive"]["evaluations"]
    rows = [
        [mode, f"{x['evaluations']:.0f}", f"{x['evaluations'] / naive:.2f}", f"{x['hours']:,.0f}"]
        for mode, x in r["rows"].items()
    ]
    head = ["search, modelled", "float evaluations", "of naive", "hours on one core"]
    note = (
        f"{r['layers']} layers, {r['values']} values of p; a trial of stage 1 takes {r['mean_share']:.2f} of an evaluation on "
        f"average; an evaluation takes {r['hours_an_evaluation']:.1f} hours of one thread, {cpu(r)}. "
        "`python bench/search_model.py`"
    )
    return f"{markdown(head, rows)}\n\n{note}"


def riding(name: str) -> str:
    """Trials stacked in the batch."""
    r = result(name)
    rows = [
        [f"{x['model']}, {x['utterances']} of {x['seconds']} s", f"{x['speedup']:.2f}", "yes" if x["equal"] else "no"]
        for x in r["rows"]
    ]
    head = [f"batch, {r['trials']} trials", "speed against one by one", "same to the last bit"]
    return f"{markdown(head, rows)}\n\nOne thread; {cpu(r)}. `python bench/riding.py`"


def overhead(name: str) -> str:
    """What transcribing costs beyond the runtime."""
    r = result(name)
    rows = [
        [
            f"{x['model']}, {x['runtime']}",
            f"{x['transcribe_seconds']:.2f}",
            f"{x['overhead']:.1%}",
            f"{x['one_at_a_time_seconds']:.2f}",
            f"{x['one_at_a_time_overhead']:.1%}",
            f"{x['reading_seconds']:.2f}",
        ]
        for x in r["rows"]
    ]
    head = ["", "batches, s", "beyond the runtime", "one by one, s", "beyond the runtime", "reading files, s"]
    first = r["rows"][0]
    note = f"{first['recordings']} recordings, {first['audio_seconds']:.0f} s of audio; one thread; {cpu(r)}."
    return f"{markdown(head, rows)}\n\n{note}"


def benchmark(name: str) -> str:
    """Int8 beside float, case by case."""
    r = result(name)
    names = [s["name"] for s in r["systems"]]
    rows = []
    for case in r["cases"]:
        length = "mixed lengths" if case["seconds"] == "real" else f"{case['seconds']:g} s"
        speeds = {s["name"]: f"{s['speedup']:.2f}" for s in case["systems"]}
        rows.append([f"{length}, batch {case['batch']}, threads {case['threads']}", *(speeds[n] for n in names)])
    for label, key in (("MB of files", "bytes"), ("MB resident at most", "peak_rss_bytes")):
        rows.append([label, *(f"{s[key] / 1e6:.0f}" for s in r["systems"])])
    rows.append(["seconds to load", *(f"{s['load_seconds']:.1f}" for s in r["systems"])])
    runtimes = " and ".join(dict.fromkeys(s["runtime"] for s in r["systems"]))
    note = f"Best float32 of each case = 1, medians of {r['rounds']} rounds in turns; {runtimes}; {cpu(r)}."
    return f"{markdown(['', *names], rows)}\n\n{note}"


def forms(name: str) -> str:
    """What each form of the graph is worth."""
    r = result(name)
    cases = list(dict.fromkeys(f"{x['model']}, {x['seconds']:g} s, batch {x['batch']}" for x in r["rows"]))
    runtimes = list(dict.fromkeys(x["runtime"] for x in r["rows"]))
    rows = []
    for runtime in runtimes:
        cells = [x["speeds"] for x in r["rows"] if x["runtime"] == runtime]
        rows += [[f"{runtime}: {form}", *(f"{speeds[form]:.2f}" for speeds in cells)] for form in cells[0]]
    graphs = ", ".join(dict.fromkeys(f"{x['model']}: {x['graph']}" for x in r["rows"]))
    note = f"{graphs}; one thread, against float32 in the same runtime, medians of the ratios in {r['rounds']} rounds; "
    note += f"{' and '.join(r['runtimes'])}; {cpu(r)}."
    return f"{markdown(['', *cases], rows)}\n\n{note}"


def roofline(name: str) -> str:
    """What the kernels allow."""
    r = result(name)
    rows = [
        [
            x["kind"],
            str(x["ops"]),
            f"{x['gop']:.2f}",
            f"{x['float_gop_per_second']:.0f}",
            f"{x['int8_gop_per_second']:.0f}",
            f"{x['float_ms']:.1f}",
            f"{x['int8_ms']:.1f}",
        ]
        for x in r["rows"]
    ]
    rows.append(["everything else", "", "", "", "", f"{r['rest_ms']:.1f}", f"{r['rest_ms']:.1f}"])
    head = ["", "operations", "GOP", "float GOP/s", "int8 GOP/s", "float ms", "int8 ms"]
    note = (
        f"{r['model']}, {r['graph']}, {r['seconds']:g} s of audio, one thread, the fastest of {' and '.join(r['runtimes'])}. "
        f"Bound {r['bound']:.2f}, reached {r['speedup']:.2f}: {r['share_of_bound']:.0%} of what the kernels allow; {cpu(r)}."
    )
    return f"{markdown(head, rows)}\n\n{note}"


def peers(name: str) -> str:
    """Ours beside other ways to int8."""
    r = result(name)

    def known(value: float | None, text: str) -> str:
        return "" if value is None else text.format(value)

    rows = [
        [
            f"**{x['name']}**" if x["ours"] else x["name"],
            f"{x['wer']:.2f}",
            "{:.2f} to {:.2f}".format(*x["wer_interval"]),
            f"{x['speedup_vs_best_float']:.2f}",
            f"{x['bytes'] / 1e6:.0f}",
            known(x["peak_rss_bytes"] and x["peak_rss_bytes"] / 1e6, "{:.0f}"),
            known(x["quantise_seconds"] and x["quantise_seconds"] / 60, "{:.1f}"),
            known(x["float_ops"], "{}"),
        ]
        for x in r["rows"]
    ]
    head = ["", "WER %", "95 % interval", "speed", "MB", "peak MB", "minutes to quantise", "weights left in float"]
    note = (
        f"{r['model']}, {r['utterances']} recordings, {r['words']} words; best float32 = 1, one recording at a time, one thread; "
        f"{cpu(r)}."
    )
    if r["left_out"]:
        note += " Left out: " + "; ".join(f"{n} ({why})" for n, why in r["left_out"].items()) + "."
    return f"{markdown(head, rows)}\n\n{note}"


TABLES = {
    "search_cost": search_cost,
    "search_ablation": search_ablation,
    "search_model": search_model,
    "riding": riding,
    "perturbation": perturbation,
    "methods": methods,
    "ablation": ablation,
    "large": large,
    "sizes": sizes,
    "overhead": overhead,
    "benchmark": benchmark,
    "forms": forms,
    "roofline": roofline,
    "peers": peers,
}


def filled(text: str) -> str:
    """``text`` with every table made anew."""

    def table(match: re.Match[str]) -> str:
        kind, name = match[1].split()
        return f"<!-- table {kind} {name} -->\n{TABLES[kind](name)}\n<!-- end -->"

    return re.sub(r"<!-- table (\w+ [\w.-]+) -->.*?<!-- end -->", table, text, flags=re.DOTALL)


def main() -> None:
    """Fill, or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for page in PAGES:
        old = page.read_text()
        if (new := filled(old)) != old:
            stale.append(page.name)
            if not check:
                page.write_text(new)
    if check and stale:
        sys.exit(f"out of date: {', '.join(stale)}; run python bench/readme.py")


if __name__ == "__main__":
    main()
