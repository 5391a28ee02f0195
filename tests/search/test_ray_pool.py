"""Trials on a cluster: two nodes on this machine. What dies costs a retry, and the plan is the local one to the byte."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import support

from stablequant.errors import DataError, ResourceError, SettingsError
from stablequant.jobs.quantize import quantize
from stablequant.search.pools import TRIES, LocalPool, Pool
from stablequant.search.ray_pool import RayPool
from stablequant.settings import Settings


@pytest.fixture(scope="module", autouse=True)
def environment() -> Iterator[None]:
    """Where workers find what tasks call; and Ray's own niceness off, or its workers wait behind everything else."""
    paths = os.pathsep.join(
        [str(p) for p in (support.ROOT / "src", Path(__file__).parent, Path(support.__file__).parent)]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", paths)
        patch.setenv("RAY_worker_niceness", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        yield


@pytest.fixture(scope="module")
def pool() -> Iterator[RayPool]:
    """Two nodes of one CPU each."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    found = RayPool(cluster.address)
    cluster.wait_for_nodes()
    yield found
    ray.shutdown()
    cluster.shutdown()


def pieces(shared: int, task: int) -> Iterator[tuple[int, int]]:
    for piece in range(3):
        yield shared * task + piece, os.getpid()


def test_every_piece_of_every_task_comes_from_a_worker_elsewhere(pool: RayPool) -> None:
    assert pool.size == 2
    found = list(pool.run(pieces, 10, [4, 2, 7]))
    assert sorted((i, value) for i, (value, _) in found) == [
        (i, 10 * t + p) for i, t in enumerate((4, 2, 7)) for p in range(3)
    ]
    assert os.getpid() not in {pid for _, (_, pid) in found}


def dying(shared: str, task: int) -> Iterator[int]:
    yield task
    with (Path(shared) / f"tries-{task}").open("a") as file:
        file.write("x")
    if task < 0 or (task == 2 and not (Path(shared) / "died").exists()):
        (Path(shared) / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    yield 10 * task


def test_a_task_whose_worker_is_killed_is_done_again(pool: RayPool, tmp_path: Path) -> None:
    found = list(pool.run(dying, str(tmp_path), [1, 2, 3]))
    assert {piece for _, piece in found} == {1, 10, 2, 20, 3, 30}
    assert (tmp_path / "tries-2").read_text() == "xx"
    assert (tmp_path / "tries-1").read_text() == "x"


def test_workers_that_keep_dying_at_one_task_end_the_run(pool: RayPool, tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="a worker process died 3 times at the same work"):
        list(pool.run(dying, str(tmp_path), [-1]))
    assert len((tmp_path / "tries--1").read_text()) == TRIES


def failing(shared: None, task: int) -> Iterator[int]:
    what = "no such thing"
    raise DataError(what, fix="fix it")
    yield task


def test_what_goes_wrong_in_a_worker_is_raised_here(pool: RayPool) -> None:
    with pytest.raises(DataError, match=r"no such thing. Fix: fix it\."):
        list(pool.run(failing, None, [1, 2]))


def workers() -> list[int]:
    """Processes of this test's own cluster that are at a task: another run of the suite may have one beside it."""
    parents, serving = {}, []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            pid = int(path.name)
            # Fields behind the name, which is in brackets: state, parent, ...
            parents[pid] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if (path / "cmdline").read_bytes().startswith(b"ray::_serve"):
                serving.append(pid)
        except OSError:
            continue  # it has ended meanwhile
    return [pid for pid in serving if descends(pid, os.getpid(), parents)]


def descends(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    while pid not in (0, ancestor):
        pid = parents.get(pid, 0)
    return pid == ancestor


def test_the_plan_is_the_local_one_to_the_byte_although_a_worker_is_killed(pool: RayPool, tmp_path: Path) -> None:
    manifest = support.small_manifest(tmp_path / "speech.jsonl")
    settings = Settings(p_step=0.25, calibration_utterances=5, batch_size=1)
    killed: list[int] = []

    def progress(title: str, done: int, total: int) -> None:
        if title.startswith("stage 1") and not killed and done > total / 4 and (found := workers()):
            os.kill(found[0], signal.SIGKILL)
            killed.append(found[0])

    def plan(name: str, workers: Pool, **options: Any) -> bytes:
        quantize(str(support.GRAFT), [str(manifest)], tmp_path / name, settings, pool=workers, **options)
        return (tmp_path / name / "plan.json").read_bytes()

    assert plan("cluster", pool, progress=progress) == plan("local", LocalPool())
    assert killed


def test_without_ray_the_mend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SettingsError, match=r"pip install 'stablequant\[ray\]'"):
        RayPool()


def test_an_address_without_a_cluster_is_told() -> None:
    code = "from stablequant.search.ray_pool import RayPool; RayPool('127.0.0.1:1')"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert ran.returncode != 0
    assert "ResourceError: there is no Ray cluster at 127.0.0.1:1" in ran.stderr
    assert "ray start --head" in ran.stderr
