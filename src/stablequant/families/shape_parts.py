"""Parameters of the modules that all networks are made of, by name and shape."""

from __future__ import annotations

Shapes = dict[str, tuple[int, ...]]


def linear(name: str, inputs: int, outputs: int, *, bias: bool = True) -> Shapes:
    """Of a linear layer."""
    weight: Shapes = {f"{name}.weight": (outputs, inputs)}
    return {**weight, f"{name}.bias": (outputs,)} if bias else weight


def norm(name: str, channels: int, *, bias: bool = True) -> Shapes:
    """Of a norm with a factor and, with ``bias``, an offset a channel."""
    weight: Shapes = {f"{name}.weight": (channels,)}
    return {**weight, f"{name}.bias": (channels,)} if bias else weight


def batch_norm(name: str, channels: int) -> Shapes:
    """Of a batch norm, its statistics included."""
    return norm(name, channels) | {f"{name}.running_mean": (channels,), f"{name}.running_var": (channels,)}


def convolution(name: str, inputs: int, outputs: int, *kernel: int, bias: bool = True) -> Shapes:
    """Of a convolution; ``inputs`` are those of one group."""
    weight: Shapes = {f"{name}.weight": (outputs, inputs, *kernel)}
    return {**weight, f"{name}.bias": (outputs,)} if bias else weight
