"""What `stablequant clipped` found: a table, a plot, and the verdict in a sentence."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from stablequant.report.formats import figure
from stablequant.report.svg import Scale, tag, words
from stablequant.report.tables import speech_remarks, table

#: Layers and tokens that are shown.
MOST = 12
#: Pixels: width, height of a row, room for names on the left.
WIDTH, ROW, LEFT = 860, 18, 330
STYLE = """text { font: 12px sans-serif; fill: #222 } .head { font-weight: bold }
.silence { fill: #b8b8b8 } .speech { fill: #2166ac } @media (prefers-color-scheme: dark) { text { fill: #ddd } }"""


def clipped(result: dict[str, Any]) -> str:
    """The layers that clip most frames, before and after quantisation, the tokens, and the verdict."""
    before, cells = result["runs"]["before"], rows(result)
    lines = [table(["layer", *HEADS], cells) if cells else "no layer clips anything", ""]
    if tokens := before["tokens"]:
        said = ", ".join(f"{k['token']} {_percent(k['clipped'])}" for k in tokens["kinds"][:MOST])
        lines.append(f"tokens by frames clipped (by {result['aligned_by']}): {said}; of all {_percent(tokens['mean'])}")
    lines += [f"words {when}: {_words(result['runs'][run]['words'])}" for run, when in RUNS.items()]
    lines.append(
        f"{result['recordings']} recordings, {result['seconds']:.0f} s; {result['static_layers']} layers with a static grid"
    )
    lines += [*speech_remarks(result["skipped"], []), verdict(result)]
    return "\n".join(lines)


#: Columns of `rows` behind the layer's name.
HEADS = ("values", "frames", "after", "in speech", "in silence", "channels", "most in channel")


def rows(result: dict[str, Any]) -> list[list[str]]:
    """The layers that clip most: shares of values and frames in float, of frames under the plan, and channels."""
    then = {row["layer"]: row for row in result["runs"]["after"]["layers"]}
    return [
        [
            row["layer"],
            f"{100 * row['clipped'] / row['values']:.3g} %",
            _frames(row),
            _frames(then[row["layer"]]),
            _percent(row["in_speech"]),
            _percent(row["in_silence"]),
            f"{row['clipped_channels']} of {row['channels']}",
            ", ".join(f"{m['channel']} ({100 * m['clipped'] / row['clipped']:.0f} %)" for m in row["most"]),
        ]
        for row in _worst(result)
    ]


#: The two runs, in words.
RUNS = {"before": "in float", "after": "under the plan"}


def verdict(result: dict[str, Any]) -> str:
    """What is clipped, in one sentence."""
    found, said = result["runs"]["before"], str(result["verdict"])
    if not found["tokens"]:
        return f"{said}."
    parts = []
    if speech := found["speech"]:
        parts.append(
            f"{_percent(speech['in_speech'])} of frames in speech are clipped and {_percent(speech['in_silence'])} in silence"
        )
    parts.append(f"clipping is {_chance(found['tokens']['p'])} uneven over tokens (p = {figure(found['tokens']['p'])})")
    words_ = result["runs"]["after"]["words"]
    if words_ is None:
        parts.append("without text nothing is known of words that went wrong")
    elif words_["p"] is None:
        parts.append("all words went wrong, or none")
    else:
        parts.append(
            f"words that go wrong under the plan are {_chance(words_['p'])} clipped more (p = {figure(words_['p'])})"
        )
    return f"{said}: {'; '.join(parts)}."


def drawn(result: dict[str, Any]) -> str:
    """An SVG file: share of frames clipped by layer, in speech and in silence, and by token."""
    tokens = result["runs"]["before"]["tokens"]
    # A decoder's layers know no silence.
    bars = [
        (r["layer"], *((_share(r), None) if r["in_speech"] is None else (r["in_speech"], r["in_silence"])))
        for r in _worst(result)
    ]
    kinds = [(k["token"], k["clipped"], None) for k in tokens["kinds"][:MOST]] if tokens else []
    parts: list[Markup] = []
    y = 0
    for title, rows in (("frames clipped by layer: speech, and silence below", bars), ("by token", kinds)):
        scale = Scale(0.0, max((v for _, *pair in rows for v in pair if v), default=1.0) * 1.1)
        y += ROW + 6
        parts.append(words("4", y, title, "head", "start"))
        for name, *pair in rows:
            y += ROW
            parts.append(words(str(LEFT - 6), y, name, "", "end"))
            high = (ROW - 6) / sum(v is not None for v in pair)
            for i, (value, kind) in enumerate(zip(pair, ("speech", "silence"), strict=True)):
                if value is not None:
                    width = (WIDTH - LEFT - 70) * scale.share(value)
                    parts.append(tag("rect", x=LEFT, y=y - ROW + 7 + i * high, width=width, height=high, class_=kind))
            most = max(v for v in pair if v is not None)
            parts.append(
                words(f"{LEFT + 6 + (WIDTH - LEFT - 70) * scale.share(most):.1f}", y, _percent(pair[0]), "", "start")
            )
    label = f"What is clipped: {verdict(result)}"
    head = tag("style", Markup(STYLE))  # noqa: S704 - a literal of this file
    size = {"width": WIDTH, "height": y + 12, "viewBox": f"0 0 {WIDTH} {y + 12}"}
    return (
        str(tag("svg", head, *parts, xmlns="http://www.w3.org/2000/svg", role="img", aria_label=label, **size)) + "\n"
    )


def _worst(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Layers that the verdict is of, then others, those that clip most of their frames first."""
    rows = [row for row in result["runs"]["before"]["layers"] if row["clipped"]]
    judged = set(result["judged"])
    return sorted(rows, key=lambda row: (row["layer"] not in judged, -_share(row)))[:MOST]


def _share(row: dict[str, Any]) -> float:
    return float(row["clipped_frames"] / row["frames"])


def _frames(row: dict[str, Any]) -> str:
    return _percent(_share(row))


def _percent(share: float | None) -> str:
    return "" if share is None else f"{float(f'{100 * share:.2g}'):g} %"  # no exponent at 100


def _chance(p: float) -> str:
    return "beyond chance" if p < 0.05 else "not beyond chance"


def _words(found: dict[str, Any] | None) -> str:
    if found is None:
        return "no text, so nothing is known of words that went wrong"
    if found["p"] is None:
        return f"{found['wrong']} of {found['count']} went wrong, so there is nothing to compare"
    return (
        f"{_percent(found['clipped_wrong'])} of the frames of the {found['wrong']} that went wrong are clipped, "
        f"{_percent(found['clipped_right'])} of the other {found['count'] - found['wrong']} "
        f"(p = {figure(found['p'])}, {found['shuffles']} shuffles within recordings)"
    )
