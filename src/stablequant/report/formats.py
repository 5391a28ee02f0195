"""Numbers and findings as words."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

MINUS = "\N{MINUS SIGN}"


def signed(value: float, digits: int = 2) -> str:
    """``value`` with its sign, a true minus, and no sign on what rounds to zero."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", MINUS)


def interval(ends: tuple[float, float] | list[float]) -> str:
    """The two ends of an interval."""
    return f"{signed(ends[0])} to {signed(ends[1])}"


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


def chance(ends: tuple[float, float] | list[float]) -> str:
    """What an interval of a difference allows one to say."""
    low, high = ends
    if low > 0:
        return "more than chance explains"
    if high < 0:
        return "an improvement beyond chance"
    return "which this speech cannot tell from chance" if high > low else "exactly none"


def verdict(summary: dict[str, Any]) -> str:
    """The run in one sentence."""
    file = summary["int8_file"]
    ops, done = summary["ops"], summary["ops_int8"]
    share = f"all {ops}" if done == ops else f"{done} of {ops}"
    name = "character" if summary["float"]["metric"] == "CER" else "word"
    return (
        f"With {share} operations in int8, {name} error rate is {file['rate']:.2f} % where float32 has "
        f"{summary['float']['rate']:.2f} %: a difference of {signed(file['delta'])} points "
        f"(95 % interval {interval(file['delta_interval'])}), {chance(file['delta_interval'])}, "
        f"in {file['bytes_ratio']:.3f} of the bytes and at {file['speedup']:.2f} times the speed."
    )


def p_text(summary: dict[str, Any]) -> str:
    """The chosen p, or one for each layer."""
    p = summary["p"]
    if isinstance(p, dict):
        return ", ".join(f"{name}: {value:g} %" for name, value in p.items())
    return "none" if p is None else f"{p:g} %"
