"""One choice a layer, of least total price within a limit: a multiple-choice knapsack, solved exactly (HiGHS through scipy)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np


def pick(
    choices: Mapping[str, Iterable[str]],
    prices: Mapping[str, Mapping[str, float]],
    weights: Mapping[str, Mapping[str, float]],
    limit: float,
) -> dict[str, str] | None:
    """The name chosen for each layer, so that the prices add up to as little as can be and the weights to at most ``limit``.

    Args:
        choices: Layer -> names.
        prices: Layer -> name -> at least 0.
        weights: Likewise.
        limit: Above 0.

    Returns:
        Layer -> name; ``None`` if no choice keeps to the limit.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    pairs = [(layer, name) for layer, names in choices.items() for name in names]
    if not pairs:
        return {}
    rows = {layer: row for row, layer in enumerate(choices)}
    once = np.zeros((len(rows), len(pairs)))
    once[[rows[layer] for layer, _ in pairs], range(len(pairs))] = 1
    price = np.array([prices[layer][name] for layer, name in pairs])
    weight = np.array([weights[layer][name] for layer, name in pairs])
    # In units of the limit and of the dearest choice: the solver's tolerances are absolute.
    within = LinearConstraint(weight[None] / limit, ub=1.0)
    solved = milp(
        price / (price.max() or 1.0),
        constraints=[LinearConstraint(once, 1, 1), within],
        integrality=1,
        bounds=Bounds(0, 1),
    )
    return None if solved.x is None else dict(pairs[i] for i in np.flatnonzero(np.round(solved.x)).tolist())
