"""stablequant: small, fast int8 speech models, with the proof that they are no worse."""

__version__ = "0.1.0"
