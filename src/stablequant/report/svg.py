"""Drawing primitives: escaped SVG elements, scales and ticks.

Plots stretch with the page while their text keeps its size: the horizontal position of everything is a percentage,
the vertical one is in pixels, and curves live in a stretched inner picture with strokes that do not scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

#: Side of the square that curves are drawn in before they are stretched.
UNIT = 1000.0


@dataclass(frozen=True)
class Scale:
    """Where a value lies between the ends of an axis.

    Attributes:
        low: Value at the left (or lower) end.
        high: Value at the right (or upper) end.
        root: Signed square root instead of linear: differences near zero stay visible beside large ones.
    """

    low: float
    high: float
    root: bool = False

    def share(self, value: float) -> float:
        """Position of ``value``, 0 at the low end and 1 at the high end, held within them."""
        low, high, at = (signed_root(v) if self.root else v for v in (self.low, self.high, value))
        return min(max((at - low) / (high - low), 0.0), 1.0) if high > low else 0.5

    def percent(self, value: float) -> str:
        """Position of ``value`` as an SVG percentage."""
        return f"{100 * self.share(value):.2f}%"

    def ticks(self, count: int = 5) -> list[float]:
        """About ``count`` round values on the axis, ascending."""
        if not self.root:
            return linear_ticks(self.low, self.high, count)
        reach = max(abs(self.low), abs(self.high))
        # Quarter, one, four ... are evenly spaced under the root; the unit follows the longer side.
        unit = 10.0 ** math.floor(math.log10(reach)) if reach > 0 else 1.0
        unit = unit if reach / unit >= 4 else unit / 2
        sizes = [m * unit for m in (0.1, 0.5, 1, 2, 4, 8) if m * unit <= reach * 1.0001][-(count // 2 + 1) :]
        values = sorted({0.0, *sizes, *(-s for s in sizes)})
        return [v for v in values if self.low <= v <= self.high]


def signed_root(value: float) -> float:
    """Square root of the magnitude, with the sign."""
    return math.copysign(math.sqrt(abs(value)), value)


def linear_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between ``low`` and ``high``, about ``count`` of them."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def tag(element: str, *content: object, **attributes: object) -> Markup:
    """An element. ``class_`` becomes ``class``, other underscores become hyphens; content and values are escaped.

    Markup in ``content`` is kept as it is; ``None`` leaves an attribute out.
    """
    pairs = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(_text(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    # Only literal names of this package reach ``element`` and the attribute names.
    return Markup(f"<{element}{pairs}>{Markup('').join(escape(c) for c in content)}</{element}>")  # noqa: S704


def _text(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def picture(height: float, *content: object, label: str, class_: str = "plot") -> Markup:
    """A figure of ``height`` pixels and the width of the page; ``label`` says to a screen reader what it shows."""
    return tag("svg", *content, class_=class_, width="100%", height=height, role="img", aria_label=label)


def line(x1: str, y1: float, x2: str, y2: float, class_: str) -> Markup:
    """A straight line between two points."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def words(x: str, y: float, text: str, class_: str = "", anchor: str = "middle", gap: int | None = None) -> Markup:
    """Text at a point, ``gap`` pixels to the side that it hangs on."""
    shift = None if gap is None else -gap if anchor == "end" else gap
    return tag("text", text, x=x, y=y, dx=shift, text_anchor=anchor, class_=class_ or None)


def anchor(share: float) -> str:
    """How to hang text at ``share`` of the width so that it stays in the picture."""
    return "start" if share < 0.04 else "end" if share > 0.96 else "middle"


def area(points: Sequence[tuple[float, float]], height: float, class_: str, *, closed: bool) -> Markup:
    """A curve through ``points`` (shares of width and height, from bottom left), stretched over the whole picture."""
    if not points:
        return Markup("")
    path = "M" + "L".join(f"{UNIT * x:.1f} {UNIT * (1 - y):.1f}" for x, y in points) + ("Z" if closed else "")
    return tag(
        "svg",
        tag("path", d=path, class_=class_, vector_effect="non-scaling-stroke"),
        x=0,
        y=0,
        width="100%",
        height=height,
        viewBox=f"0 0 {UNIT:g} {UNIT:g}",
        preserveAspectRatio="none",
    )
