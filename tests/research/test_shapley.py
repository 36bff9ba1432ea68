"""Shares of a change: exact fractions, from their axioms."""

from fractions import Fraction
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from research.experiments.shapley import all_sets, shapley_shares

NAMES = st.lists(st.sampled_from("uvwxyz"), min_size=1, max_size=5, unique=True)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False).map(Fraction)


@st.composite
def games(draw):
    names = draw(NAMES)
    return names, {each: draw(NUMBERS) for each in all_sets(names)}


@given(games())
def test_the_shares_add_up_to_the_change_to_the_last_bit(game):
    names, values = game

    shares = shapley_shares(names, values)

    assert list(shares) == names
    assert sum(shares.values()) == values[frozenset(names)] - values[frozenset()]


@given(games())
def test_a_share_is_the_mean_over_all_orders(game):
    names, values = game
    total = dict.fromkeys(names, Fraction(0))
    orders = list(permutations(names))
    for order in orders:
        before: frozenset[str] = frozenset()
        for name in order:
            total[name] += values[before | {name}] - values[before]
            before |= {name}

    assert shapley_shares(names, values) == {n: t / len(orders) for n, t in total.items()}


@given(NAMES, st.data())
def test_where_inputs_add_up_each_has_what_it_adds(names, data):
    adds = {name: data.draw(NUMBERS) for name in names}
    values = {each: sum((adds[n] for n in each), Fraction(1, 3)) for each in all_sets(names)}

    assert shapley_shares(names, values) == adds


def test_an_interaction_is_shared_alike():
    values = {each: Fraction(len(each) == 2) for each in all_sets(["x", "y"])}

    assert shapley_shares(["x", "y"], values) == {"x": Fraction(1, 2), "y": Fraction(1, 2)}
