"""How good a transcript is, and how sure one can be of it."""

from stablequant.evaluate.significance import Difference, Interval, bootstrap, paired_bootstrap
from stablequant.evaluate.wer import EvaluationResult, evaluate

__all__ = ["Difference", "EvaluationResult", "Interval", "bootstrap", "evaluate", "paired_bootstrap"]
