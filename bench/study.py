"""One model and its speech, and what is observed of it once: what benches of several methods share."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from inputs import WORK

from stablequant.cli.console import ProgressLine
from stablequant.data.speech import Speech
from stablequant.families.checkpoint import load
from stablequant.families.model import SpeechModel
from stablequant.jobs.speech import read_splits, searched
from stablequant.observe.cached import observe_once
from stablequant.observe.collect import Histograms
from stablequant.observe.moments import StoredMoments, moments_once
from stablequant.quantize.by_frame import by_frame
from stablequant.quantize.folding import fold
from stablequant.quantize.scheme import Scheme
from stablequant.quantize.simulate import Simulator
from stablequant.quantize.weights import WeightStore
from stablequant.search.journal import Journal
from stablequant.search.objective import Objective
from stablequant.search.trials import Trials
from stablequant.settings import Settings
from stablequant.tasks.task import Task


class Study:
    """A model and its speech.

    Attributes:
        model: In float.
        speech: Calibration, dev (the part that is searched on) and test.
        task: Scores it.
        settings: With all decided that was left to the speech.
        folder: Where what is observed is kept.
    """

    def __init__(
        self, model: SpeechModel, speech: Mapping[str, Speech], task: Task, settings: Settings, folder: Path
    ) -> None:
        """Nothing is computed yet."""
        self.model, self.speech, self.task, self.settings, self.folder = model, speech, task, settings, folder
        self.progress = ProgressLine()

    @classmethod
    def read(cls, model: str, data: list[str], settings: Settings, name: str) -> Study:
        """Load a checkpoint and its speech; ``name`` is that of the folder in build/bench."""
        loaded, folder = load(model), WORK / name
        folder.mkdir(parents=True, exist_ok=True)
        speech, task, settings = read_splits(loaded.frontend, data, settings)
        return cls(loaded, speech | {"dev": searched(speech["dev"], settings)}, task, settings, folder)

    def on(self, model: SpeechModel, name: str) -> Study:
        """The same speech and another model, such as a folded or a trained one, under a name of its own."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return Study(model, self.speech, self.task, self.settings, folder)

    def folded(self, settings: Settings) -> Study:
        """The study of the model as a run with these settings folds it."""
        if settings.fold == "none":
            return self
        return self.on(fold(self.model, self.speech["calibration"], settings.fold).model, settings.fold)

    @cached_property
    def histograms(self) -> Histograms:
        """Of every activation on the calibration speech."""
        return observe_once(
            self.model, self.speech["calibration"], False, self.folder / "activations.npz", self.progress
        )

    @cached_property
    def moments(self) -> StoredMoments:
        """Of what each layer reads there."""
        return moments_once(self.model, self.speech["calibration"], self.folder / "moments.safetensors", self.progress)

    def store(self) -> WeightStore:
        """Integer weights that may be rounded for that speech; none is made yet."""
        return WeightStore.of(self.model, self.moments)

    def trials(self, split: str, objective: Objective, weights: WeightStore, journal: Journal | None = None) -> Trials:
        """On ``dev`` or ``test``; without a journal they are run anew."""
        simulator, kept = Simulator(self.model, weights=weights), journal or Journal(None)
        return Trials(simulator, self.speech[split], self.settings, objective, kept, self.progress)

    def by_frame(self, settings: Settings) -> Scheme:
        """A scale a frame, or a block where weights have groups."""
        settings = settings.updated(scales="frame", strategy="none")
        found = by_frame(self.model, self.histograms, settings)
        return {op.name: found[op.name] for op in self.model.ops()}
