"""What a task is: it says which examples cannot be used, and how good answers are.

`task` registers one, in this package or in the code of whoever adds a task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from stablequant.data.utterance import Utterance
from stablequant.errors import SettingsError
from stablequant.heads.head import Answer, Head
from stablequant.settings import DataSettings
from stablequant.tasks.score import Score


class Task(Protocol):
    """How answers to some speech are judged."""

    @property
    def metric(self) -> str:
        """What the score is called: "WER"."""

    def suited(self, examples: Sequence[Utterance]) -> Task:
        """The same task with all that it leaves open decided by these examples, all of a run's: rules for their language.

        Or another task, where these examples ask for one: without any text, what needs none.
        """

    def decided(self) -> Mapping[str, Any]:
        """Settings that `suited` decided, by name."""

    def refuse(self, examples: Sequence[Utterance], head: Head) -> Mapping[str, str]:
        """Ids of the examples that cannot be scored, each with the reason: text that the model cannot write, no text.

        Raises:
            DataError: They are too many to be chance.
        """

    def score(self, examples: Sequence[Utterance], answers: Sequence[Answer]) -> Score:
        """How much ``answers`` err."""

    def figures(self, examples: Sequence[Utterance], answers: Sequence[Answer]) -> dict[str, Any]:
        """The rate with its interval, and what else a reader wants to know of the answers, as JSON holds it."""

    def doubts(self, examples: Sequence[Utterance], answers: Sequence[Answer]) -> list[str]:
        """Why a float model with these answers does not work at all; empty where it does."""

    def alarms(self, answers: Sequence[Answer], reference: Sequence[Answer], name: str) -> list[str]:
        """What is wrong with ``answers`` beyond their score, where those of ``name`` have it not: empty, cut off."""


@dataclass(frozen=True)
class Evaluation:
    """Answers to some speech and what they amount to.

    Attributes:
        examples: The speech.
        answers: One an example.
        score: Of the answers.
        figures: As `Task.figures` has them.
    """

    examples: tuple[Utterance, ...]
    answers: tuple[Answer, ...]
    score: Score
    figures: Mapping[str, Any]

    def __str__(self) -> str:
        """The rate, in words."""
        return f"{self.score.metric} {self.score.rate:.2f} ({len(self.examples)} utterances)"


def evaluate(task: Task, examples: Sequence[Utterance], answers: Sequence[Answer]) -> Evaluation:
    """Score ``answers`` to ``examples``."""
    score, figures = task.score(examples, answers), task.figures(examples, answers)
    return Evaluation(tuple(examples), tuple(answers), score, figures)


TASKS: dict[str, Callable[[DataSettings], Task]] = {}

Factory = TypeVar("Factory", bound=Callable[[DataSettings], Task])


def task(name: str) -> Callable[[Factory], Factory]:
    """Register what makes a task from settings, a class as a rule, under ``name``: the setting ``task`` chooses it.

    Raises:
        SettingsError: There is a task of this name.
    """

    def register(factory: Factory) -> Factory:
        if TASKS.setdefault(name, factory) is not factory:
            what = f"there is a task {name!r} already"
            raise SettingsError(what, expected="a new name")
        return factory

    return register


def task_of(settings: DataSettings) -> Task:
    """The task that ``settings`` name; SettingsError if there is none."""
    if settings.task not in TASKS:
        what = f"task {settings.task!r} is unknown"
        raise SettingsError(what, expected=f"one of {', '.join(TASKS)}")
    return TASKS[settings.task](settings)
