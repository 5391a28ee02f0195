"""Numbers and findings as words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

MINUS = "\N{MINUS SIGN}"


#: What the methods of a summary are called where that differs from their name there.
METHODS = {"int8_file": "int8 file", "paper": "the paper's scheme"}


def method(name: str, row: Mapping[str, Any]) -> str:
    """What a method is called; the paper's scheme with its p and how that was found."""
    called = METHODS.get(name, name)
    if "p" not in row:
        return called
    return f"{called}, p {row['p']:g} by {row['objective']}" if row["flagged"] else f"{called}, no layer flagged"


def paper_note(summary: Mapping[str, Any]) -> str:
    """How the paper's scheme was found, where it stands beside another; empty where it does not."""
    row = summary["methods"].get("paper")
    if row is None:
        return ""
    flagged = row["flagged"]
    told = (
        "The paper's scheme: one calibrated scale a layer; flagged are the layers whose naive scale alone costs more than "
        f"gamma {summary['gamma']:g} points by the estimate from one backward pass ({len(flagged)} of {summary['ops']}"
    )
    if not flagged:
        return f"{told}), so nothing is clipped."
    return (
        f"{told}: {', '.join(flagged)}), and clipped at the p of {row['tried']} values that diverges least from float32 on "
        f"{row['utterances_searched']} dev utterances. Its own search, by error rate on all dev speech, is --recipe paper."
    )


def signed(value: float, digits: int = 2) -> str:
    """``value`` with its sign, a true minus, and no sign on what rounds to zero."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", MINUS)


def interval(ends: Sequence[float]) -> str:
    """The two ends of an interval."""
    return f"{signed(ends[0])} to {signed(ends[1])}"


def span(ends: Sequence[float]) -> str:
    """The two ends of an interval of what has no sign."""
    return f"{ends[0]:.2f} to {ends[1]:.2f}"


def figure(value: float, digits: int = 3) -> str:
    """``value`` to so many significant digits, with a true minus."""
    return f"{value:.{digits}g}".replace("-", MINUS)


def short_name(name: str) -> str:
    """A model's name without the folders before it."""
    return PurePath(name).name or name


def megabytes(count: int) -> str:
    """A size in megabytes (10^6 bytes)."""
    return f"{count / 1e6:.1f} MB"


def duration(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def chance(ends: Sequence[float]) -> str:
    """What an interval of a difference allows one to say."""
    low, high = ends
    if low > 0:
        return "more than chance explains"
    if high < 0:
        return "an improvement beyond chance"
    return "which this speech cannot tell from chance" if high > low else "exactly none"


def verdict(summary: Mapping[str, Any]) -> str:
    """The run in one sentence."""
    file = summary["int8_file"]
    ops, done = summary["ops"], summary["ops_int8"]
    share = f"all {ops}" if done == ops else f"{done} of {ops}"
    rest = f"in {file['bytes_ratio']:.3f} of the bytes and at {file['speedup']:.2f} times the speed."
    if summary["data"]["references"] == "float32":
        return (
            f"With {share} operations in int8, {file['rate']:.2f} % of {counted(summary)}s differ from float32's transcripts "
            f"(95 % interval {span(file['rate_interval'])}) and outputs diverge from float32's by {nats(file)}, {rest} "
            "The speech has no text, so no error rate was measured."
        )
    return (
        f"With {share} operations in int8, {counted(summary)} error rate is {file['rate']:.2f} % where float32 has "
        f"{summary['float']['rate']:.2f} %: a difference of {signed(file['delta'])} points "
        f"(95 % interval {interval(file['delta_interval'])}), {chance(file['delta_interval'])}, {rest}"
    )


def counted(summary: Mapping[str, Any]) -> str:
    """What errors or differences are counted in."""
    return "character" if summary["float"]["metric"] in ("CER", "character difference") else "word"


def distance(row: Mapping[str, Any]) -> tuple[str, str]:
    """A divergence and its standard error, which one utterance does not have."""
    error = row["divergence_error"]
    return figure(row["divergence"]), "" if error is None else figure(error, 2)


def nats(row: Mapping[str, Any]) -> str:
    """A divergence with its standard error."""
    mean, error = distance(row)
    return f"{mean} nats a step" + (f" (standard error {error})" if error else "")


def p_text(summary: Mapping[str, Any]) -> str:
    """The chosen p, or one for each layer."""
    p = summary["p"]
    if isinstance(p, dict):
        return ", ".join(f"{name}: {value:g} %" for name, value in p.items())
    return "none" if p is None else f"{p:g} %"


def split_name(name: str) -> tuple[str, str]:
    """A layer's name as module and what is left, the module ending in the number of a block where there is one.

    ``a.layers.3.attention.q`` is ``a.layers.3`` and ``attention.q``; ``a.convs.0.conv`` is ``a.convs`` and ``0.conv``,
    for a block that is one operation is no group.
    """
    parts = name.split(".")
    numbers = [i for i, part in enumerate(parts) if part.isdigit() and len(parts) - i > 2]
    cut = numbers[0] + 1 if numbers else max(len(parts) - 1, 0)
    if not numbers and len(parts) > 2 and parts[-2].isdigit():
        cut -= 1
    return ".".join(parts[:cut]), ".".join(parts[cut:])
