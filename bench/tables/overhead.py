"""What transcribing costs beyond the runtime."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import cpu, made_by, markdown

HEAD = ["", "batches, s", "beyond the runtime", "one by one, s", "beyond the runtime", "reading files, s"]


def table(name: str) -> str:
    """Of bench/overhead.py."""
    r = load_result(name)
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
    first = r["rows"][0]
    note = (
        f"{first['recordings']} recordings, {first['audio_seconds']:.0f} s of audio; one thread, medians of {r['rounds']} "
        f"rounds; {cpu(r)}."
    )
    return markdown(HEAD, rows, note, made_by(r))
