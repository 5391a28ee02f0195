"""How much silence Whisper needs where its window is shortened."""

from __future__ import annotations

from result_path import load_result

from tables.markdown import cpu, interval, markdown

HEAD = [
    "speech",
    "silence",
    "WER %",
    "against the window",
    "95 % interval",
    "runaways",
    "identical",
    "processor's seconds",
]


def table(name: str) -> str:
    """Of bench/windows.py."""
    r = load_result(name)
    rows = [
        [
            x["data"],
            "all of the window"
            if x["silence"] is None
            else f"{x['silence']:g} s" + ("" if x["end"] else ", without the end"),
            f"{x['wer']:.2f}",
            "" if x["silence"] is None else f"{x['delta']:+.2f}",
            "" if x["silence"] is None else interval(x["delta_interval"]),
            f"{x['runaways']} of {x['utterances']}",
            f"{x['identical']} of {x['utterances']}",
            f"{x['processor_seconds']:.0f}",
        ]
        for x in r["rows"]
    ]
    sizes = {x["data"]: f"{x['words']} words of {x['data']}" for x in r["rows"]}
    note = (
        f"{r['model']}, float32 in ONNX Runtime, one recording at a time, one thread; {', '.join(sizes.values())}. Seconds are "
        f"the processor's, with other work beside them; {cpu(r)}."
    )
    return markdown(HEAD, rows, note, "; ".join(f"`{command}`" for command in r["commands"]))
