"""What a trial is judged by: the task's own error, or the divergence from the float model, which needs no labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from stablequant.data.utterance import Utterance
from stablequant.heads.head import Answer, Head, Logits
from stablequant.network.backend import Backend
from stablequant.tasks.fidelity import Divergence as Reading
from stablequant.tasks.fidelity import divergence, divergence_score
from stablequant.tasks.score import Score
from stablequant.tasks.task import Task

#: Points of error rate that one nat a step stands for. Measured below half a nat: 34 to 47 on Moonshine tiny, 17 to 52 on
#: wavlm-graft (bench/objective.py).
POINTS_A_NAT = 40.0


class Objective(Protocol):
    """Reads a candidate's outputs, one batch of utterances at a time, and scores what was read."""

    @property
    def name(self) -> str:
        """Part of every key in a journal: readings of one objective are never taken for another's."""

    @property
    def points(self) -> float:
        """Points of error rate that one unit of the score's rate stands for; gamma and ``max_drop`` are in points."""

    @property
    def needs_float(self) -> bool:
        """Whether `prepare` must have run on a batch before anything can be measured on it."""

    def prepare(self, head: Head, backend: Backend, outputs: dict[str, Any], sizes: NDArray[Any]) -> Any:
        """What the float model says of a batch, once for all candidates: hints, or what they are compared with.

        Args:
            head: Of the model.
            backend: The float model.
            outputs: Of its first graph.
            sizes: Samples of each utterance ``[B]``.
        """

    def prepared(self, readings: Sequence[Any]) -> Any:
        """The same from readings of the float model; ``None`` where they do not hold it."""

    def measure(
        self, head: Head, backend: Backend, outputs: dict[str, Any], sizes: NDArray[Any], prepared: Any
    ) -> list[Any]:
        """Read the outputs of a candidate, which ``backend`` runs: one reading an utterance."""

    def score(self, examples: Sequence[Utterance], readings: Sequence[Any]) -> Score:
        """What readings amount to."""

    def to_json(self, reading: Any) -> Any:
        """A reading as the journal keeps it."""

    def from_json(self, value: Any) -> Any:
        """The reading that `to_json` made this of."""


class Answers:
    """What a model answers, compared with nothing. A reading is an `Answer`."""

    name: str = "answers"
    points: float = 1.0
    needs_float: bool = False

    def prepare(self, head: Head, backend: Backend, outputs: dict[str, Any], sizes: NDArray[Any]) -> Any:
        """The float model's tokens, which serve as hints."""
        return self.prepared(head.read(backend, outputs, sizes))

    def prepared(self, readings: Sequence[Answer]) -> Any:
        """Their tokens."""
        return tuple(answer.tokens for answer in readings)

    def measure(
        self, head: Head, backend: Backend, outputs: dict[str, Any], sizes: NDArray[Any], prepared: Any
    ) -> list[Answer]:
        """Decode."""
        return head.read(backend, outputs, sizes, prepared)

    def score(self, examples: Sequence[Utterance], readings: Sequence[Answer]) -> Score:
        """None errs."""
        return Score("answers", tuple(u.id for u in examples), (0.0,) * len(examples), (1.0,) * len(examples))

    def to_json(self, reading: Answer) -> Any:
        """Text, tokens, truncated."""
        return [reading.text, reading.tokens, reading.truncated]

    def from_json(self, value: Any) -> Answer:
        """The answer."""
        text, tokens, truncated = value
        return Answer(str(text), tuple(tokens), bool(truncated))


@dataclass(frozen=True)
class TaskError(Answers):
    """The error rate of the task: needs labels, and every decoding step.

    Attributes:
        task: Scores the answers.
    """

    task: Task

    def score(self, examples: Sequence[Utterance], readings: Sequence[Answer]) -> Score:
        """As the task scores answers."""
        return self.task.score(examples, readings)


@dataclass(frozen=True)
class Divergence:
    """KL divergence of the candidate's outputs from the float model's, a token or a frame: needs no labels and no decoding steps.

    A decoder is given the float model's own transcript (teacher forcing).
    """

    name: str = "divergence"
    points: float = POINTS_A_NAT
    needs_float: bool = True

    def prepare(self, head: Head, backend: Backend, outputs: dict[str, Any], sizes: NDArray[Any]) -> Any:
        """The float model's answers and their logits."""
        answers = head.read(backend, outputs, sizes)
        return answers, head.logits(backend, outputs, answers)

    def prepared(self, readings: Sequence[Reading]) -> Any:
        """Divergences do not hold the logits."""
        return None

    def measure(
        self,
        head: Head,
        backend: Backend,
        outputs: dict[str, Any],
        sizes: NDArray[Any],
        prepared: tuple[list[Answer], Logits],
    ) -> list[Reading]:
        """One pass, teacher-forced."""
        answers, reference = prepared
        found = head.logits(backend, outputs, answers)
        return [divergence(a, b) for a, b in zip(reference, found, strict=True)]

    def score(self, examples: Sequence[Utterance], readings: Sequence[Reading]) -> Score:
        """Mean nats a step."""
        return divergence_score([u.id for u in examples], readings)

    def to_json(self, reading: Reading) -> Any:
        """Nats and steps."""
        return asdict(reading)

    def from_json(self, value: Any) -> Reading:
        """The divergence."""
        return Reading(float(value["nats"]), int(value["steps"]))
