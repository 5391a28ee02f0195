"""Rows that stand beside float: conditions and kinds of recordings, each with its difference drawn on a common axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from stablequant.report.formats import interval, signed
from stablequant.report.svg import Scale, line, picture, tag

#: What recordings are told apart by.
TRAITS = {
    "duration": "Length",
    "loudness": "Level of the speech",
    "signal_to_noise": "Signal to noise",
    "set": "Source",
    "speaker": "Speaker",
}
PLACES = {"first": "first word", "last": "last word", "elsewhere": "in between"}


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        name: What it is of.
        about: More on it; may be empty.
        count: Of recordings, or words.
        cells: Float's rate, int8's, the difference, its interval; empty where there is none.
        plot: The difference drawn; empty where there is none.
        few: Whether it stands for so little that it says nothing.
        alarms: In words.
    """

    name: str
    about: str
    count: str
    cells: tuple[str, str, str, str]
    plot: Markup
    few: bool = False
    alarms: tuple[str, ...] = ()


def conditions(found: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Rows of ``evaluate --conditions``."""
    scale = _scale([row["int8"] for row in found if row["int8"] and row["condition"].partition(":")[0] != "silence"])
    rows = []
    for row in found:
        told = row["int8"] or row["float"]
        alone = {} if row["int8"] is None else row["int8"]
        rates = (
            alone if "float_rate" in alone or row["float"] is None else {**alone, "float_rate": row["float"]["rate"]}
        )
        name = f"{row['condition']} ({told['metric']})" if told["metric"] != _usual(found) else row["condition"]
        rows.append(_row(name, row["about"], f"{row['utterances']}", rates, scale, alarms=tuple(row["alarms"])))
    return rows


def _usual(found: Sequence[Mapping[str, Any]]) -> str:
    first = found[0]["int8"] or found[0]["float"]
    return str(first["metric"])


def buckets(summary: Mapping[str, Any]) -> list[tuple[str, list[Row]]]:
    """Tables of the kinds of recordings; a trait that all recordings share is left out."""
    told = {name: rows for name, rows in summary["buckets"].items() if len(rows) > 1}
    scale = _scale([row for rows in told.values() for row in rows if not row["few"]])
    return [
        (
            TRAITS.get(name, name),
            [_row(r["bucket"], "", f"{r['utterances']} / {r['units']:g}", r, scale, few=r["few"]) for r in rows],
        )
        for name, rows in told.items()
    ]


def edges(summary: Mapping[str, Any]) -> list[Row]:
    """Errors on the first and last words of recordings."""
    found = {name: summary["edges"][name] for name in PLACES if summary["edges"].get(name)}
    scale = _scale(list(found.values()))
    return [_row(PLACES[name], "", f"{row['words']}", row, scale) for name, row in found.items()]


def _scale(rows: Sequence[Mapping[str, Any]]) -> Scale:
    ends = [end for row in rows if row.get("delta_interval") for end in row["delta_interval"]]
    reach = max([abs(end) for end in ends] + [0.1])
    return Scale(-reach if min(ends, default=0.0) < 0 else 0.0, reach, root=True)


def _row(
    name: str,
    about: str,
    count: str,
    rates: Mapping[str, Any],
    scale: Scale,
    *,
    few: bool = False,
    alarms: tuple[str, ...] = (),
) -> Row:
    def told(key: str) -> str:
        return "" if rates.get(key) is None else f"{rates[key]:.2f}"

    ends = rates.get("delta_interval")
    if ends is None:
        return Row(name, about, count, (told("float_rate"), told("rate"), "", ""), Markup(""), few, alarms)
    cells = (told("float_rate"), told("rate"), signed(rates["delta"]), interval(ends))
    return Row(name, about, count, cells, whisker(rates["delta"], ends, scale, name, few=few), few, alarms)


def whisker(delta: float, ends: Sequence[float], scale: Scale, name: str, *, few: bool = False) -> Markup:
    """A difference with its interval, and zero."""
    sure = ends[0] > 0 or ends[1] < 0
    kind = "plain" if few or not sure else "worse" if delta > 0 else "accent"
    return picture(
        16,
        line(scale.percent(0), 0, scale.percent(0), 16, "zero"),
        line(scale.percent(ends[0]), 8, scale.percent(ends[1]), 8, f"whisker {kind}"),
        tag("circle", cx=scale.percent(delta), cy=8, r=4, class_=f"dot {kind}"),
        label=f"{name}: {signed(delta)} points, {interval(ends)}",
        class_="plot row",
    )
