"""CTranslate2's Whisper as faster-whisper runs it, converted from the same checkpoint; as a program, its memory.

python bench/peers/ctranslate.py FOLDER COMPUTE_TYPE    # the most memory of a process that transcribes ten seconds
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stablequant.measure.memory import peak

RATE, SECONDS = 16_000, 10


class FasterWhisper:
    """Greedy, in one window, without timestamps, and without second attempts at higher temperatures: what all others here do."""

    def __init__(self, folder: Path, compute_type: str) -> None:
        """Open a converted model, on one thread."""
        from faster_whisper import WhisperModel

        self._model = WhisperModel(str(folder), device="cpu", compute_type=compute_type, cpu_threads=1, num_workers=1)
        # A model of English alone takes no other language, and a multilingual one is told.
        self._asked: dict[str, Any] = {
            "language": "en",
            "beam_size": 1,
            "temperature": 0.0,
            "without_timestamps": True,
            "condition_on_previous_text": False,
            "no_speech_threshold": None,
            "log_prob_threshold": None,
            "compression_ratio_threshold": None,
        }

    def text(self, sound: Any) -> str:
        """Transcript of one recording at 16 kHz."""
        segments, _ = self._model.transcribe(sound, **self._asked)
        return " ".join(segment.text.strip() for segment in segments)


def convert(checkpoint: Path, folder: Path, quantization: str) -> float:
    """Convert a checkpoint with CTranslate2's own converter; returns the seconds that it took."""
    from ctranslate2.converters import TransformersConverter

    began = time.perf_counter()
    files = ["tokenizer.json", "preprocessor_config.json"]
    TransformersConverter(str(checkpoint), copy_files=files).convert(str(folder), quantization=quantization)
    return time.perf_counter() - began


def peak_rss_bytes(folder: Path, compute_type: str) -> int:
    """The most memory of a process of its own."""
    command: Sequence[str] = [sys.executable, __file__, str(folder), compute_type]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(ran.stdout.splitlines()[-1])


if __name__ == "__main__":
    noise = 0.1 * np.random.default_rng(0).standard_normal(SECONDS * RATE)
    FasterWhisper(Path(sys.argv[1]), sys.argv[2]).text(noise.astype(np.float32))
    print(peak())
