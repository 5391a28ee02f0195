"""What is good: how answers are scored, and how sure one can be of a score. Tasks register themselves when imported."""

from stablequant.tasks import likeness, recognition

__all__ = ["likeness", "recognition"]
