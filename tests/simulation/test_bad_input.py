"""What the engine refuses, and that it names the field and the row."""

from typing import Any

import numpy as np
import pytest

from research.simulation.costs import CostModel
from research.simulation.engine import simulate
from research.simulation.errors import (
    InvalidBars,
    InvalidField,
    InvalidSignals,
    NonFiniteEquity,
    SimulationError,
)
from research.simulation.execution import ExecutionModel
from research.simulation.risk import RiskModel
from research.simulation.run_config import RunConfig
from research.simulation.sizing import Sizing

THREE = [64.0, 64.0, 64.0]


def test_no_bars(make_bars):
    with pytest.raises(InvalidBars) as caught:
        simulate(make_bars([]), [], [])
    assert (caught.value.column, caught.value.row) == ("at_ns", -1)


def test_one_bar_is_not_enough(make_bars):
    with pytest.raises(InvalidBars) as caught:
        simulate(make_bars([64.0]), [False], [False])
    assert (caught.value.column, caught.value.row) == ("at_ns", -1)
    assert simulate(make_bars([64.0] * 2), [False] * 2, [False] * 2).equity.tolist() == [1e6] * 2


def test_missing_column(make_bars):
    bars = make_bars(THREE)
    del bars["close"]
    with pytest.raises(InvalidBars, match=r"^bars: close: "):
        simulate(bars, [False] * 3, [False] * 3)


@pytest.mark.parametrize("name", ["open", "high", "low", "close", "volume"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1.0])
def test_value_that_is_no_price(make_bars, name, value):
    bars = {column: values.copy() for column, values in make_bars(THREE).items()}
    bars[name][1] = value
    with pytest.raises(InvalidBars) as caught:
        simulate(bars, [False] * 3, [False] * 3)
    assert (caught.value.column, caught.value.row) == (name, 1)
    assert str(caught.value).startswith(f"bars: {name}, row 1: ")


@pytest.mark.parametrize("name", ["open", "high", "low", "close"])
def test_price_of_zero(make_bars, name):
    bars = {column: values.copy() for column, values in make_bars(THREE).items()}
    bars[name][2] = 0.0
    with pytest.raises(InvalidBars, match=f"^bars: {name}, row 2: 0.0 is not a finite price above"):
        simulate(bars, [False] * 3, [False] * 3)


def test_high_below_low(make_bars):
    bars = make_bars(THREE, highs=[64.0, 63.0, 64.0], lows=[64.0, 63.5, 64.0])
    with pytest.raises(InvalidBars, match=r"^bars: high, row 1: 63.0 is below the low, 63.5$"):
        simulate(bars, [False] * 3, [False] * 3)


@pytest.mark.parametrize(
    ("highs", "lows", "name", "words"),
    [
        ([64.0, 64.0, 63.0], [60.0] * 3, "open", "64.0 is above the high, 63.0"),
        ([66.0] * 3, [64.0, 65.0, 64.0], "open", "64.0 is below the low, 65.0"),
    ],
)
def test_open_outside_its_bar(make_bars, highs, lows, name, words):
    with pytest.raises(InvalidBars, match=f"{name}, row [12]: {words}"):
        simulate(make_bars(THREE, highs=highs, lows=lows), [False] * 3, [False] * 3)


@pytest.mark.parametrize("name", ["open", "high", "low", "close", "volume"])
def test_columns_of_different_length(make_bars, name):
    bars = make_bars(THREE)
    bars[name] = bars[name][:2]
    with pytest.raises(InvalidBars) as caught:
        simulate(bars, [False] * 3, [False] * 3)
    assert (caught.value.column, caught.value.row) == (name, -1)
    assert str(caught.value) == f"bars: {name}: has 2 rows, but at_ns has 3"


def test_times_out_of_order(make_bars):
    bars = make_bars(THREE)
    bars["at_ns"] = bars["at_ns"][::-1].copy()
    with pytest.raises(InvalidBars, match="is unsorted") as caught:
        simulate(bars, [False] * 3, [False] * 3)
    assert (caught.value.column, caught.value.row) == ("at_ns", 1)


