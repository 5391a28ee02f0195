"""How good a transcript is, and how sure one can be of it."""

from stablequant.tasks.asr import EvaluationResult, evaluate
from stablequant.tasks.bootstrap import Difference, Interval, bootstrap, paired_bootstrap

__all__ = ["Difference", "EvaluationResult", "Interval", "bootstrap", "evaluate", "paired_bootstrap"]
