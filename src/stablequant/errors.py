"""The exceptions stablequant raises, each a sentence a user can act on.

An error says three things: what came, what was expected, and how to fix it. The command line prints the
message alone, without a traceback, and exits with the error's ``exit_code``.
"""

from __future__ import annotations

from typing import ClassVar

#: Characters of one part of a message.
LONGEST = 1000


class StablequantError(Exception):
    """Base of every error the library raises on purpose.

    Args:
        what: What went wrong, naming the file, argument or layer.
        expected: What would have been right.
        fix: What the user can do about it.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, what: str, *, expected: str | None = None, fix: str | None = None) -> None:
        """Keep the three parts of the message."""
        super().__init__(what)
        self.what = what
        self.expected = expected
        self.fix = fix

    def __str__(self) -> str:
        """Return the whole message on one line; a part that repeats something endless has its middle left out."""
        parts = [("", self.what), ("Expected ", self.expected), ("Fix: ", self.fix)]
        return " ".join(lead + _sentence(_short(text)) for lead, text in parts if text)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with all three parts, so that the message survives a process boundary."""
        return type(self), (self.what,), {"expected": self.expected, "fix": self.fix}


class SettingsError(StablequantError):
    """A setting or argument has a value that cannot be used."""


class DataError(StablequantError):
    """A manifest is missing, unreadable, or lacks what it must hold."""


class AudioError(DataError):
    """A recording is missing, corrupt, empty, or holds NaN or infinite samples."""


class VocabularyError(DataError):
    """A transcript holds a character that the model's tokenizer cannot write."""


class OverlapError(DataError):
    """The same utterance or recording is in two splits."""


class ModelError(StablequantError):
    """A model cannot be loaded, or has a form that cannot be quantised."""


class PlanError(StablequantError):
    """A plan is malformed, or does not fit the model."""


class ExportError(StablequantError):
    """A quantised model cannot be written."""


class MissingRuntimeError(StablequantError):
    """A runtime that was asked for is not installed."""


class VerificationError(StablequantError):
    """An exported model does not do what its plan says."""

    exit_code = 3


class ResourceError(StablequantError):
    """The disk is full, or memory has run out."""


class Interrupted(StablequantError):
    """The run was stopped from outside; finished work is kept."""


def memory_ran_out(error: BaseException) -> bool:
    """Whether ``error`` is a lack of memory, in the words of Python, PyTorch or ONNX Runtime."""
    told = ("bad_alloc", "bad allocation", "allocate memory", "out of memory", "Failed to allocate")
    return isinstance(error, MemoryError) or any(words in str(error) for words in told)


def _short(text: str) -> str:
    """``text`` of at most `LONGEST` characters: names in a file that is read may be of any length."""
    half = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[:half]} ... {text[-half:]}"


def _sentence(text: str) -> str:
    """End ``text`` with a full stop unless it already ends a sentence."""
    text = " ".join(line.strip() for line in text.strip().splitlines())
    return text if text.endswith((".", "!", "?")) else f"{text}."
