"""The search of a large model on a large dev set, modelled."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import cpu, made_by, markdown


def table(name: str) -> str:
    """Of bench/search_model.py."""
    r = load_result(name)
    naive = r["rows"]["naive"]["evaluations"]
    rows = [
        [search, f"{x['evaluations']:.0f}", f"{x['evaluations'] / naive:.2f}", f"{x['hours']:,.0f}"]
        for search, x in r["rows"].items()
    ]
    head = ["search, modelled", "float evaluations", "of naive", "hours on one core"]
    note = (
        f"{r['layers']} layers, {r['values']} values of p; a trial of stage 1 takes {r['mean_share']:.2f} of an evaluation on "
        f"average; an evaluation takes {r['hours_an_evaluation']:.1f} hours of one thread (median of {r['runs']} runs), {cpu(r)}."
    )
    return markdown(head, rows, note, made_by(r))
