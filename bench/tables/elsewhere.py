"""Our files in other programs."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import cpu, made_by, markdown


def table(name: str) -> str:
    """Of bench/elsewhere.py."""
    r = load_result(name)
    rows = [
        [
            f"`{x['class']}`, {x['model']}",
            x["program"],
            f"{x['equal']} of {x['recordings']}",
            f"{x['equal_in_noise']} of {x['recordings']}",
            f"{x['our_rate']:.2f}",
            f"{x['our_rate_in_noise']:.2f}",
            f"{x['their_rate']:.2f}",
        ]
        for x in r["rows"]
    ]
    first = r["rows"][0]
    note = f"{first['recordings']} test recordings, {first['words']} words, one at a time; ours in {first['runtime']}; {cpu(r)}."
    return markdown(
        ["model", "program", "texts equal", "equal to ours in noise", "WER % here", "in noise", "there"],
        rows,
        note,
        made_by(r),
    )
