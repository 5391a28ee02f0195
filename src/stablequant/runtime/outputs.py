"""What a file computed, by name; a name that it has not is told with the file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from stablequant.errors import ExportError


class Outputs(dict[str, Any]):
    """Outputs of one run of a file by name.

    Attributes:
        label: The file.
    """

    def __init__(self, label: str, found: Iterable[tuple[str, Any]]) -> None:
        """Keep what was ``found``."""
        super().__init__(found)
        self.label = label

    def __missing__(self, name: str) -> NoReturn:
        """Raise ExportError: the file is of another model."""
        what = f"{self.label} has no output {name[:100]}, only {', '.join(self)[:200]}"
        raise ExportError(what, expected="the file of this model", fix="export it again")
