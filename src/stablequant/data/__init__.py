"""Labelled speech: manifests, decoded audio, disjoint splits, batches."""

from stablequant.data.audio import Recordings, read, read_many
from stablequant.data.batching import batches
from stablequant.data.manifest import load
from stablequant.data.splits import Splits, fingerprint, make_splits
from stablequant.data.utterance import Utterance

__all__ = [
    "Recordings",
    "Splits",
    "Utterance",
    "batches",
    "fingerprint",
    "load",
    "make_splits",
    "read",
    "read_many",
]
