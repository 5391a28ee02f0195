"""Where the result of a timing goes: processors with and without VNNI have files of their own."""

from __future__ import annotations

from pathlib import Path

from stablequant.runtime.processor import int8_overflows

ROOT = Path(__file__).resolve().parent.parent
WITHOUT_VNNI = "-without-vnni"


def result_file(name: str) -> Path:
    """bench/results/NAME.json, or NAME-without-vnni.json on x86 without it, where int8 is another story."""
    return ROOT / "bench" / "results" / f"{name}{WITHOUT_VNNI if int8_overflows() else ''}.json"
