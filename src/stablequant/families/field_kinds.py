"""What a field of config.json can be asked to be."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

#: Default of a field that config.json must have.
REQUIRED: Final = object()
#: Most convolutions on the waveform.
MOST_CONVOLUTIONS = 64


@dataclass(frozen=True)
class Count:
    """A whole number from 1 to ``most``."""

    most: int
    default: Any = REQUIRED
    optional: bool = False

    def accepts(self, value: object) -> bool:
        """Whether ``value`` can be used. ``true`` is no number, though Python counts it as one."""
        return type(value) is int and 1 <= value <= self.most

    @property
    def expected(self) -> str:
        """What would be accepted, in words."""
        return f"a whole number from 1 to {self.most:,}" + (", or null" if self.optional else "")


@dataclass(frozen=True)
class Counts:
    """A list of whole numbers from 1 to ``most``, neither empty nor endless."""

    most: int
    default: Any = REQUIRED
    optional: bool = False

    def accepts(self, value: object) -> bool:
        """Whether ``value`` can be used."""
        if not isinstance(value, list | tuple) or not 1 <= len(value) <= MOST_CONVOLUTIONS:
            return False
        return all(Count(self.most).accepts(item) for item in value)

    @property
    def expected(self) -> str:
        """What would be accepted, in words."""
        return f"a list of 1 to {MOST_CONVOLUTIONS} whole numbers from 1 to {self.most:,}"


@dataclass(frozen=True)
class Number:
    """A number above 0 and at most ``most``."""

    most: float
    default: Any = REQUIRED
    optional: bool = False

    def accepts(self, value: object) -> bool:
        """Whether ``value`` can be used."""
        if type(value) is int:
            return 0 < value <= self.most
        return isinstance(value, float) and math.isfinite(value) and 0 < value <= self.most

    @property
    def expected(self) -> str:
        """What would be accepted, in words."""
        return f"a number above 0 and at most {self.most:,}"


@dataclass(frozen=True)
class Pair:
    """A list of two numbers above 0 and at most ``most``."""

    most: float
    default: Any = REQUIRED
    optional: bool = False

    def accepts(self, value: object) -> bool:
        """Whether ``value`` can be used."""
        return isinstance(value, list | tuple) and len(value) == 2 and all(map(Number(self.most).accepts, value))

    @property
    def expected(self) -> str:
        """What would be accepted, in words."""
        return f"a list of two numbers above 0 and at most {self.most:,}"


@dataclass(frozen=True)
class Flag:
    """``true`` or ``false``."""

    default: Any = REQUIRED
    optional: bool = False

    def accepts(self, value: object) -> bool:
        """Whether ``value`` can be used."""
        return isinstance(value, bool)

    @property
    def expected(self) -> str:
        """What would be accepted, in words."""
        return "true or false"


@dataclass(frozen=True)
class Choice:
    """One of a few strings."""

    among: Collection[str]
    default: Any = REQUIRED
    optional: bool = False

    def accepts(self, value: object) -> bool:
        """Whether ``value`` can be used."""
        return isinstance(value, str) and value in self.among

    @property
    def expected(self) -> str:
        """What would be accepted, in words."""
        return f"one of {', '.join(self.among)}"


Field = Count | Counts | Number | Pair | Flag | Choice
