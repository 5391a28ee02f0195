"""Memory that long recordings take."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import made_by, markdown


def table(name: str) -> str:
    """Of bench/long_audio.py: recordings."""
    r = load_result(name)
    rows = [
        [
            f"{x['minutes']:.0f} minutes",
            f"{x['transcribed_minutes']:.0f}",
            str(x["pieces"]),
            f"{x['audio_bytes'] / 1e6:.0f}",
            f"{x['loaded_bytes'] / 1e6:.0f}",
            f"{x['peak_bytes'] / 1e6:.0f}",
        ]
        for x in r["recordings"]
    ]
    head = ["recording", "minutes transcribed", "pieces", "MB of samples", "MB resident before", "MB at most"]
    pieces = "; ".join(
        f"{x['seconds']:g} s take {x['bytes'] / 1e6:.0f} MB where {x['estimated_bytes'] / 1e6:.0f} are estimated"
        for x in r["pieces"]
    )
    runtime = r["recordings"][0]["runtime"]
    return markdown(head, rows, f"{r['model']}, {runtime}, one thread. Single pieces: {pieces}.", made_by(r))
