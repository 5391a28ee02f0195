"""Both stages in order, and what they cost in evaluations of the dev speech."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stablequant.observe.collect import Histograms
from stablequant.quantize.by_frame import base
from stablequant.quantize.scheme import Scheme
from stablequant.search.allocate import Allocation, Costs, allocate
from stablequant.search.budget import within_budget
from stablequant.search.exact import Exact
from stablequant.search.fallback import FloatFallback, float_fallback, prices
from stablequant.search.paper_scheme import PaperScheme
from stablequant.search.racing import Racing, probes
from stablequant.search.stage1 import Sensitivity
from stablequant.search.stage2 import PercentileSearch, search_p
from stablequant.search.strategy import Strategy
from stablequant.search.trials import Candidate, Cost, Outcome, Trials
from stablequant.settings import Settings


@dataclass(frozen=True)
class Spent:
    """Cost of a search; one evaluation is the float model on all dev speech, counted in multiplications.

    Attributes:
        stage_1: Evaluations, the float one among them.
        stage_2: Evaluations, those of the float fallback among them.
        naive: What both stages take if every candidate is evaluated on all speech from the waveform on.
        seconds: Of computation, summed over workers, an earlier run's included.
    """

    stage_1: float
    stage_2: float
    naive: int
    seconds: float

    @property
    def evaluations(self) -> float:
        """Of both stages."""
        return self.stage_1 + self.stage_2


@dataclass(frozen=True)
class Found:
    """What a search found out: float on the dev speech, each layer's cost, the p of the flagged ones, what stays float.

    An allocation has no stages; ``stage2`` then holds its scheme alone, and ``paper`` the paper's, to compare it with.
    """

    reference: Outcome
    layers: tuple[Sensitivity, ...]
    stage2: PercentileSearch
    floats: FloatFallback | None
    spent: Spent
    allocation: Allocation | None = None
    paper: PaperScheme | None = None

    @property
    def scheme(self) -> Scheme:
        """All layers that are quantised in the end."""
        return self.floats.scheme if self.floats else self.stage2.scheme


def search(
    trials: Trials,
    histograms: Histograms,
    settings: Settings,
    known: Sequence[Sensitivity] | None = None,
    gate: Callable[[Outcome], None] = lambda reference: None,
    before: Cost | None = None,
) -> Found:
    """Run both stages on the speech of ``trials``.

    Args:
        trials: Evaluates candidates.
        histograms: Of every activation to quantise, in network order.
        settings: How; the setting ``strategy`` says whether everything is evaluated on all speech.
        known: What stage 1 found in an earlier run; default: it is run.
        gate: Given the float model's outcome before anything is searched; it may raise.
        before: What it took to have the float model answer that speech, where that was done before; one such pass is an
            evaluation. Default: it is what the float model takes here.
    """
    if settings.search.strategy == "none":
        return _unsearched(trials, histograms, settings, gate)
    race = settings.search.strategy == "racing"
    plain = Candidate("float", {})
    reference, *probed = trials.run(
        [plain, *(probes(histograms, settings) if race and not known else ())], "float on dev"
    )
    gate(reference)
    evaluation = before.multiplications if before else trials.cost.by_candidate[plain.key()]
    strategy: Strategy = Racing(trials, reference, probed) if race else Exact(trials, reference)
    layers = tuple(known or strategy.sensitivity(histograms))
    first = trials.cost.multiplications + (before.multiplications if before else 0)
    worst_first = sorted((s for s in layers if s.flagged), key=lambda s: -s.delta)
    found = search_p(strategy, histograms, [s.name for s in worst_first], settings)
    floats = None
    if settings.search.max_drop is not None:
        price = prices(trials.simulator, trials.speech, settings.search.max_drop_by)
        floats = float_fallback(trials, reference, found.scheme, layers, price, settings)
    spent = Spent(
        stage_1=first / evaluation,
        stage_2=(trials.cost.multiplications + (before.multiplications if before else 0) - first) / evaluation,
        naive=1 + (0 if known else len(layers)) + len(found.trials),
        seconds=trials.cost.seconds + (before.seconds if before else 0.0),
    )
    return Found(reference, layers, found, floats, spent)


def search_allocation(
    trials: Trials, histograms: Histograms, settings: Settings, costs: Costs, reference: Outcome, before: Cost
) -> Found:
    """Choose each layer's scheme by its divergence and its cost in time (search/allocate.py) or bytes (search/budget.py).

    Args:
        trials: On the dev speech, by divergence.
        histograms: Of every activation to quantise, in network order.
        settings: How.
        costs: What each layer's schemes take in time; of no use where bytes or divergence have a budget.
        reference: The float model's answers to that speech,
        before: and what they took; one such pass is an evaluation.
    """
    mixed = settings.search.mixed
    found = within_budget(trials, histograms, settings) if mixed else allocate(trials, histograms, settings, costs)
    spent = Spent(
        stage_1=(trials.cost.multiplications + before.multiplications) / before.multiplications,
        stage_2=0.0,
        naive=1 + sum(len(choice.costs) for choice in found.choices.values()),
        seconds=trials.cost.seconds + before.seconds,
    )
    chosen = PercentileSearch({}, found.chosen.candidate.scheme, ())
    return Found(reference, (), chosen, None, spent, found)


def _unsearched(trials: Trials, histograms: Histograms, settings: Settings, gate: Callable[[Outcome], None]) -> Found:
    """Float on the dev speech, and the scheme that needs no search."""
    (reference,) = trials.run([Candidate("float", {})], "float on dev")
    gate(reference)
    scheme = base(trials.simulator.model, histograms, settings)
    return Found(reference, (), PercentileSearch({}, scheme, ()), None, Spent(1.0, 0.0, 1, trials.cost.seconds))
