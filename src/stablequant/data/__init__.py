"""Speech: manifests, decoded audio, disjoint splits, batches."""

from stablequant.data.audio import LONGEST_SECONDS, Recording, Recordings, read, read_many, read_recording
from stablequant.data.batching import batches
from stablequant.data.folder import AUDIO_ENDINGS, recordings_in
from stablequant.data.manifest import load
from stablequant.data.remarks import all_silent, require_sound
from stablequant.data.splits import Splits, fingerprint, make_splits
from stablequant.data.utterance import Utterance, unlabelled

__all__ = [
    "AUDIO_ENDINGS",
    "LONGEST_SECONDS",
    "Recording",
    "Recordings",
    "Splits",
    "Utterance",
    "all_silent",
    "batches",
    "fingerprint",
    "load",
    "make_splits",
    "read",
    "read_many",
    "read_recording",
    "recordings_in",
    "require_sound",
    "unlabelled",
]
