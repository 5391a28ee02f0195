"""The gate: an exported file must say what the simulation says, or it does not ship."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stablequant.errors import VerificationError
from stablequant.families.frontend import Transcript
from stablequant.tasks.asr import EvaluationResult
from stablequant.tasks.bootstrap import paired_bootstrap

#: Share of transcripts that may be empty or cut off beyond the reference's.
ALARM_SHARE = 0.02
#: A difference outside this paired interval is no chance. Wide: the check must not cry wolf on one run in twenty.
LEVEL = 0.999


@dataclass(frozen=True)
class Verification:
    """An exported file against a reference on the same speech.

    Attributes:
        reference: What it was held against.
        identical: Share of transcripts that agree to the letter.
        difference: WER of the file minus the reference's, in points.
        interval: Interval of that difference by paired bootstrap, at ``LEVEL``.
        limit: The largest difference that passes whatever the interval.
    """

    reference: str
    identical: float
    difference: float
    interval: tuple[float, float]
    limit: float

    @property
    def passed(self) -> bool:
        """Within the limit, or within chance.

        Two runtimes add numbers in different orders. A sum that falls on the edge between two int8 steps may then fall
        on either side, and what follows differs: a change of one part in a million in the audio does the same to the
        simulation itself. Such transcripts are better as often as worse; a wrong graph is worse only.
        """
        return abs(self.difference) <= self.limit or self.interval[0] <= 0.0 <= self.interval[1]


def compare(file: EvaluationResult, reference: EvaluationResult, name: str, tolerance: float) -> Verification:
    """Hold the file's result against ``reference``; ``tolerance`` is in points of WER, at least two words."""
    difference = paired_bootstrap(reference, file, level=LEVEL)
    same = sum(a == b for a, b in zip(file.hypotheses, reference.hypotheses, strict=True))
    limit = max(tolerance, 200.0 / max(1, file.total_words))
    return Verification(name, same / max(1, len(file.ids)), difference.delta, (difference.low, difference.high), limit)


def alarms(transcripts: Sequence[Transcript], reference: Sequence[Transcript], name: str) -> list[str]:
    """What is wrong beyond WER: transcripts that are empty or had to be cut off where those of ``name`` are not."""

    def empty(ts: Sequence[Transcript]) -> int:
        return sum(not t.text for t in ts)

    def runaway(ts: Sequence[Transcript]) -> int:
        return sum(t.truncated for t in ts)

    room = ALARM_SHARE * len(transcripts)
    found = []
    for count, what in ((empty, "empty"), (runaway, "cut off at the length limit (a runaway decoder)")):
        now, before = count(transcripts), count(reference)
        if now > before + room:
            found.append(f"{now} of {len(transcripts)} transcripts are {what}, {before} of {name}")
    return found


def require(verifications: Sequence[Verification], found: Sequence[str], kept: str) -> None:
    """Raise VerificationError unless all passed and no alarm went; the message says where the file is ``kept``."""
    reasons = [
        f"WER differs from {v.reference} by {v.difference:+.2f} points "
        f"({LEVEL:.1%} interval {v.interval[0]:+.2f} to {v.interval[1]:+.2f}, "
        f"{v.identical:.1%} of transcripts identical)"
        for v in verifications
        if not v.passed
    ]
    reasons += found
    if reasons:
        what = f"the exported file failed its check: {'; '.join(reasons)}. It is kept in {kept}"
        expected = f"at most {max((v.limit for v in verifications), default=0.0):.2f} points, or within chance"
        raise VerificationError(what, expected=expected, fix="report it with the plan, or try --set symmetric=false")
