"""The gate: an exported file must say what the simulation says, or it does not ship."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stablequant.errors import VerificationError
from stablequant.tasks.bootstrap import paired_bootstrap
from stablequant.tasks.task import Evaluation

#: A difference outside this paired interval is no chance. Wide: the check must not cry wolf on one run in twenty.
LEVEL = 0.999


@dataclass(frozen=True)
class Agreement:
    """An exported file against a reference on the same speech.

    Attributes:
        reference: What it was compared with.
        metric: What was counted.
        identical: Share of answers that agree to the letter.
        difference: Rate of the file minus the reference's, in points.
        interval: Interval of that difference by paired bootstrap, at ``LEVEL``.
        limit: The largest difference that passes whatever the interval.
        differing: Recordings in which the file errs more or less than the reference.
    """

    reference: str
    metric: str
    identical: float
    difference: float
    interval: tuple[float, float]
    limit: float
    differing: int

    @property
    def passed(self) -> bool:
        """Within the limit, or within chance.

        Two runtimes add numbers in different orders. A sum that falls on the edge between two int8 steps may then fall
        on either side, and what follows differs: a change of one part in a million in the audio does the same to the
        simulation itself. Such transcripts are better as often as worse; a wrong graph is worse only. Resampling a few
        recordings cannot tell: that n of n have the same sign is chance once in ``2 ** (n - 1)`` (the sign test). What is
        wrong with a file that says something else in those few is told by its logits (`parity`).
        """
        few = 2.0 ** (1 - self.differing) > 1.0 - LEVEL
        return few or abs(self.difference) <= self.limit or self.interval[0] <= 0.0 <= self.interval[1]


def compare(file: Evaluation, reference: Evaluation, name: str, tolerance: float) -> Agreement:
    """Compare the file's answers with those of ``reference``; ``tolerance`` is in points, at least two errors."""
    difference = paired_bootstrap(reference.score, file.score, level=LEVEL)
    same = sum(a.text == b.text for a, b in zip(file.answers, reference.answers, strict=True))
    score = file.score
    limit = max(tolerance, score.factor * 2 * score.grain / max(1, score.total))
    return Agreement(
        name,
        score.metric,
        same / max(1, len(file.answers)),
        difference.delta,
        (difference.low, difference.high),
        limit,
        sum(a != b for a, b in zip(score.errors, reference.score.errors, strict=True)),
    )


def require(agreements: Sequence[Agreement], found: Sequence[str], kept: str) -> None:
    """Raise VerificationError unless all passed and no alarm went; the message says where the file is ``kept``."""
    reasons = [
        f"{v.metric} differs from {v.reference} by {v.difference:+.2f} points "
        f"({LEVEL:.1%} interval {v.interval[0]:+.2f} to {v.interval[1]:+.2f}, "
        f"{v.identical:.1%} of answers identical)"
        for v in agreements
        if not v.passed
    ]
    reasons += found
    if reasons:
        what = f"the exported file failed its check: {'; '.join(reasons)}. It is kept in {kept}"
        expected = f"at most {max((v.limit for v in agreements), default=0.0):.2f} points, or within chance"
        raise VerificationError(what, expected=expected, fix="report it with the plan, or try --set symmetric=false")
