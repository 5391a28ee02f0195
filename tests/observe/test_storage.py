from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from stablequant.errors import DataError, ResourceError
from stablequant.grid.histogram import Histogram
from stablequant.observe import storage
from stablequant.observe.storage import load_histograms, save_histograms


def some() -> dict[str, Histogram]:
    generator = torch.Generator().manual_seed(0)
    histograms = {name: Histogram(name) for name in ("encoder.conv1", "encoder.conv2", "silent")}
    for name in ("encoder.conv1", "encoder.conv2"):
        histograms[name].update(torch.randn(5000, generator=generator))
    return histograms


def test_round_trip_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "activations.npz"
    save_histograms(path, some(), {"model": "abc", "utterances": 3})
    loaded, meta = load_histograms(path)
    assert meta == {"model": "abc", "utterances": 3}
    assert list(loaded) == list(some())
    for name, original in some().items():
        assert loaded[name].name == name
        for key, array in original.to_arrays().items():
            assert np.array_equal(loaded[name].to_arrays()[key], array)
    loaded["encoder.conv1"].merge(loaded["encoder.conv2"])
    assert loaded["encoder.conv1"].count == 10_000


def test_the_same_histograms_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        save_histograms(tmp_path / name, some())
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def test_nothing_observed_is_stored_too(tmp_path: Path) -> None:
    save_histograms(tmp_path / "none.npz", {})
    assert load_histograms(tmp_path / "none.npz") == ({}, {})


def test_a_damaged_or_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "activations.npz"
    save_histograms(path, some())
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"not a zip", whole[:200] + b"\0" * 50 + whole[250:]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="activations.npz"):
            load_histograms(path)
    path.unlink()
    with pytest.raises(DataError, match="activations.npz"):
        load_histograms(path)


def test_another_resolution_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "old.npz"
    monkeypatch.setattr(storage, "FORMAT", {"version": 0})
    save_histograms(path, some())
    monkeypatch.undo()
    with pytest.raises(DataError, match="histogram format"):
        load_histograms(path)


def test_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="no-such-folder"):
        save_histograms(tmp_path / "no-such-folder" / "x.npz", some())
    full = Path("/dev/full")
    if full.exists():
        path = tmp_path / "activations.npz"
        save_histograms(path, some())
        before = path.read_bytes()
        import os

        (tmp_path / f"{path.name}.{os.getpid()}.partial").symlink_to(full)
        with pytest.raises(ResourceError, match="No space left"):
            save_histograms(path, some())
        assert path.read_bytes() == before
        assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
