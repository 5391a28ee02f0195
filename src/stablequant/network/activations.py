"""Activation functions, by the names that transformers gives them (``ACT2FN``)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from stablequant.network.graph import LEARNT, SAME_AS

#: Middle and width of the function "laplace": mean sqrt(1/2), standard deviation sqrt(1 / (4 pi)), times sqrt(2) in ``erf``.
LAPLACE = 0.707107, 0.282095 * 2**0.5
#: Those that are the same in every model.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "gelu_10": lambda x: functional.gelu(x).clip(-10, 10),
    "gelu_pytorch_tanh": functools.partial(functional.gelu, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "hardswish": functional.hardswish,
    "laplace": lambda x: 0.5 * (1.0 + torch.erf((x - LAPLACE[0]) / LAPLACE[1])),
    "leaky_relu": functional.leaky_relu,
    "linear": lambda x: x,
    "mish": functional.mish,
    "relu": functional.relu,
    "relu2": lambda x: functional.relu(x).square(),
    "relu6": functional.relu6,
    "sigmoid": torch.sigmoid,
    "silu": functional.silu,
    "sqrtsoftplus": lambda x: functional.softplus(x).sqrt(),
    "tanh": torch.tanh,
}
ACTIVATIONS |= {name: ACTIVATIONS[same] for name, same in SAME_AS.items()}
#: Those with parameters of their own, which come behind ``x`` in the order of ``graph.LEARNT``.
LEARNT_ACTIVATIONS: dict[str, Callable[..., Tensor]] = {
    "prelu": functional.prelu,
    "xielu": lambda x, *parameters: _xielu(x, *xielu_factors(*parameters)),
}


def activate(function: str, x: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
    """``function`` of every value of ``x``; ``parameters`` are its own by name, if it has some."""
    if function in ACTIVATIONS:
        return ACTIVATIONS[function](x)
    return LEARNT_ACTIVATIONS[function](x, *(parameters[role] for role in LEARNT[function]))


def xielu_factors(alpha_p: Tensor, alpha_n: Tensor, beta: Tensor, eps: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Factors of xIELU (Huang and Schlag 2024, arXiv 2411.13010): above 0, below 0, everywhere; and where it stops short of 0."""
    return functional.softplus(alpha_p), beta + functional.softplus(alpha_n), beta, eps


def _xielu(x: Tensor, above: Tensor, below: Tensor, slope: Tensor, eps: Tensor) -> Tensor:
    """Above 0 a parabola, below it what ``expm1(x) - x`` has; both start with the same slope."""
    return slope * x + torch.where(x > 0, above * x * x, below * (torch.expm1(torch.minimum(x, eps)) - x))
