"""Stage 2: search the share p of outliers to clip from the flagged layers, by WER on the dev speech.

Ties: the least WER wins; among equals the least CER; among equals the smallest p, which removes the least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stablequant.observe.collect import Histograms
from stablequant.quantize import calibrated
from stablequant.quantize.plan import LayerQuant
from stablequant.search.p_values import p_values
from stablequant.search.strategy import Contest
from stablequant.search.trials import Candidate
from stablequant.settings import Settings


@dataclass(frozen=True)
class Trial:
    """One candidate of stage 2: p of each flagged layer, and the whole quantised model's error rates in per cent.

    ``heard`` is the share of the dev speech behind them; below 1 in a race, for those that dropped out.
    """

    p: Mapping[str, float]
    wer: float
    cer: float
    heard: float = 1.0


@dataclass(frozen=True)
class PercentileSearch:
    """The chosen p of each flagged layer, its scheme for the whole model, and everything that was tried.

    The first of ``series`` has one p for all; with ``p_per_layer`` the others have those of one layer each.
    """

    p: Mapping[str, float]
    scheme: Mapping[str, LayerQuant]
    series: tuple[tuple[Trial, ...], ...]

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All series in one."""
        return tuple(trial for series in self.series for trial in series)


def search(
    contest: Contest,
    histograms: Histograms,
    flagged: Sequence[str],
    settings: Settings,
) -> PercentileSearch:
    """Find p for the ``flagged`` layers, most sensitive first; the others keep the base calibrator.

    One p for all (the paper's default); with ``settings.p_per_layer`` each layer's own is refined after that, one
    layer at a time, the others held.
    """
    base = calibrated.uniform(histograms, settings.base_calibrator, settings)
    if not flagged:
        return PercentileSearch({}, base, ())

    def evaluate(choices: Sequence[Mapping[str, float]], title: str) -> tuple[Trial, ...]:
        candidates = [Candidate("p " + _label(p), calibrated.mixed(base, histograms, p, settings)) for p in choices]
        standings = contest.compare(candidates, title)
        return tuple(Trial(p, s.wer, s.cer, s.heard) for p, s in zip(choices, standings, strict=True))

    values = p_values(histograms, flagged, settings)
    series = [evaluate([calibrated.same_p(flagged, p) for p in values], "stage 2: one p for all")]
    best = choose(series[0])
    if settings.p_per_layer and len(flagged) > 1:
        for number, name in enumerate(flagged, 1):
            choices = [{**best.p, name: p} for p in p_values(histograms, [name], settings)]
            series.append(evaluate(choices, f"stage 2: p of layer {number} of {len(flagged)}"))
            best = choose([best, *series[-1]])
    return PercentileSearch(best.p, calibrated.mixed(base, histograms, best.p, settings), tuple(series))


def choose(tried: Sequence[Trial]) -> Trial:
    """The best of the trials that heard everything, by the rule at the top of this file."""
    return min((t for t in tried if t.heard == 1.0), key=lambda t: (t.wer, t.cer, sum(t.p.values())))


def _label(p: Mapping[str, float]) -> str:
    values = sorted(set(p.values()))
    return f"{values[0]:g}" if len(values) == 1 else ", ".join(f"{name}: {v:g}" for name, v in p.items())