def test_time_that_comes_twice(make_bars):
    bars = make_bars(THREE)
    bars["at_ns"][2] = bars["at_ns"][1]
    with pytest.raises(InvalidBars, match="is a duplicate") as caught:
        simulate(bars, [False] * 3, [False] * 3)
    assert (caught.value.column, caught.value.row) == ("at_ns", 2)


def test_gap_that_is_a_row_without_prices(make_bars):
    bars = {column: values.copy() for column, values in make_bars(THREE).items()}
    for name in ("open", "high", "low", "close", "volume"):
        bars[name][1] = np.nan
    with pytest.raises(InvalidBars) as caught:
        simulate(bars, [False] * 3, [False] * 3)
    assert (caught.value.column, caught.value.row) == ("open", 1)


@pytest.mark.parametrize(
    "execution",
    [
        {"slippage": {"volume_impact": 0.1}},
        {"failures": {"base_rate": 0.1, "congestion_multiplier": 2.0}},
        {"partial_fills": {"volume_share": 0.1}},
    ],
)
def test_bar_without_volume_where_a_model_measures_by_it(make_bars, execution):
    bars = make_bars(THREE, volume=10.0)
    simulate(bars, [True, False, False], [False] * 3, execution=execution)
    bars["volume"][1] = 0.0
    with pytest.raises(InvalidBars, match=r"^bars: volume, row 1: 0.0, ") as caught:
        simulate(bars, [True, False, False], [False] * 3, execution=execution)
    assert (caught.value.column, caught.value.row) == ("volume", 1)


@pytest.mark.parametrize(
    "execution",
    [
        {},
        {"slippage": {"base": 0.1}},
        {"slippage": {"volume_impact": 0.1, "impact_of": "units"}},
        {"failures": {"base_rate": 0.1}},
        {"partial_fills": {"probability": 0.5, "fill_range": (0.5, 1.0)}},
    ],
)
def test_bar_without_volume_where_none_does(make_bars, execution):
    simulate(make_bars(THREE, volume=0.0), [True, False, False], [False] * 3, execution=execution)


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
@pytest.mark.parametrize("name", ["entries", "exits", "short_entries", "short_exits"])
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


def test_long_and_short_at_once(make_bars):
    with pytest.raises(
        InvalidSignals, match=r"^short_entries: row 1 enters long and short at once"
    ):
        simulate(
            make_bars(THREE), [False, True, True], [False] * 3, short_entries=[False, True, True]
        )


@pytest.mark.parametrize(
    ("field", "model"),
    [("execution", "ExecutionModel"), ("costs", "CostModel"), ("risk", "RiskModel")],
)
@pytest.mark.parametrize("bad", [3.0, None, "base", [("base", 0.1)], Sizing(value=1.0)])
def test_model_is_one_or_a_mapping_of_its_fields(make_bars, field, model, bad):
    given: dict[str, Any] = {field: bad}
    with pytest.raises(InvalidField, match=f"simulate: {model} is .*mapping of its fields"):
        simulate(make_bars(THREE), [False] * 3, [False] * 3, **given)


def test_model_as_a_mapping_acts_as_the_model(make_bars):
    given: dict[str, Any] = {
        "execution": {"slippage": {"base": 1 / 64}},
        "costs": {"fixed_fee": 3.0},
        "risk": {"stop_loss": {"initial": -0.5}},
    }
    models: dict[str, Any] = {
        "execution": ExecutionModel(slippage={"base": 1 / 64}),
        "costs": CostModel(fixed_fee=3.0),
        "risk": RiskModel(stop_loss={"initial": -0.5}),
    }
    signals = ([True, False, False], [False] * 3)
    first, second = (simulate(make_bars(THREE), *signals, **each) for each in (given, models))
    assert first.trades["entry_price"].tolist() == second.trades["entry_price"].tolist() == [65.0]
    assert first.equity.tobytes() == second.equity.tobytes()


