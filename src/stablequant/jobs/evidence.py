"""What a quantisation works on, and what it found out; the report room turns the latter into summary, card and page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stablequant.data.speech import Speech
from stablequant.export.agreement import Agreement
from stablequant.families.model import SpeechModel
from stablequant.observe.collect import Histograms
from stablequant.progress import Clock, Progress, silent
from stablequant.quantize.plan import Plan
from stablequant.search.pools import LocalPool, Pool
from stablequant.search.stage1 import Sensitivity
from stablequant.search.stages import Found
from stablequant.settings import Settings
from stablequant.tasks.score import Score
from stablequant.tasks.task import Evaluation, Task

#: Whole-model methods that stablequant is compared with: the same calibrator for every layer.
BASELINES = ("max", "percentile", "mse")
#: The paper's scheme, where another was chosen (search/paper_scheme.py).
PAPER = "paper"


@dataclass(frozen=True)
class Job:
    """One quantisation: what it works on, and with.

    Attributes:
        model: The float checkpoint.
        speech: Calibration, dev and test speech.
        task: Scores answers.
        out: Folder that is written.
        settings: How.
        name: What the user called the model.
        sources: Where the speech came from, as the user named it.
        command: The command line that makes this run again.
        known: What stage 1 found in an earlier run of the same; ``None``: it is run.
        pool: The workers that share the trials.
        wait: Whether to wait for another run that holds ``out``, instead of refusing.
        report: Writes reports of what was found into a folder, before all of it is handed over.
        force: Whether to go on although the model does not work in float.
        clock: Times the stages.
        progress: Told what is running.
    """

    model: SpeechModel
    speech: Mapping[str, Speech]
    task: Task
    out: Path
    settings: Settings
    name: str = ""
    sources: tuple[str, ...] = ()
    command: str = ""
    known: Sequence[Sensitivity] | None = None
    pool: Pool = field(default_factory=LocalPool)
    wait: bool = False
    report: Callable[[Evidence, Path], object] | None = None
    force: bool = False
    clock: Clock = field(default_factory=Clock)
    progress: Progress = silent


@dataclass(frozen=True)
class Evidence:
    """All that a run found out.

    Attributes:
        job: What was run.
        plan: The quantisation that came of it.
        histograms: Of every activation.
        search: What was found on the dev speech.
        dev: What the float model makes of that speech, as the task scores it.
        resolution: Points that the dev speech tells from chance; ``None`` where that was not measured.
        test: By method, on test: float, max, percentile, mse, paper (beside an allocation), stablequant (simulated), int8_file.
        agreements: The file compared with the simulation, and with itself without optimisation.
        warnings: What a user should be told although the file is right: it does what the plan says, and the plan costs this.
        runtime: That ran the file.
        file_bytes: Of the int8 files.
        speedup: Against float in the same runtime.
        speed_seconds: Of each round, "float" and "int8".
        fidelity: By method, on test speech without text: how far outputs diverge from float's; empty where it has one.
    """

    job: Job
    plan: Plan
    histograms: Histograms
    search: Found
    dev: Score
    resolution: float | None
    test: Mapping[str, Evaluation]
    agreements: tuple[Agreement, ...]
    warnings: tuple[str, ...]
    runtime: str
    file_bytes: int
    speedup: float
    speed_seconds: Mapping[str, Sequence[float]]
    fidelity: Mapping[str, Score] = field(default_factory=dict)

    @property
    def model(self) -> SpeechModel:
        """What was quantised."""
        return self.job.model
