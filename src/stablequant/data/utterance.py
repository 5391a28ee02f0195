"""One recording, as a rule with what is said in it: the unit everything else is counted in."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from stablequant.data.paths import open_regular, regular_size, shown
from stablequant.errors import DataError

SPLITS = ("calibration", "dev", "test")

_SPLIT_NAMES = {
    **dict.fromkeys(("calibration", "calib", "train", "training", "extra"), "calibration"),
    **dict.fromkeys(("dev", "devel", "development", "valid", "validation", "val"), "dev"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True)
class Utterance:
    """A recording and, where that is known, what is said in it.

    Attributes:
        id: Unique within what was loaded together.
        text: The transcript as given, before any normalisation, which may be empty; None: nobody wrote one.
        audio: The audio file, or its encoded bytes (never decoded samples).
        duration: Seconds, if the manifest tells.
        speaker: Who speaks, if the manifest tells.
        split: ``"calibration"``, ``"dev"``, ``"test"``, or None where the manifest does not say.
        source: The manifest it came from, for messages.
        set_name: Of the speech it came with, where several sources are used together.

    Raises:
        DataError: If ``split`` is another word.
    """

    id: str
    text: str | None
    audio: Path | bytes
    duration: float | None = None
    speaker: str | None = None
    split: str | None = None
    source: str = ""
    set_name: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Hold that the split is one of the three, so that no utterance is lost between them."""
        if self.split is not None and self.split not in SPLITS:
            what = f"{shown(self.id)} has the split {shown(self.split)!r}"
            raise DataError(what, expected=f"one of {', '.join(SPLITS)}")

    @property
    def name(self) -> str:
        """What to call it in a message: its file, or its id where the audio is in memory."""
        return shown(self.audio if isinstance(self.audio, Path) else f"{self.source}: {self.id}")

    @cached_property
    def size(self) -> int:
        """Bytes of encoded audio, or -1 where there is no regular file (reading it will tell why)."""
        return regular_size(self.audio) if isinstance(self.audio, Path) else len(self.audio)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the encoded audio, or ``"missing"`` where the file cannot be read."""
        if isinstance(self.audio, bytes):
            return hashlib.sha256(self.audio).hexdigest()
        try:
            with open_regular(self.audio) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return "missing"


def unlabelled(utterances: Sequence[Utterance]) -> bool:
    """Whether there are utterances, and none has a text."""
    return bool(utterances) and all(u.text is None for u in utterances)


def split_of(name: str) -> str | None:
    """Return the split that ``name`` means by its first word (``train-clean-100``: calibration), or None."""
    return _SPLIT_NAMES.get(re.split(r"[^a-z]", name.strip().lower(), maxsplit=1)[0])
