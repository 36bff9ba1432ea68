"""The points of a sweep: the product, its order, the draws and the seeds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.errors import BadInput
from research.experiments.sweep_points import (
    Axis,
    draws,
    grid,
    parse_axis,
    seed_of,
)
from research.experiments.sweep_stop import EarlyStop

VALUES = st.lists(
    st.one_of(st.integers(-99, 99), st.floats(-9, 9), st.text("ab,", max_size=3), st.booleans()),
    min_size=1,
    max_size=5,
)
AXES = st.dictionaries(st.sampled_from(["a", "b", "c.d", "e[0].f"]), VALUES, min_size=1).map(
    lambda found: [Axis(path=path, values=tuple(values)) for path, values in found.items()]
)


def test_a_grid_is_sorted_by_path_and_value():
    axes = [Axis(path="slow", values=(100, 50)), Axis(path="fast", values=(20, 5))]

    assert grid(axes) == [
        (("fast", 5), ("slow", 50)),
        (("fast", 5), ("slow", 100)),
        (("fast", 20), ("slow", 50)),
        (("fast", 20), ("slow", 100)),
    ]


@given(AXES, st.randoms(use_true_random=False))
def test_how_a_grid_is_written_down_decides_nothing(axes, chance):
    written = [
        Axis(path=a.path, values=tuple(chance.sample(a.values, len(a.values)))) for a in axes
    ]
    chance.shuffle(written)

    points = grid(axes)

    assert [repr(point) for point in grid(written)] == [repr(point) for point in points]
    assert len({repr(point) for point in points}) == len(points)


@given(AXES, st.integers(1, 20), st.integers(0, 2**63 - 1))
def test_draws_are_different_points_of_the_grid(axes, count, seed):
    points = [repr(point) for point in grid(axes)]

    drawn = [repr(point) for point in draws(axes, count, seed)]

    assert drawn == [point for point in points if point in set(drawn)]
    assert len(drawn) == min(count, len(points))
    assert drawn == [repr(point) for point in draws(axes, count, seed)]


def test_other_seeds_draw_other_points_and_more_draws_keep_the_fewer():
    axes = [Axis(path=name, values=tuple(range(1000))) for name in "abcd"]

    ten, hundred = set(draws(axes, 10, 1)), set(draws(axes, 100, 1))

    assert ten < hundred
    assert not ten & set(draws(axes, 10, 2))


def test_a_grid_that_is_too_large_is_drawn_from_and_not_listed():
    axes = [Axis(path=name, values=tuple(range(1000))) for name in "abcd"]
    with pytest.raises(BadInput, match="1000000000000 points are more than 1000000; draw some"):
        grid(axes)


@pytest.mark.parametrize(
    ("text", "path", "values"),
    [
        ("fast=5,10", "fast", (5, 10)),
        ("execution.slippage.base=0.001, 0.002", "execution.slippage.base", (0.001, 0.002)),
        ("kind=fixed,linear", "kind", ("fixed", "linear")),
        ('name="a,b",c', "name", ("a,b", "c")),
        ("range=[0.5,1],[1,1]", "range", ([0.5, 1], [1, 1])),
        ("on=true,false,null", "on", (True, False, None)),
        ("k=1", "k", (1,)),
    ],
)
def test_an_axis_is_read(text, path, values):
    found = parse_axis(text)

    assert (found.path, found.values) == (path, values)


@pytest.mark.parametrize("text", ["", "fast", "=1,2", "fast=", "fast=NaN"])
def test_what_is_no_axis_is_refused(text):
    with pytest.raises(BadInput):
        parse_axis(text)


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ([], "at least one axis"),
        ([Axis(path="a", values=(1,)), Axis(path="a", values=(2,))], "given twice"),
        ([Axis(path="a", values=(1,)), Axis(path="a.b", values=(2,))], "within the other"),
        ([Axis(path="a", values=())], "no value"),
    ],
)
def test_axes_that_do_not_go_together_are_refused(axes, words):
    with pytest.raises(BadInput, match=words):
        grid(axes)


def test_a_seed_follows_from_the_point_and_not_from_its_place():
    assert seed_of(42, {"fast": 5, "slow": 50}) == seed_of(42, {"slow": 50, "fast": 5})
    assert seed_of(42, {"fast": 5}) == 8162109631409705919  # what was swept stays answered
    assert seed_of(42, {"fast": 5}) != seed_of(42, {"fast": 6}) != seed_of(43, {"fast": 6})
    assert 0 <= seed_of(-1, {"x": [1.5, None]}) < 2**63


def test_an_early_stop_waits_for_so_many_and_for_all():
    rule = EarlyStop.parse("metrics.sharpe < 0 after 2")
    assert not rule.takes({"sharpe": -1.0})
    assert rule.takes({"sharpe": -0.1})
    rule = EarlyStop.parse("sharpe<0 after 2")
    assert not rule.takes({"sharpe": 0.5})
    assert not rule.takes({"sharpe": -1.0})
    rule = EarlyStop.parse("sharpe >= 1e-3 after 1")
    assert rule.takes({})


@pytest.mark.parametrize("text", ["", "sharpe < 0", "sharpe < x after 3", "sharpe < 0 after 0"])
def test_what_is_no_early_stop_is_refused(text):
    with pytest.raises(BadInput, match="early-stop"):
        EarlyStop.parse(text)
