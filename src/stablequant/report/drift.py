"""What `stablequant drift` found: the worst layers, and one sentence."""

from __future__ import annotations

from typing import Any

from stablequant.report.formats import figure
from stablequant.report.tables import table

#: Layers that are shown.
WORST = 10
#: Statistics, as a table heads them.
HEADS = {"beyond": "beyond the grid", "wasserstein": "Wasserstein", "psi": "PSI"}


def drift(result: dict[str, Any]) -> str:
    """A table of the layers that are nearest to their limits or furthest beyond, and the verdict."""
    distance, calibration = result["divergence"], result["calibration"]
    mark = " !" if distance["exceeds"] else ""
    return f"""{table(["layer (limit in brackets, ! where it is exceeded)", *HEADS.values()], rows(result))}

int8 diverges from float by {figure(distance["production"])} nats a step (calibration {figure(distance["calibration"])}, \
limit {figure(distance["limit"])}){mark}
production: {result["recordings"]} recordings, {result["seconds"]:.0f} s, {result["skipped"]} skipped; \
calibration: {calibration["recordings"]} recordings, {calibration["seconds"]:.0f} s
Wasserstein distances are in mean magnitudes of calibration; a scale a frame has no grid to lie beyond
{verdict(result)}"""


def rows(result: dict[str, Any]) -> list[list[str]]:
    """The layers that are nearest to their limits or furthest beyond, with each statistic and its limit."""
    found = sorted(result["activations"], key=strain, reverse=True)[:WORST]
    return [[name(row), *(_cell(row, s) for s in HEADS)] for row in found]


def verdict(result: dict[str, Any]) -> str:
    """Whether calibration covers production, in one sentence."""
    found = result["activations"]
    count, rate = result["calibration"]["compared_with"], result["false_alarms"]
    kind = f"{count} recordings of calibration's kind, false alarm rate {rate:.2g}"
    if result["covered"]:
        return f"covered: production differs from calibration by no more than chance, in all {len(found)} activations ({kind})."
    beyond = [row for row in found if row["exceeds"]]
    if not beyond:
        return (
            f"not covered: activations are as in calibration, but int8 diverges from float by more than there ({kind})."
        )
    worst = max(beyond, key=strain)
    times = strain(worst)
    size = f"{times:.1f} times its limit" if times < float("inf") else "where calibration had none"
    return (
        f"not covered: in {len(beyond)} of {len(found)} activations production differs from calibration by more than chance, "
        f"most in {name(worst)} ({HEADS[_statistic(worst)]} at {size}; {kind}): calibrate again with speech of this kind."
    )


def name(row: dict[str, Any]) -> str:
    """A layer, and which of its inputs where it has two."""
    return str(row["layer"]) + (f" (input {row['input'] + 1})" if row["input"] else "")


def strain(row: dict[str, Any]) -> float:
    """The largest of a row's statistics, as a multiple of its limit."""
    return max((_times(row, s) for s in HEADS), default=0.0)


def _statistic(row: dict[str, Any]) -> str:
    return max(HEADS, key=lambda s: _times(row, s))


def _times(row: dict[str, Any], statistic: str) -> float:
    value, limit = row[statistic], row["limits"][statistic]
    if not value or limit is None:
        return 0.0
    return float(value / limit) if limit > 0 else float("inf")


def _cell(row: dict[str, Any], statistic: str) -> str:
    value, limit = row[statistic], row["limits"][statistic]
    if value is None:
        return ""
    share = statistic == "beyond"
    numbers = [f"{100 * v:.3g} %" if share else figure(v) for v in (value, limit)]
    return f"{numbers[0]} ({numbers[1]}){' !' if statistic in row['exceeds'] else ''}"
