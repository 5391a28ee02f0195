"""Batches of similar length, so that little is computed on padding."""

from __future__ import annotations

from collections.abc import Sequence

from stablequant.errors import SettingsError


def batches(lengths: Sequence[int], max_items: int, max_padded: int, *, alike: float = 0.0) -> list[list[int]]:
    """Group items by length, the longest first, so that a batch too large for memory fails at once.

    Args:
        lengths: Of each item, in samples.
        max_items: Items in a batch.
        max_padded: Samples in a batch once all are padded to its longest; a longer item is a batch of its
            own.
        alike: Least length of a batch's shortest item, as a share of its longest. Few items differ much in length, and
            would else be mostly padding.

    Returns:
        Lists of indices into ``lengths``, each index once; equal lengths keep their order.

    Raises:
        SettingsError: If a limit is not positive.
    """
    if max_items < 1 or max_padded < 1:
        what = f"max_items is {max_items} and max_padded is {max_padded}"
        raise SettingsError(what, expected="positive numbers")
    groups: list[list[int]] = []
    room = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if not room or lengths[index] < alike * lengths[groups[-1][0]]:
            # The first item of a batch is its longest: it alone decides how many fit.
            room = max(1, min(max_items, max_padded // max(1, lengths[index])))
            groups.append([])
        groups[-1].append(index)
        room -= 1
    return groups
