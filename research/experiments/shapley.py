"""How much of a change is due to each of its inputs: Shapley values, in exact fractions.

Owns the arithmetic. A game gives a value to each set of inputs that were swapped in; the share of
an input is what its swap adds, on average over all orders in which the inputs can be swapped. So
the shares add up to the whole change, an input that never matters has none, and where inputs add
up by themselves each has just what it adds alone.

Source: Shapley, "A Value for n-Person Games", Contributions to the Theory of Games II, 1953.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import combinations
from math import factorial

Swapped = frozenset[str]


def all_sets(names: Sequence[str]) -> list[Swapped]:
    """List the sets that can be swapped in, from none to all."""
    return [frozenset(s) for n in range(len(names) + 1) for s in combinations(names, n)]


def shapley_shares(names: Sequence[str], values: Mapping[Swapped, Fraction]) -> dict[str, Fraction]:
    """Return each input's share of what all inputs together change; they add up to it exactly.

    ``values`` holds every set of the names.
    """
    count = len(names)
    shares = dict.fromkeys(names, Fraction(0))
    for before in all_sets(names)[:-1]:
        # In so many of all orders, just these come before the next one.
        orders = factorial(len(before)) * factorial(count - len(before) - 1)
        weight = Fraction(orders, factorial(count))
        for name in names:
            if name not in before:
                shares[name] += weight * (values[before | {name}] - values[before])
    return shares
