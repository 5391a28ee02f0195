"""Speeds of one size of model at several lengths and batches, a column a result."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import cpu, made_by, markdown


def table(name: str) -> str:
    """Of several results of bench/sizes.py, NAME1+NAME2; the first model of each."""
    results = [load_result(part) for part in name.split("+")]
    models = [r["models"][0] for r in results]
    labels = dict.fromkeys(x["name"] for m in models for x in m["systems"] if "peer" not in x)
    columns = [{x["name"]: f"{x['speedup']:.2f}" for x in m["systems"]} for m in models]
    rows = [[f"**{n}**" if n.startswith("int8") else n, *(c.get(n, "") for c in columns)] for n in labels]
    head = [models[0]["model"], *(f"{r['seconds']:g} s, batch {r['batch']}" for r in results)]
    rounds = results[0]["rounds"]
    note = f"One thread; best float32 of each case = 1, medians of {rounds} rounds in turns; {cpu(results[0])}."
    return markdown(head, rows, note, made_by(*results))
