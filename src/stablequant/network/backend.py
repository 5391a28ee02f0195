"""What runs a model's graphs: the simulator, or a runtime with the exported files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray


class Backend(Protocol):
    """Runs a model's graphs by name; arrays it hands out may live on its own device and are handed back to it as is."""

    def run(self, graph: str, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by name."""

    def put(self, array: NDArray[Any]) -> Any:
        """A NumPy array in the backend's form."""

    def get(self, array: Any) -> NDArray[Any]:
        """The backend's form as a NumPy array."""
