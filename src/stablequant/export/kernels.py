"""Which widths the runtimes have kernels for: what of a simulation can become a file."""

from __future__ import annotations

#: Width of the integers that int8 kernels multiply.
BITS = 8
#: Widths of weights that lie in blocks,
BLOCK_BITS = (4, 8)
#: and how many of them may share a scale, by ``MatMulNBits``.
BLOCK_SIZES = (16, 32, 64, 128, 256)
#: Of activations beside such weights: rounded block by block, or left in float.
BLOCK_ACTIVATIONS = (8, 16)

KERNELS = (
    f"{BITS} bits of both; or, in linear layers, weights of {' or '.join(map(str, BLOCK_BITS))} bits in groups of "
    f"{', '.join(map(str, BLOCK_SIZES))} beside activations of {' or '.join(map(str, BLOCK_ACTIVATIONS))} (16: float)"
)


def has_kernels(activations: int, weights: int, group: int | None) -> bool:
    """Whether ONNX Runtime and OpenVINO can run a linear layer of these widths.

    Args:
        activations: Bits of a code; 16: float.
        weights: Bits of a code.
        group: Weights that share a scale; ``None``: an output channel's do.
    """
    if group is None:
        return activations == weights == BITS
    return activations in BLOCK_ACTIVATIONS and weights in BLOCK_BITS and group in BLOCK_SIZES
