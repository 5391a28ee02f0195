"""Spreading matrices are orthogonal, as flat as their order allows, and leave the mean of channels where they should."""

from __future__ import annotations

import pytest
import torch

from stablequant.grid.hadamard import hadamard, random_rotation, spreading

#: Sylvester's, both of Paley's, and doublings of those; heads and widths of published models among them.
ORDERS = (1, 2, 4, 12, 20, 28, 36, 64, 96, 288, 384)


@pytest.mark.parametrize("order", ORDERS)
def test_a_hadamard_matrix_has_orthogonal_rows_of_signs(order: int) -> None:
    found = hadamard(order)
    assert found is not None
    assert (found.abs() == 1).all()
    assert (found[0] == 1).all()
    assert torch.equal(found @ found.T, order * torch.eye(order).double())


@pytest.mark.parametrize("order", [3, 6, 18, 52, 92])
def test_other_orders_have_the_cosine_transform(order: int) -> None:
    assert hadamard(order) is None
    assert spreading(order).abs().max() <= (2 / order) ** 0.5 + 1e-12


@pytest.mark.parametrize("order", [*ORDERS, 3, 52])
def test_rotations_are_orthogonal_and_one_kind_keeps_the_mean(order: int) -> None:
    for keeps_mean in (False, True):
        turn = random_rotation(order, 5, keeps_mean=keeps_mean)
        torch.testing.assert_close(turn @ turn.T, torch.eye(order).double())
        assert torch.equal(turn, random_rotation(order, 5, keeps_mean=keeps_mean))
    ones = torch.ones(order).double()
    torch.testing.assert_close(turn @ ones, ones)
    torch.testing.assert_close(ones @ turn, ones)
    if order >= 64:
        assert turn.abs().max() < 0.5, "no channel stays what it was"
