"""Int8 beside float, case by case."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import cpu, markdown


def table(name: str) -> str:
    """Of `stablequant benchmark --json`."""
    r = load_result(name)
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
    return markdown(["", *names], rows, note)
