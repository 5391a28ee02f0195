"""How much memory this process has had resident, and how much it may still take."""

from __future__ import annotations

import math
import os
import resource
import sys
from pathlib import Path


def peak() -> int:
    """The most memory that this process has had resident, in bytes.

    Linux tells it in /proc/self/status (proc(5), VmHWM). Its getrusage would count the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    # macOS tells bytes, other systems kilobytes (getrusage(2)).
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def available(root: Path = Path("/")) -> float:
    """Bytes that this process can take before the machine swaps, or a limit that it was started under ends it.

    The least of what Linux calls available (proc(5), MemAvailable), what is left of the control group's limit (cgroups(7),
    version 2 and 1), and what is left of the limit on addresses (getrlimit(2)); elsewhere half of the memory that is built
    in, or infinite where nothing is told.

    Args:
        root: Where ``proc`` and ``sys`` are.
    """
    found = [_left_by_cgroup(root), _left_by_address_limit(root)]
    meminfo = root / "proc" / "meminfo"
    if meminfo.is_file():
        lines = (line.split() for line in meminfo.read_text().splitlines())
        found += [1024.0 * int(words[1]) for words in lines if words[0] == "MemAvailable:"]
    elif "SC_PHYS_PAGES" in os.sysconf_names:
        found.append(0.5 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(found)


def _left_by_cgroup(root: Path) -> float:
    folder = root / "sys" / "fs" / "cgroup"
    left = math.inf
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        if (folder / limit).is_file() and (folder / used).is_file():
            text = (folder / limit).read_text().strip()
            if text.isdigit():  # else "max": none
                left = min(left, max(0.0, int(text) - int((folder / used).read_text())))
    return left


def _left_by_address_limit(root: Path) -> float:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    sizes = root / "proc" / "self" / "statm"
    if limit == resource.RLIM_INFINITY or not sizes.is_file():
        return math.inf
    used = int(sizes.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return max(0.0, limit - used)
