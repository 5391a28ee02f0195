"""Calibration, dev and test speech, disjoint by construction.

Search sees calibration and dev only; test is read once, at the end. So no utterance and no recording may be
in two of them, and where the data allows it no speaker either.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from stablequant.data.utterance import SPLITS, Utterance
from stablequant.errors import DataError, OverlapError, SettingsError

Fractions = tuple[float, float, float]

# Which split gives up a part of itself when another is missing from the manifests.
_DONOR = {"calibration": "dev", "dev": "calibration", "test": "dev"}


@dataclass(frozen=True)
class Splits:
    """Three sets of utterances that share no id and no recording.

    Attributes:
        calibration: Observed, to set ranges.
        dev: Decoded over and over by the search.
        test: Decoded at the end, to report.

    Raises:
        OverlapError: If an id or a recording (its bytes, whatever its name) is in two of them.
    """

    calibration: tuple[Utterance, ...]
    dev: tuple[Utterance, ...]
    test: tuple[Utterance, ...]

    def __post_init__(self) -> None:
        """Hold that the splits are disjoint."""
        parts = [(field.name, u) for field in fields(self) for u in getattr(self, field.name)]
        recordings = _recordings([utterance for _, utterance in parts])
        homes: dict[str, tuple[str, str]] = {}
        for (split, utterance), recording in zip(parts, recordings, strict=True):
            for key in (f"id {utterance.id}", recording):
                home, other = homes.setdefault(key, (split, utterance.id))
                if home == split:
                    continue
                same = "the same utterance" if key.startswith("id ") else "the same recording"
                what = f"{utterance.id} in {split} is {same} as {other} in {home}"
                raise OverlapError(what, expected="disjoint splits", fix="remove it from one of them")


def make_splits(utterances: Sequence[Utterance], seed: int = 0, fractions: Fractions = (0.2, 0.4, 0.4)) -> Splits:
    """Divide utterances into calibration, dev and test.

    The manifests' own splits are used if they name at least two of the three; a missing third takes its
    fraction out of dev (a missing dev: out of calibration). Otherwise all are divided by ``fractions``. Any
    division is by speaker where there are three speakers or more, else by utterance, and keeps copies of one
    recording together. It does not depend on the order of ``utterances``.

    Utterances without text, where others have one, serve calibration alone; the others are then divided into dev and test.

    Args:
        utterances: With unique ids.
        seed: Of the division.
        fractions: Shares of calibration, dev and test, adding up to 1.

    Returns:
        The splits, each sorted by id.

    Raises:
        OverlapError: If the manifests' splits share an utterance or a recording.
        DataError: If there is too little speech to fill each split, only a part of it has a split, or dev or test speech has
            no text where others have one.
        SettingsError: If ``fractions`` are not three positive numbers that add up to 1.
    """
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        what = f"The fractions are {fractions}"
        raise SettingsError(what, expected="three positive numbers that add up to 1")
    ordered = sorted(utterances, key=lambda u: u.id)
    bare = _for_calibration_alone(ordered)
    judged = [u for u in ordered if not bare or u.text is not None]
    parts = {split: tuple(u for u in judged if u.split == split) for split in SPLITS}
    named = {split: part for split, part in parts.items() if part}
    shares = dict(zip(SPLITS, fractions, strict=True))
    if bare:
        del shares["calibration"]
    unnamed = next((u for u in judged if u.split is None), None)
    if named and unnamed is not None:
        what = f"{unnamed.id} ({unnamed.source}) has no split and others have one"
        raise DataError(what, expected="a split for every utterance, or for none")
    if len(named) < 2:
        named = _divide(judged, shares, seed)
    for missing in set(shares) - set(named):  # one at most
        donor = _DONOR[missing]
        named |= _divide(named[donor], {missing: shares[missing], donor: 1 - shares[missing]}, seed)
    if bare:
        named["calibration"] = tuple(sorted((*named.get("calibration", ()), *bare), key=lambda u: u.id))
    return Splits(**named)


def fingerprint(utterances: Sequence[Utterance]) -> str:
    """Return a SHA-256 (hex) over ids, texts, and each recording's size and hash, whatever their order."""
    rows = sorted((u.id, u.text, u.size, u.digest) for u in utterances)
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _for_calibration_alone(utterances: Sequence[Utterance]) -> list[Utterance]:
    """Utterances without text, where others have one: no error can be counted on them."""
    bare = [u for u in utterances if u.text is None]
    if len(bare) == len(utterances):
        return []
    if wrong := next((u for u in bare if u.split in ("dev", "test")), None):
        what = f"{wrong.source} is of the split {wrong.split} and has no text, where others have one"
        fix = "write what is said in it, or give it to calibration; without any text, leave all out"
        raise DataError(what, expected="text in all dev and test speech", fix=fix)
    return bare


def _divide(utterances: Sequence[Utterance], shares: dict[str, float], seed: int) -> dict[str, tuple[Utterance, ...]]:
    """Hand out groups in a seeded order, each to the split furthest below its share, empty ones first."""
    speakers = {u.speaker for u in utterances} - {None}
    by_speaker = len(speakers) >= 3
    groups: dict[str, list[Utterance]] = defaultdict(list)
    for utterance, recording in zip(utterances, _recordings(utterances), strict=True):
        # Someone unnamed may be anyone: such an utterance stands alone.
        key = f"speaker {utterance.speaker}" if by_speaker and utterance.speaker else recording
        groups[key].append(utterance)
    if len(groups) < len(shares):
        what = f"{len(utterances)} utterances cannot be divided into {', '.join(shares)}"
        raise DataError(what, expected=f"at least {len(shares)} recordings", fix="give more speech")
    parts: dict[str, list[Utterance]] = {split: [] for split in shares}
    # A group is known by its smallest id, which no machine's paths enter.
    for group in sorted(groups.values(), key=lambda g: _rank(min(u.id for u in g), seed)):
        split = max(parts, key=lambda s: (not parts[s], shares[s] * len(utterances) - len(parts[s]), -SPLITS.index(s)))
        parts[split] += group
    return {split: tuple(sorted(part, key=lambda u: u.id)) for split, part in parts.items()}


def _rank(id_: str, seed: int) -> str:
    """Return where an id stands in the seeded order."""
    return hashlib.sha256(f"{seed}:{id_}".encode()).hexdigest()


def _recordings(utterances: Sequence[Utterance]) -> list[str]:
    """Return a key for each utterance's audio, equal where the bytes are; only equal sizes are hashed.

    A missing or empty file equals itself alone: reading it will tell what is wrong.
    """
    times = Counter(u.size for u in utterances)
    return [
        f"file {u.audio if isinstance(u.audio, Path) else u.id}"
        if u.size <= 0
        else f"bytes {u.size} {u.digest if times[u.size] > 1 else ''}"
        for u in utterances
    ]
