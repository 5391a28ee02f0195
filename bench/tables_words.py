"""Tables of words lost and of what searches cost; each function takes the name of a file of bench/results."""

from __future__ import annotations

from tables import cpu, markdown, result


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
    return f"{markdown(head, rows)}\n\nOne thread; {cpu(r)}. `python bench/batched_trials.py`"
