"""Exits that meet at one open, in debt or with little cash: no name decides, and none is stuck."""

import pytest

from research.simulation.chance import FAILURE_STREAM, uniform
from research.simulation.engine import simulate
from research.simulation.errors import OrderRefused
from research.simulation.portfolio import simulate_portfolio
from research.simulation.session import asset_key

NAMES = pytest.mark.parametrize("names", [("alpha", "beta"), ("beta", "alpha")], ids=str)


def refusals(result):
    return result.events["reason"][result.events["kind"] == "rejected"].tolist()


def test_an_account_in_debt_can_sell(make_bars, at, rows):
    bars = {name: make_bars([100.0] * 8) for name in ("beta", "gamma")}
    bars["alpha"] = make_bars([100.0, 100.0, 100.0, 100.0, 400.0, 400.0, 400.0, 400.0])
    result = simulate_portfolio(
        bars,
        {"beta": at(8, 1), "gamma": at(8, 1)},
        {"beta": at(8, 5), "gamma": at(8, 6)},
        short_entries={"alpha": at(8, 0)},
        short_exits={"alpha": at(8, 3)},
        size=4.0,
        cash=1250.0,
    )
    # 1250 + 400 - 400 - 400 - 1600 is a debt of 750; each long brings 400 of it back.
    assert rows(result.trades, "asset", "exit_bar") == [("alpha", 4), ("beta", 6), ("gamma", 7)]
    assert refusals(result) == []
    assert result.equity[-1] == 1250.0 - 1200.0


@NAMES
def test_sales_come_before_covers(make_bars, at, names):
    """A sale that costs more than it brings is paid for before a cover takes the cash."""
    short, long = names
    bars = {
        short: make_bars([100.0, 100.0, 100.0, 300.0, 300.0]),
        long: make_bars([100.0, 100.0, 100.0, 0.25, 0.25]),
    }
    result = simulate_portfolio(
        bars,
        {long: at(5, 0)},
        {long: at(5, 2)},
        short_entries={short: at(5, 0)},
        short_exits={short: at(5, 2)},
        size=4.0,
        cash=1000.0,
        costs={"fixed_fee": 2.0},
    )
    assert refusals(result) == []
    assert result.trades["exit_bar"].tolist() == [3, 3]


@NAMES
def test_sales_that_bring_cash_come_before_those_that_cost_some(make_bars, at, names):
    costly, dear = names
    bars = {costly: make_bars([50.0, 50.0, 50.0, 0.25, 0.25]), dear: make_bars([100.0] * 5)}
    # 252 and 502 leave nothing: the sale for 1.25, less a fee of 2, is paid for by the other.
    result = simulate_portfolio(
        bars,
        {name: at(5, 0) for name in names},
        {name: at(5, 2) for name in names},
        size=5.0,
        cash=754.0,
        costs={"fixed_fee": 2.0},
    )
    assert refusals(result) == []
    assert result.equity[-1] == 500.0 - 2.0 + 1.25 - 2.0


@NAMES
def test_a_gain_ends_the_losses_of_its_bar(make_bars, at, rows, names):
    loser, winner = names
    bars = {
        loser: make_bars([100.0, 100.0, 100.0, 90.0, 90.0, 90.0, 90.0]),
        winner: make_bars([100.0, 100.0, 100.0, 110.0, 110.0, 110.0, 110.0]),
    }
    result = simulate_portfolio(
        bars,
        {name: at(7, 0, 4) for name in names},
        {name: at(7, 2) for name in names},
        size=1.0,
        risk={"max_consecutive_losses": 1},
    )
    assert refusals(result) == []
    assert len(result.trades["trade_id"]) == 4


def test_losses_of_one_bar_all_count(make_bars, at):
    bars = {name: make_bars([100.0, 100.0, 100.0, 90.0, 90.0, 90.0]) for name in ("alpha", "beta")}
    result = simulate_portfolio(
        bars,
        {name: at(6, 0, 4) for name in bars},
        {name: at(6, 2) for name in bars},
        size=1.0,
        risk={"max_consecutive_losses": 2},
    )
    assert refusals(result) == ["consecutive_losses"] * 2


# --- turning around ------------------------------------------------------------------------------


@pytest.fixture
def turned(make_bars, at):
    """Turn from long to short at the open of bar 3, at 64 and a price."""

    def turn(price, re_entry, **more):
        opens = [64.0, 64.0, 64.0, price, price, price, price]
        return simulate(
            make_bars(opens),
            at(7, 0),
            at(7, 2),
            short_entries=at(7, 2, 5),
            size=4.0,
            risk={"re_entry": re_entry},
            **more,
        )

    return turn


@pytest.mark.parametrize(
    ("price", "re_entry", "entry_bars"),
    [
        (80.0, {}, [1, 3]),
        (80.0, {"cooldown_bars": 1}, [1, 6]),
        (80.0, {"cooldown_after_loss_bars": 1}, [1, 3]),
        (48.0, {"cooldown_after_loss_bars": 1}, [1, 6]),
        (48.0, {"cooldown_bars": 1, "cooldown_after_loss_bars": 0}, [1, 3]),
    ],
)
def test_a_pause_is_for_the_entry_of_a_turn_around_too(turned, rows, price, re_entry, entry_bars):
    result = turned(price, re_entry)
    assert result.trades["entry_bar"].tolist() == entry_bars
    if entry_bars == [1, 6]:
        assert rows(result.events, "bar", "kind", "side", "reason")[2:6] == [
            (2, "order", "sell", "signal"),
            (2, "order", "sell", "signal"),
            (3, "fill", "sell", "signal"),
            (3, "rejected", "sell", "cooldown"),
        ]


def test_a_turn_around_that_a_pause_forbids_is_a_refusal(turned):
    with pytest.raises(OrderRefused, match="bar 3 was refused: cooldown"):
        turned(80.0, {"cooldown_bars": 1}, config={"error_mode": "fail_fast"})


# --- refusals and their order --------------------------------------------------------------------


@pytest.mark.parametrize("has_events", [True, False])
def test_the_first_refusal_of_a_bar_is_the_one_that_is_named(make_bars, at, seed_where, has_events):
    """Alpha fails for good, beta behind it does not and is too dear: the failure came first."""
    bars = {"alpha": make_bars([64.0] * 4), "beta": make_bars([64.0, 1e9, 64.0, 64.0])}

    def holds(seed):
        alpha, beta = (
            uniform(seed, FAILURE_STREAM, asset_key(name), 0, 0) for name in ("alpha", "beta")
        )
        return alpha < 0.5 <= beta

    seed = seed_where(holds)
    with pytest.raises(OrderRefused, match="bar 1 was refused: failure"):
        simulate_portfolio(
            bars,
            {name: at(4, 0) for name in bars},
            {},
            execution={"failures": {"base_rate": 0.5}},
            config={"error_mode": "fail_fast", "event_log": has_events, "seed": seed},
        )
    found = simulate_portfolio(
        bars,
        {name: at(4, 0) for name in bars},
        {},
        execution={"failures": {"base_rate": 0.5}},
        seed=seed,
    )
    assert found.events["kind"].tolist() == ["order", "order", "failed", "rejected"]
