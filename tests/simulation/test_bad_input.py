"""What the engine refuses, and that it names the field and the row."""

from typing import Any

import numpy as np
import pytest

from research.simulation.engine import simulate
from research.simulation.errors import (
    InvalidBars,
    InvalidField,
    InvalidSignals,
    NonFiniteEquity,
    SimulationError,
)
from research.simulation.models import CostModel, ExecutionModel, Sizing

THREE = [64.0, 64.0, 64.0]


def test_no_bars(make_bars):
    with pytest.raises(InvalidBars) as caught:
        simulate(make_bars([]), [], [])
    assert (caught.value.column, caught.value.row) == ("at_ns", -1)


def test_one_bar_is_enough(make_bars):
    result = simulate(make_bars([64.0]), [False], [False])
    assert result.equity.tolist() == [1_000_000.0]


def test_missing_column(make_bars):
    bars = make_bars(THREE)
    del bars["close"]
    with pytest.raises(InvalidBars, match=r"^bars: close: "):
        simulate(bars, [False] * 3, [False] * 3)


@pytest.mark.parametrize("name", ["open", "high", "low", "close", "volume"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_value_that_is_no_price(make_bars, name, value):
    bars = {column: values.copy() for column, values in make_bars(THREE).items()}
    bars[name][1] = value
    with pytest.raises(InvalidBars) as caught:
        simulate(bars, [False] * 3, [False] * 3)
    assert (caught.value.column, caught.value.row) == (name, 1)
    assert str(caught.value).startswith(f"bars: {name}, row 1: ")


def test_columns_of_different_length(make_bars):
    bars = make_bars(THREE)
    bars["close"] = bars["close"][:2]
    with pytest.raises(InvalidBars) as caught:
        simulate(bars, [False] * 3, [False] * 3)
    assert caught.value.column == "close"


def test_times_out_of_order(make_bars):
    bars = make_bars(THREE)
    bars["at_ns"] = bars["at_ns"][::-1].copy()
    with pytest.raises(InvalidBars) as caught:
        simulate(bars, [False] * 3, [False] * 3)
    assert (caught.value.column, caught.value.row) == ("at_ns", 1)


@pytest.mark.parametrize(
    ("signals", "reason"),
    [
        ([0, 1, 0], "dtype is int64, not bool"),
        ([0.0, np.nan, 1.0], "dtype is float64, not bool"),
        (np.array([True, None, False], dtype=object), "dtype is object, not bool"),
        ([True, False], "has 2 rows, but the bars have 3"),
        ([True] * 4, "has 4 rows, but the bars have 3"),
        ([[True, False, True]], "has 2 dimensions, not 1"),
        (np.bool_(True), "has 0 dimensions, not 1"),
    ],
)
@pytest.mark.parametrize("name", ["entries", "exits"])
def test_signals_that_are_not_one_bool_for_each_bar(make_bars, name, signals, reason):
    given = {"entries": [False] * 3, "exits": [False] * 3, name: signals}
    with pytest.raises(InvalidSignals) as caught:
        simulate(make_bars(THREE), **given)
    assert str(caught.value) == f"{name}: {reason}"


@pytest.mark.parametrize("field", ["size", "cash"])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf, True, "10", None, 10**400])
def test_size_and_cash_are_finite_and_above_zero(make_bars, field, value):
    with pytest.raises(InvalidField) as caught:
        simulate(make_bars(THREE), [False] * 3, [False] * 3, **{field: value})
    assert str(caught.value) == f"simulate: {field} is {value!r}; it must be a finite number > 0"


@pytest.mark.parametrize("field", ["execution", "costs"])
def test_model_must_be_of_its_class(make_bars, field):
    given: dict[str, Any] = {field: {}}
    with pytest.raises(InvalidField, match=f"simulate: {field} is {{}}; it must be of class"):
        simulate(make_bars(THREE), [False] * 3, [False] * 3, **given)


@pytest.mark.parametrize("name", ["risk", "seed"])
def test_what_this_version_does_not_act_on_is_no_argument(make_bars, name):
    given: dict[str, Any] = {name: 1}
    with pytest.raises(TypeError, match=name):
        simulate(make_bars(THREE), [False] * 3, [False] * 3, **given)


def test_account_that_outgrows_a_float(make_bars):
    bars = make_bars([1.0, 1.0, 1.0], [1.0, 1.0, 1e308])
    with pytest.raises(NonFiniteEquity) as caught:
        simulate(bars, [True, False, False], [False] * 3, size=100.0)
    assert caught.value.bar == 2


def test_extreme_prices_give_finite_figures_or_none(make_bars):
    bars = make_bars([1e-300, 1e-300, 1e300, 1e300], [1e-300, 1e-300, 1e300, 1e300])
    sizing = Sizing(kind="equity_fraction", value=1.0)
    result = simulate(bars, [True, False, False, False], [False] * 4, size=sizing, cash=1e-300)
    assert np.isfinite(result.equity).all()
    assert all(np.isfinite(value) for value in result.metrics.values())


def test_price_too_small_to_divide_by_is_rejected(make_bars):
    bars = make_bars([5e-324, 5e-324])
    sizing = Sizing(kind="equity_fraction", value=1.0)
    result = simulate(bars, [True, False], [False, False], size=sizing)
    assert result.events["reason"][1] == "insufficient_cash"
    assert result.equity.tolist() == [1e6, 1e6]


def test_result_and_inputs_are_left_alone(make_bars):
    bars = make_bars(THREE)
    copies = {name: column.copy() for name, column in bars.items()}
    entries = np.array([True, False, False])
    result = simulate(
        bars, entries, ~entries, execution=ExecutionModel(), costs=CostModel(fixed_fee=1.0)
    )
    assert all((bars[name] == copies[name]).all() for name in bars)
    for column in (
        *result.trades.values(),
        *result.events.values(),
        result.equity,
        result.exposure,
    ):
        assert not column.flags.writeable
        assert not any(np.shares_memory(column, given) for given in bars.values())


def test_read_only_bars_are_taken(make_bars):
    bars = make_bars(THREE)
    for column in bars.values():
        column.setflags(write=False)
    simulate(bars, [True, False, False], [False, False, True])


def test_every_refusal_is_a_value_error():
    assert issubclass(SimulationError, ValueError)
