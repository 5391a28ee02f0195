"""What each variant of the graph is worth."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import cpu, made_by, markdown


def table(name: str) -> str:
    """Of bench/graph_variants.py."""
    r = load_result(name)
    cases = list(dict.fromkeys(f"{x['model']}, {x['seconds']:g} s, batch {x['batch']}" for x in r["rows"]))
    rows = []
    for runtime in dict.fromkeys(x["runtime"] for x in r["rows"]):
        cells = [x["speeds"] for x in r["rows"] if x["runtime"] == runtime]
        rows += [[f"{runtime}: {variant}", *(f"{speeds[variant]:.2f}" for speeds in cells)] for variant in cells[0]]
    graphs = ", ".join(dict.fromkeys(f"{x['model']}: {x['graph']}" for x in r["rows"]))
    note = (
        f"{graphs}; one thread, against float32 in the same runtime, medians of the ratios in {r['rounds']} rounds; "
        f"{' and '.join(r['runtimes'])}; {cpu(r)}."
    )
    return markdown(["", *cases], rows, note, made_by(r))