@pytest.mark.parametrize("name", ["leverage", "fees", "sizing"])
def test_what_it_does_not_act_on_is_no_argument(make_bars, name):
    given: dict[str, Any] = {name: 1}
    with pytest.raises(TypeError, match=name):
        simulate(make_bars(THREE), [False] * 3, [False] * 3, **given)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ExecutionModel(latency={"p50": 2, "p90": 1, "p99": 3}),
            "Latency: p90 is 1.0; it must be >= p50, 2.0",
        ),
        (
            lambda: ExecutionModel(latency={"p50": 1, "p90": 3, "p99": 2}),
            "Latency: p99 is 2.0; it must be >= p90, 3.0",
        ),
        (
            lambda: ExecutionModel(partial_fills={"fill_range": (0.75, 0.5)}),
            "PartialFills: fill_range is (0.75, 0.5); it must be the lower one first",
        ),
        (
            lambda: ExecutionModel(partial_fills={"fill_range": (0.0, 0.5)}),
            "PartialFills: fill_range is 0.0; it must be a finite number > 0 and <= 1",
        ),
        (
            lambda: ExecutionModel(partial_fills={"fill_range": [0.5]}),
            "PartialFills: fill_range is [0.5]; it must be two numbers",
        ),
        (
            lambda: ExecutionModel(slippage={"kind": "fixed", "volume_impact": 0.5}),
            "Slippage: volume_impact is 0.5; it must be 0 where the kind is fixed",
        ),
        (
            lambda: ExecutionModel(slippage={"kind": "cubic"}),
            "Slippage: kind is 'cubic'; it must be one of fixed, linear, square_root",
        ),
        (
            lambda: ExecutionModel(failures={"retries": 1.5}),
            "Failures: retries is 1.5; it must be a whole number >= 0",
        ),
        (
            lambda: ExecutionModel(failures={"backoff_bars": 10**18}),
            "Failures: backoff_bars is 1000000000000000000; "
            "it must be a finite number >= 0 and <= 1e+09",
        ),
        (
            lambda: RiskModel(
                take_profit=[
                    {"multiple": 1.5, "fraction": 0.75},
                    {"multiple": 2.0, "fraction": 0.5},
                ]
            ),
            "RiskModel: take_profit is 1.25 in all; it must be at most 1 in all",
        ),
        (
            lambda: RiskModel(
                take_profit=[
                    {"multiple": 2.0, "fraction": 0.5},
                    {"multiple": 1.5, "fraction": 0.5},
                ]
            ),
            "RiskModel: take_profit is [2.0, 1.5]; it must be in ascending multiples",
        ),
        (
            lambda: RiskModel(take_profit=[{"multiple": 1.0, "fraction": 0.5}]),
            "TakeProfitLeg: multiple is 1.0; it must be a finite number > 1",
        ),
        (
            lambda: RiskModel(stop_loss={"initial": 0.03}),
            "StopLoss: initial is 0.03; it must be a finite number > -1 and < 0",
        ),
        (
            lambda: RiskModel(stop_loss={"initial": -0.03, "activation": 0.1}),
            "StopLoss: activation is 0.1; it must be None without a trailing stop",
        ),
        (
            lambda: RiskModel(throttle={"max_trades": 3}),
            "Throttle: window_minutes is None; it must be given with the other",
        ),
        (
            lambda: RiskModel(throttle={"window_minutes": 3}),
            "Throttle: max_trades is None; it must be given with the other",
        ),
        (
            lambda: RiskModel(time_limit={"bars": 0}),
            "TimeLimit: bars is 0; it must be a finite number >= 1",
        ),
        (
            lambda: RiskModel(max_drawdown=1.0),
            "RiskModel: max_drawdown is 1.0; it must be a finite number > 0 and < 1",
        ),
        (
            lambda: RunConfig(seed=-1),
            "RunConfig: seed is -1; it must be a whole number, 0 to 2^63 - 1",
        ),
        (
            lambda: RunConfig(error_mode="ignore"),
            "RunConfig: error_mode is 'ignore'; it must be one of collect, fail_fast",
        ),
        (
            lambda: RunConfig(event_log=1),
            "RunConfig: event_log is 1; it must be True or False",
        ),
    ],
)
def test_model_that_contradicts_itself(make, message):
    with pytest.raises(InvalidField) as caught:
        make()
    assert str(caught.value) == message


