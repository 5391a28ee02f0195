"""Stage 1: what is flagged, and what the dev speech can tell."""

from __future__ import annotations

import pytest
import support

from stablequant.jobs.cautions import too_coarse
from stablequant.jobs.open import simulator
from stablequant.search.exact import Exact
from stablequant.search.objective import TaskError
from stablequant.search.stage1 import Sensitivity, judge, resolution
from stablequant.search.trials import Candidate, Outcome, Trials
from stablequant.settings import Settings
from stablequant.tasks.asr import evaluate
from stablequant.tasks.task import task_of

UTTERANCES = 200
WORDS = "one two three four five"


def outcome(wrong: set[int], label: str = "layer") -> Outcome:
    """200 utterances of five words, one word of each of the ``wrong`` misheard."""
    ids = [str(i) for i in range(UTTERANCES)]
    heard = [WORDS.replace("three", "tree") if i in wrong else WORDS for i in range(UTTERANCES)]
    return Outcome(Candidate(label, {}), (), evaluate(ids, [WORDS] * UTTERANCES, heard, "basic").score)


def trials(settings: Settings) -> Trials:
    """On a few recordings of the small model, judged by word errors."""
    objective = TaskError(task_of(settings.data))
    return Trials(simulator(support.graft(), settings), support.speech(batch_size=4), settings, objective)


REFERENCE = outcome(set(range(40)))
#: Four words worse in every place: certain.
WORSE = outcome(set(range(60)))
#: As many, but it is also better in places: 23 worse, 20 better, 0.3 points in all.
MIXED = outcome(set(range(20, 63)))


@pytest.mark.parametrize(
    ("found", "gamma", "beyond_chance", "flagged"),
    [
        (WORSE, 0.25, False, True),
        (WORSE, 0.25, True, True),
        (WORSE, 2.0, False, False),  # exactly gamma is not above it
        (MIXED, 0.25, False, True),
        (MIXED, 0.25, True, False),
        (REFERENCE, 0.0, False, False),
    ],
)
def test_a_layer_is_flagged_above_gamma_and_if_wished_only_beyond_chance(
    found: Outcome, gamma: float, beyond_chance: bool, flagged: bool
) -> None:
    judged = judge(REFERENCE, found, trials(Settings(gamma=gamma, beyond_chance=beyond_chance)))
    assert judged.flagged is flagged
    assert judged.interval is not None
    assert judged.interval[0] <= judged.delta <= judged.interval[1]


def test_the_resolution_is_half_the_typical_interval() -> None:
    layers = [Sensitivity(str(i), 5.0, 0.0, False, (-i / 10, i / 10)) for i in (1, 3, 9)]
    assert resolution(layers) == pytest.approx(0.3)
    assert resolution([Sensitivity("a", 5.0, 0.0, False)]) is None


def test_gamma_below_the_resolution_is_warned_of() -> None:
    (warning,) = too_coarse(0.6, 1289, Settings())
    assert "1289 words" in warning
    assert "0.60" in warning
    assert "beyond_chance" in warning
    assert too_coarse(0.2, 5000, Settings()) == []
    assert too_coarse(0.6, 1289, Settings(beyond_chance=True)) == []


def test_every_layer_of_a_real_model_is_measured_alone_against_float() -> None:
    settings = Settings(bits=3, gamma=5.0)
    histograms = {op.name: support.histograms("graft")[op.name] for op in support.graft().ops()[:4]}
    runner = trials(settings)
    (reference,) = runner.run([Candidate("float", {})], "float")
    found = Exact(runner, reference).sensitivity(histograms)
    assert [layer.name for layer in found] == list(histograms)
    assert all(layer.delta == pytest.approx(layer.rate - reference.score.rate) for layer in found)
    assert all(layer.flagged == (layer.delta > 5.0) for layer in found)
    assert any(layer.flagged for layer in found)
