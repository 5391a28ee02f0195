"""Stage 2: search the share p of outliers to clip from the flagged layers, by the objective on the dev speech.

Ties: the least rate wins; among equals the fewest errors of the finer measure; among equals the smallest p, which removes
the least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stablequant.observe.collect import Histograms
from stablequant.quantize import calibrated
from stablequant.quantize.scheme import Scheme
from stablequant.search.p_values import p_values
from stablequant.search.strategy import Strategy
from stablequant.search.trials import Candidate
from stablequant.settings import Settings


@dataclass(frozen=True)
class Trial:
    """One candidate of stage 2: p of each flagged layer, and the whole quantised model's rate.

    ``share`` is that of the dev speech behind it; below 1 in a race, for those that dropped out, which have no ``interval``.
    """

    p: Mapping[str, float]
    rate: float
    tie_break: float
    share: float = 1.0
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class PercentileSearch:
    """The chosen p of each flagged layer, its scheme for the whole model, and everything that was tried.

    The first of ``series`` has one p for all; with ``p_per_layer`` the others have those of one layer each.
    """

    p: Mapping[str, float]
    scheme: Scheme
    series: tuple[tuple[Trial, ...], ...]

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All series in one."""
        return tuple(trial for series in self.series for trial in series)


def search_p(
    strategy: Strategy,
    histograms: Histograms,
    flagged: Sequence[str],
    settings: Settings,
) -> PercentileSearch:
    """Find p for the ``flagged`` layers, most sensitive first; the others keep the base calibrator.

    One p for all (the paper's default); with the setting ``p_per_layer`` each layer's own is refined after that, one
    layer at a time, the others held.
    """
    base = calibrated.uniform(histograms, settings.activations.calibrator, settings)
    if not flagged:
        return PercentileSearch({}, base, ())

    def evaluate(choices: Sequence[Mapping[str, float]], title: str) -> tuple[Trial, ...]:
        candidates = [Candidate("p " + _label(p), calibrated.mixed(base, histograms, p, settings)) for p in choices]
        found = strategy.compare(candidates, title)
        return tuple(Trial(p, j.rate, j.tie_break, j.share, j.interval) for p, j in zip(choices, found, strict=True))

    values = p_values(histograms, flagged, settings)
    series = [evaluate([calibrated.same_p(flagged, p) for p in values], "stage 2: one p for all")]
    best = choose(series[0])
    if settings.search.p_per_layer and len(flagged) > 1:
        for number, name in enumerate(flagged, 1):
            choices = [{**best.p, name: p} for p in p_values(histograms, [name], settings)]
            series.append(evaluate(choices, f"stage 2: p of layer {number} of {len(flagged)}"))
            best = choose([best, *series[-1]])
    return PercentileSearch(best.p, calibrated.mixed(base, histograms, best.p, settings), tuple(series))


def choose(tried: Sequence[Trial]) -> Trial:
    """The best of the trials that were evaluated on all speech, by the rule at the top of this file."""
    return min((t for t in tried if t.share == 1.0), key=lambda t: (t.rate, t.tie_break, sum(t.p.values())))


def _label(p: Mapping[str, float]) -> str:
    values = sorted(set(p.values()))
    return f"{values[0]:g}" if len(values) == 1 else ", ".join(f"{name}: {v:g}" for name, v in p.items())