def test_size_by_risk_needs_a_stop(make_bars):
    with pytest.raises(InvalidField, match=r"RiskModel: stop_loss.initial is None"):
        simulate(make_bars(THREE), [False] * 3, [False] * 3, size=Sizing(kind="risk", value=0.01))


def test_account_that_outgrows_a_float(make_bars):
    bars = make_bars([1.0, 1.0, 1.0], [1.0, 1.0, 1e308])
    with pytest.raises(NonFiniteEquity) as caught:
        simulate(bars, [True, False, False], [False] * 3, size=100.0)
    assert caught.value.bar == 2


def test_extreme_prices_give_finite_figures_or_none(make_bars):
    bars = make_bars([1e-190, 1e-190, 1e300, 1e300], [1e-190, 1e-190, 1e300, 1e300])
    sizing = Sizing(kind="equity_fraction", value=1.0)
    result = simulate(bars, [True, False, False, False], [False] * 4, size=sizing, cash=1e-190)
    assert np.isfinite(result.equity).all()
    assert all(np.isfinite(value) for value in result.metrics.values())


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
        result.drawdown,
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


def test_a_seed_is_given_once(make_bars, at):
    bars = make_bars([1.0, 2.0, 3.0])
    signals = (at(3, 0), at(3, 1))

    with pytest.raises(InvalidField, match="seed is 5; it must be given once"):
        simulate(bars, *signals, seed=5, config=RunConfig())

    by_seed = simulate(bars, *signals, seed=5)
    by_config = simulate(bars, *signals, config={"seed": 5})
    assert by_seed.equity.tobytes() == by_config.equity.tobytes()


def test_a_clock_that_no_latency_fits_into_is_refused(make_bars, at):
    bars = make_bars([1.0, 2.0, 3.0])
    late = {**bars, "at_ns": np.array([0, 1, 2**62], np.int64)}
    early = {**bars, "at_ns": np.array([-(2**62), 1, 2], np.int64)}
    for found, row in ((late, 2), (early, 0)):
        with pytest.raises(InvalidBars, match=f"at_ns, row {row}: .* 73 years from 1970"):
            simulate(found, at(3, 0), at(3, 1))


def test_a_price_that_cannot_be_divided_by_is_refused(make_bars, at):
    with pytest.raises(InvalidBars, match="low, row 1: .* too small to divide by"):
        simulate(make_bars([1.0, 5e-324, 3.0]), at(3, 0), at(3, 1))


def test_masked_and_foreign_arrays_are_refused_by_name(make_bars, at):
    bars = make_bars([1.0, 2.0, 3.0])
    with pytest.raises(InvalidBars, match="close: a MaskedArray; give an array"):
        simulate({**bars, "close": np.ma.masked_all(3)}, at(3, 0), at(3, 1))
    with pytest.raises(InvalidBars, match="open: a list; give an array"):
        simulate({**bars, "open": [1.0, 2.0, 3.0]}, at(3, 0), at(3, 1))
    with pytest.raises(InvalidSignals, match="entries: is masked"):
        simulate(bars, np.ma.masked_all(3, bool), at(3, 1))


def test_an_exit_that_always_fills_in_part_ends(make_bars, at):
    bars = make_bars([10.0] * 60)
    partial = {"partial_fills": {"probability": 1.0, "fill_range": [0.5, 0.5]}}

    result = simulate(bars, at(60, 0), at(60, 5), execution=partial, costs={"fixed_fee": 1.0})

    assert result.trades["exit_bar"].tolist() == [26]  # halved till a millionth of it is left
    assert (result.events["quantity"][result.events["kind"] == "partial"] > 0.0).all()


def test_failures_leave_the_draws_of_partial_fills_as_they_were(make_bars, at):
    bars = make_bars([10.0] * 30)
    partial = {"partial_fills": {"probability": 0.7, "fill_range": [0.1, 0.9]}}
    failing = {**partial, "failures": {"base_rate": 0.5, "retries": 20, "backoff_bars": 0}}
    for seed in range(20):
        calm, troubled = (
            simulate(bars, at(30, 0), at(30), execution=each, seed=seed).trades["quantity"]
            for each in (partial, failing)
        )
        assert calm.tolist() == troubled.tolist()
