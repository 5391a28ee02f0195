"""The float model on the dev speech, and the scheme that a search finds on it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from stablequant.data.speech import Speech
from stablequant.data.utterance import unlabelled
from stablequant.errors import ModelError
from stablequant.jobs.evidence import Job
from stablequant.jobs.rivals import Rivals, TrialsOn
from stablequant.jobs.speech import searched
from stablequant.measure.kernels import measured
from stablequant.observe.collect import Histograms
from stablequant.search.allocate import Costs, layer_options
from stablequant.search.costs import modelled
from stablequant.search.objective import Answers, Divergence, TaskError
from stablequant.search.stages import Found, search, search_allocation
from stablequant.search.trials import Candidate, Outcome, Trials


def find_scheme(job: Job, trials: TrialsOn, histograms: Histograms, rivals: Rivals) -> tuple[Outcome, Found]:
    """The float model's answers to the dev speech, of which a divergence needs a part, and what the search found on it.

    Beside an allocation the paper's scheme is found, to compare it with; what that takes is not part of the search's cost.
    """
    settings = job.settings
    dev = with_text(job, trials, searched(job.speech["dev"], settings), "dev")
    if settings.search.objective == "task":
        found = search(
            trials(dev, TaskError(job.task)), histograms, settings, job.known, partial(_require_sense, job, dev, "dev")
        )
        return found.reference, found
    words = trials(dev, TaskError(job.task))
    (answers,) = words.run([Candidate("float", {})], "float on dev")
    _require_sense(job, dev, "dev", answers)
    diverging = trials(dev, Divergence())
    if settings.search.strategy != "allocate":
        return answers, search(diverging, histograms, settings, job.known, before=words.cost)
    costs = {} if settings.search.mixed else _costs(job, diverging, histograms)
    found = search_allocation(diverging, histograms, settings, costs, answers, words.cost)
    diverging.simulator.let_go_codes()  # those of the checkpoint as it is come next
    return answers, replace(found, paper=rivals.paper(dev, words.cost.multiplications))


def _costs(job: Job, trials: Trials, histograms: Histograms) -> Costs:
    """What each layer's schemes take in time, as the setting ``cost`` has it."""
    options = layer_options(trials, histograms, job.settings)
    if job.settings.search.cost == "model":
        return modelled(trials.simulator, trials.speech, options)
    return measured(job.model, options, histograms, len(job.speech["calibration"].utterances), progress=job.progress)


def with_text(job: Job, trials: TrialsOn, speech: Speech, name: str) -> Speech:
    """The same speech; where it has no text, what the float model says stands in its place."""
    if not unlabelled(speech.utterances):
        return speech
    (answers,) = trials(speech, Answers()).run([Candidate("float", {})], f"float on {name}")
    _require_sense(job, speech, name, answers)
    return speech.with_texts([a.text for a in answers.readings])


def _require_sense(job: Job, speech: Speech, name: str, answers: Outcome) -> None:
    """Raise ModelError where the float model does not work on speech: no search could say what costs words."""
    doubts = job.task.doubts(speech.utterances, answers.readings)
    if doubts and not job.force:
        what = f"{job.name or job.model.path} does not work in float on the {name} speech: {'; '.join(doubts)}"
        causes = "a tokenizer of another model, audio of another rate or language, recordings without speech, or damaged weights"
        raise ModelError(
            what, expected="a model that works in float", fix=f"look for {causes}; --force goes on all the same"
        )
