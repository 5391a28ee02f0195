"""A checkpoint's own parameters, to be changed and written back.

A family turns them into the weights of its graphs by operations of PyTorch, which have gradients: folded norms, sums done
beforehand, positions by distance. So what is trained are the parameters themselves. Nothing has to be turned back, and what is
written is what was trained, for every family alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stablequant.families.folder import SINGLE
from stablequant.families.json_file import read_object
from stablequant.files import replacing, write_text
from stablequant.network.graph import Graph

if TYPE_CHECKING:
    from torch import Tensor

#: What a checkpoint keeps beside its parameters: statistics of batch norms, frequencies computed once, constants of xIELU.
FIXED = re.compile(r"(^|\.)(running_mean|running_var|inv_freq|intermediate_act_fn\.(beta|eps))$")
#: Where config.json says what the weights are stored in, in newer and older versions of transformers.
STORED_IN = ("dtype", "torch_dtype")


@dataclass(frozen=True)
class Parameters:
    """The parameters of a checkpoint, and how graphs follow from them.

    Attributes:
        values: Float32 by the names of transformers' modules, those that `FIXED` tells among them.
        names: Tensor in the checkpoint's files -> its parameter; two tied ones have the same.
        others: What else the files hold, as it is stored.
        build: From parameters by name to graphs.
    """

    values: Mapping[str, Tensor]
    names: Mapping[str, str]
    others: Mapping[str, Tensor]
    build: Callable[[dict[str, Tensor]], Sequence[Graph]]

    def write(self, values: Mapping[str, Tensor], folder: Path) -> None:
        """Write a checkpoint's weights with other ``values``, in float32 and under the names that its files have, as one file.

        Raises:
            ResourceError: It cannot be written.
        """
        from safetensors.torch import save_file

        own = {stored: values[name].detach().cpu() for stored, name in self.names.items()}
        # Tensors that share memory are written one by one: safetensors refuses them otherwise.
        tensors = {name: tensor.clone().contiguous() for name, tensor in {**self.others, **own}.items()}
        with replacing(folder / SINGLE) as part:
            save_file(tensors, part, {"format": "pt"})


def say_float32(path: Path) -> None:
    """Let the config.json at ``path`` say that weights are in float32; one that does, or says nothing, stays as it is."""
    config = read_object(path)
    if told := {key: "float32" for key in STORED_IN if config.get(key, "float32") != "float32"}:
        write_text(path, json.dumps({**config, **told}, indent=2) + "\n")
