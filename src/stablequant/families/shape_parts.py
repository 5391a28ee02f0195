"""Parameters of the modules that all networks are made of, by name and shape."""

from __future__ import annotations

Shapes = dict[str, tuple[int, ...]]


def linear(name: str, inputs: int, outputs: int, *, bias: bool = True) -> Shapes:
    """Of a linear layer."""
    weight: Shapes = {f"{name}.weight": (outputs, inputs)}
    return {**weight, f"{name}.bias": (outputs,)} if bias else weight


def norm(name: str, channels: int) -> Shapes:
    """Of a norm with a factor and an offset a channel."""
    return {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}


def batch_norm(name: str, channels: int) -> Shapes:
    """Of a batch norm, its statistics included."""
    return norm(name, channels) | {f"{name}.running_mean": (channels,), f"{name}.running_var": (channels,)}


def convolution(name: str, inputs: int, outputs: int, *kernel: int, bias: bool = True) -> Shapes:
    """Of a convolution; ``inputs`` are those of one group."""
    weight: Shapes = {f"{name}.weight": (outputs, inputs, *kernel)}
    return {**weight, f"{name}.bias": (outputs,)} if bias else weight
