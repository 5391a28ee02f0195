"""What the kernels allow."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import cpu, made_by, markdown


def table(name: str) -> str:
    """Of bench/roofline.py."""
    r = load_result(name)
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
        f"{r['model']}, {r['graph']}, {r['seconds']:g} s of audio, one thread, the fastest of {r['rounds']} rounds and of "
        f"{' and '.join(r['runtimes'])}. Bound {r['bound']:.2f}, reached {r['speedup']:.2f}: {r['share_of_bound']:.0%} of what "
        f"the kernels allow; {cpu(r)}."
    )
    return markdown(head, rows, note, made_by(r))
