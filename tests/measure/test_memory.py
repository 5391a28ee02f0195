"""What may still be taken is the least that anything allows."""

from __future__ import annotations

import math
from pathlib import Path

from stablequant.families.family import LEAST, Bounds
from stablequant.jobs.pieces import SHARE, lengths
from stablequant.measure.memory import available, peak
from stablequant.settings import DataSettings


def test_the_least_of_machine_and_control_group(tmp_path: Path) -> None:
    assert 0 < peak() < available() * 1000
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 9000 kB\nMemFree: 10 kB\nMemAvailable:    4000 kB\n")
    assert available(tmp_path) == 4000 * 1024
    group = tmp_path / "sys" / "fs" / "cgroup"
    group.mkdir(parents=True)
    (group / "memory.current").write_text("1000000\n")
    for limit, expected in (("max", 4000 * 1024), ("3000000", 2e6), ("500000", 0)):
        (group / "memory.max").write_text(f"{limit}\n")
        assert available(tmp_path) == expected


def test_pieces_and_batches_are_as_long_as_memory_allows() -> None:
    bounds = Bounds(longest=60, a_second=3e6, squared=0.4e6)
    data = DataSettings(batch_seconds=40)
    for seconds in (12.0, 50.0):
        taken = bounds.a_second * seconds + bounds.squared * seconds**2
        found = lengths(bounds, data, memory=taken / SHARE)
        assert math.isclose(found.piece, seconds) and math.isclose(found.batch, min(40, seconds))
    assert lengths(bounds, data, memory=1e12) == (60, 40)
    assert lengths(bounds, data, memory=0) == (LEAST, LEAST)
    assert lengths(Bounds(longest=30, window=30), data, memory=0) == (30, 40)
