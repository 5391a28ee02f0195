"""Forms of the work around an int8 product, a column a size."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import cpu, made_by, markdown


def table(name: str) -> str:
    """Of bench/row_kernels.py: milliseconds, and between which half of the rounds lies."""
    r = load_result(name)
    sizes = list(dict.fromkeys((x["rows"], x["channels"]) for x in r["rows"]))
    cells: dict[str, dict[tuple[int, int], str]] = {}
    for x in r["rows"]:
        low, middle, high = x["milliseconds"]
        cells.setdefault(x["form"], {})[x["rows"], x["channels"]] = f"{middle:.2f} ({low:.2f} to {high:.2f})"
    rows = [[form, *(found[size] for size in sizes)] for form, found in cells.items()]
    head = ["milliseconds", *(f"{count} x {channels}" for count, channels in sizes)]
    note = f"Rows x channels; one thread, medians and quartiles of {r['rounds']} rounds in turns; {r['runtime']}; {cpu(r)}."
    return markdown(head, rows, note, made_by(r))
