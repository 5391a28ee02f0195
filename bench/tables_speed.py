"""Tables of how fast and how large files are; each function takes the name of a file of bench/results."""

from __future__ import annotations

from typing import Any

from tables import cpu, known, markdown, result


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
        f"Random weights, {r['seconds']:g} s of audio, batch {r.get('batch', 1)}, "
        f"threads: {', '.join(map(str, threads))}; best float32 of each "
        f"model = 1, medians of {r['rounds']} rounds in turns; bytes against those of float32 weights; "
        f"{', '.join(r['runtimes'])}; {cpu(r)}."
    )
    if failed:
        note += f" Left out: {'; '.join(failed)}."
    return f"{markdown(['', 'seconds', 'speed', 'bytes', 'peak MB', 'seconds to load'], rows)}\n\n{note}"


def size_speeds(name: str) -> str:
    """The speeds alone, a column a model."""
    r = result(name)
    labels = list(dict.fromkeys(x["name"] for m in r["models"] for x in m["systems"]))
    columns = [{x["name"]: f"{x['speedup']:.2f}" for x in m["systems"]} for m in r["models"]]
    rows = [[f"**{n}**" if n.startswith("int8") else n, *(c.get(n, "") for c in columns)] for n in labels]
    head = ["", *(f"{m['model']}, {m['threads']} thread{'s' * (m['threads'] > 1)}" for m in r["models"])]
    note = f"Random weights, {r['seconds']:g} s of audio; best float32 = 1, medians of {r['rounds']} rounds in turns; {cpu(r)}."
    return f"{markdown(head, rows)}\n\n{note}"


def size_cases(name: str) -> str:
    """The speeds of one size of model at several lengths and batches, a column a result; NAME1+NAME2 for more."""
    results = [result(part) for part in name.split("+")]
    models = [m for r in results for m in r["models"][:1]]
    labels = list(dict.fromkeys(x["name"] for m in models for x in m["systems"] if "peer" not in x))
    columns = [{x["name"]: f"{x['speedup']:.2f}" for x in m["systems"]} for m in models]
    rows = [[f"**{n}**" if n.startswith("int8") else n, *(c.get(n, "") for c in columns)] for n in labels]
    head = [models[0]["model"], *(f"{r['seconds']:g} s, batch {r.get('batch', 1)}" for r in results)]
    note = f"One thread; best float32 of each case = 1, medians of {results[0]['rounds']} rounds in turns; {cpu(results[0])}."
    return f"{markdown(head, rows)}\n\n{note}"


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
