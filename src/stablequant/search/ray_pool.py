"""Tasks on the workers of a Ray cluster, behind the same interface as the processes of this machine.

Nothing needs to be mounted on the other machines but an environment with stablequant: the model travels once through
Ray's object store, each task carries the audio of its batch, and the journal stays here. A worker or a node that dies
costs the task it was at. Tasks ask for one CPU; where the cluster has GPUs, for one of those too.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from stablequant.errors import ResourceError, SettingsError
from stablequant.search.pools import TRIES, Work, died


@dataclass
class RayPool:
    """Workers of a cluster.

    Attributes:
        address: Of the cluster ("auto", "host:6379"); empty: one on this machine, started for the purpose.
    """

    address: str = ""
    _shared: tuple[Any, Any] = field(default=(None, None), repr=False)

    def __post_init__(self) -> None:
        """Connect.

        Raises:
            SettingsError: Ray is not installed.
            ResourceError: There is no cluster at the address.
        """
        try:
            import ray
        except ImportError as error:
            what = "the executor ray needs the package ray, which is not installed"
            raise SettingsError(what, fix="pip install 'stablequant[ray]', or use --executor local") from error
        self._ray = ray
        if ray.is_initialized():
            return
        try:
            _knock(self.address)
            ray.init(address=self.address or None, log_to_driver=False, logging_level="error", include_dashboard=False)
        except (OSError, RuntimeError, ValueError) as error:
            what = f"there is no Ray cluster at {self.address} ({str(error).splitlines()[0]})"
            raise ResourceError(what, fix="start one with ray start --head, and give its address") from error

    @property
    def size(self) -> int:
        """Workers at most."""
        found = self._ray.cluster_resources()
        return max(1, int(found.get("GPU") or found.get("CPU", 1)))

    def run(self, work: Work, shared: Any, tasks: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Yield ``(index of the task, piece)``, see `search.workers.Pool`.

        Raises:
            ResourceError: Workers keep dying on a task.
            Exception: Whatever ``work`` raises.
        """
        ray = self._ray
        if self._shared[0] is not shared:
            self._shared = shared, ray.put(shared)
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        # Retries are counted here: Ray's own would hand a task's pieces out as if nothing had happened.
        serve = ray.remote(num_returns="streaming", num_cpus=1, num_gpus=gpus, max_retries=0)(_serve)
        tries = [0] * len(tasks)
        running: dict[Any, int] = {}

        def start(index: int) -> None:
            tries[index] += 1
            running[serve.remote(work, self._shared[1], tasks[index])] = index

        try:
            for index in range(len(tasks)):
                start(index)
            while running:
                (pieces,), _ = ray.wait(list(running), num_returns=1)
                index = running[pieces]
                try:
                    yield index, ray.get(next(pieces))
                except StopIteration:
                    del running[pieces]
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from error
                except ray.exceptions.RayError as error:
                    del running[pieces]
                    if tries[index] == TRIES:
                        reason = type(error).__name__
                        raise died(reason, "workers with more memory") from error
                    start(index)
        finally:
            for pieces in running:
                ray.cancel(pieces, force=True)


def _knock(address: str) -> None:
    """Raise OSError where nobody listens: Ray itself would try for minutes."""
    host, found, port = address.rpartition(":")
    if found and port.isdigit():
        socket.create_connection((host, int(port)), timeout=5).close()


def _serve(work: Work, shared: Any, task: Any) -> Iterator[Any]:
    """In the worker: do the task with one thread, or on the GPU."""
    import torch

    torch.set_num_threads(1)
    if torch.cuda.is_available():
        shared.to("cuda")
    yield from work(shared, task)
