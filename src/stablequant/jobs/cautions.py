"""What a run warns of: figures that chance may have made, and limits that were not kept."""

from __future__ import annotations

from stablequant.search.stages import Found
from stablequant.settings import Settings


def too_coarse(resolved: float | None, units: float, settings: Settings) -> list[str]:
    """A warning where chance alone flags layers: the dev speech is too small for gamma."""
    gamma = settings.search.gamma
    if resolved is None or resolved <= gamma or settings.search.beyond_chance:
        return []
    return [
        f"the dev speech ({units:g} words) tells differences of about {resolved:.2f} points from chance, gamma is "
        f"{gamma:g}: layers may be flagged by chance; give more dev speech, or --set beyond_chance=true"
    ]


def too_costly(found: Found, settings: Settings) -> list[str]:
    """A warning where even layers in float left the plan above its limit."""
    limit = settings.search.max_drop
    if found.floats is None or limit is None or found.floats.after <= limit:
        return []
    return [
        f"the plan costs {found.floats.after:+.2f} points on the dev speech, more than max_drop {limit:g}, with "
        f"{len(found.floats.floats)} layers left in float; no further layer brought it down"
    ]
