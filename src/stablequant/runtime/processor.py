"""What the processor can do, as far as int8 kernels care."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path
from typing import Any

#: What int8 and bf16 kernels use of an x86 processor, as Linux spells it.
FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
#: One instruction that adds products of uint8 and int8 in 32 bits.
VNNI = ("avx512_vnni", "avx_vnni", "amx_int8")


@cache
def _cpuinfo() -> dict[str, str]:
    """The first processor's lines of /proc/cpuinfo; nothing where there is no such file."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().partition("\n\n")[0].splitlines() if info.is_file() else []
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def features() -> list[str]:
    """Those of ``FEATURES`` that this processor has; none are known outside Linux."""
    flags = set(_cpuinfo().get("flags", "").split())
    return [feature for feature in FEATURES if feature in flags]


def int8_overflows() -> bool:
    """Whether int8 kernels may add two products in 16 bits here, which can overflow.

    So they do on x86 without VNNI. Where the processor's features are not known it is taken to have none: right
    results before fast ones.
    """
    x86 = platform.machine().lower() in ("x86_64", "amd64", "i686", "x86")
    return x86 and not set(VNNI) & set(features())


def has_bfloat16() -> bool:
    """Whether the processor multiplies in bfloat16; not known outside Linux."""
    return bool({"avx512_bf16", "amx_bf16"} & set(features()))


def machine() -> dict[str, Any]:
    """What times are measured on: ``cpu`` by name, ``cores``, ``features``."""
    cpu = _cpuinfo().get("model name") or platform.processor() or platform.machine()
    return {"cpu": cpu, "cores": os.cpu_count(), "features": features()}
