"""The account's limits, re-entry and how a run is run: each field's effect, by hand."""

import pickle

import numpy as np
import pytest

from research.simulation.chance import FAILURE_STREAM, LATENCY_STREAM, uniform
from research.simulation.engine import simulate
from research.simulation.errors import OrderRefused
from research.simulation.portfolio import simulate_portfolio
from research.simulation.run_config import RunConfig
from research.simulation.session import asset_key

HOUR_NS = 3600 * 10**9


@pytest.fixture
def traded(make_bars, at):
    """Trade 16 units on signals at the bars named; the account begins with 2048."""

    def trade(opens, entries, exits, *, step_ns=24 * HOUR_NS, **more):
        count = len(opens)
        bars = make_bars(opens, step_ns=step_ns)
        given = {"size": 16.0, "cash": 2048.0, **more}
        return simulate(bars, at(count, *entries), at(count, *exits), **given)

    return trade


def refused(result, reason):
    """Return the bars at which an order was rejected for a reason."""
    chosen = (result.events["kind"] == "rejected") & (result.events["reason"] == reason)
    return result.events["bar"][chosen].tolist()


# --- drawdown and daily loss --------------------------------------------------------------------


def test_drawdown_closes_all_for_good(traded, rows):
    # 16 at 64: at 128 the account is at its peak, 3072; at 80 it is 2304, a quarter below.
    opens = [64.0, 64.0, 128.0, 80.0, 72.0, 72.0, 72.0, 72.0]
    result = traded(opens, (0, 4, 5, 6), (), risk={"max_drawdown": 0.25})
    assert rows(result.trades, "entry_bar", "exit_bar", "exit_price", "exit_reason") == [
        (1, 4, 72.0, "max_drawdown")
    ]
    assert result.drawdown[3] == 0.25
    assert refused(result, "halted") == [4, 5, 6]
    assert result.equity[-1] == 2048.0 + 16 * 8.0


def test_drawdown_a_hair_smaller_closes_nothing(traded):
    opens = [64.0, 64.0, 128.0, 80.0625, 80.0625, 80.0625]
    result = traded(opens, (0,), (), risk={"max_drawdown": 0.25})
    assert result.trades["exit_reason"].tolist() == ["open"]


def test_an_entry_under_way_is_halted_before_it_may_fail(make_bars, at, rows, seed_where):
    """Beta is under way at the close that stops trading: it is not tried, so it does not fail."""

    def holds(seed):
        slow, fails = (
            [uniform(seed, stream, asset_key(name), 0, 0) for name in ("alpha", "beta")]
            for stream in (LATENCY_STREAM, FAILURE_STREAM)
        )
        return slow[0] < 0.3 and slow[1] > 0.5 and fails[0] >= 0.5 > fails[1]

    # Alpha is there within a day and fills. At the close of bar 3 an eighth is lost; beta, decided
    # at bar 2 and a day and a half on its way, would be tried at the open of bar 4, and fail.
    opens = {"alpha": [64.0, 64.0, 64.0, 40.0, 40.0, 40.0], "beta": [64.0] * 6}
    result = simulate_portfolio(
        {name: make_bars(each) for name, each in opens.items()},
        {"alpha": at(6, 0), "beta": at(6, 2)},
        {},
        size=16.0,
        cash=2048.0,
        seed=seed_where(holds),
        risk={"max_drawdown": 0.125},
        execution={
            "latency": dict.fromkeys(("p50", "p90", "p99"), 1.5 * 86_400_000.0),
            "failures": {"base_rate": 0.5},
        },
    )
    events = rows(result.events, "asset", "bar", "kind", "reason")
    assert [each for each in events if each[0] == "beta"] == [
        ("beta", 2, "order", "signal"),
        ("beta", 4, "rejected", "halted"),
    ]


def test_exposure_of_a_debt_is_no_number(make_bars, at):
    bars = make_bars([64.0, 64.0, 192.0, 192.0, 192.0])
    nothing = at(5)
    result = simulate(bars, nothing, nothing, short_entries=at(5, 0), size=31.0, cash=2048.0)
    assert result.equity.tolist() == [2048.0, 2048.0, -1920.0, -1920.0, -1920.0]
    assert result.exposure[:2].tolist() == [0.0, 31.0 / 32.0]
    assert np.isnan(result.exposure[2:]).all()


def test_daily_loss_closes_all_until_the_next_day(traded, rows):
    # Four bars a day. At the close of bar 5 the account is 1792: an eighth below the last close of
    # the day before, bar 3.
    opens = [64.0, 64.0, 64.0, 64.0, 64.0, 48.0, 56.0, 56.0, 56.0, 56.0, 56.0]
    result = traded(opens, (0, 6, 7, 8), (), step_ns=6 * HOUR_NS, risk={"max_daily_loss": 0.125})
    assert rows(result.trades, "entry_bar", "exit_bar", "exit_price", "exit_reason")[0] == (
        1, 6, 56.0, "max_daily_loss",
    )  # fmt: skip
    assert refused(result, "halted") == [6, 7]
    assert result.trades["entry_bar"].tolist() == [1, 9]


def test_loss_over_two_days_is_no_daily_loss(traded):
    opens = [64.0, 64.0, 64.0, 56.0, 56.0, 56.0, 48.0, 48.0, 48.0]
    risk = {"max_daily_loss": 0.125}
    result = traded(opens, (0,), (), step_ns=6 * HOUR_NS, risk=risk)
    assert result.trades["exit_reason"].tolist() == ["open"]
    within = traded([64.0] * 4 + [56.0, 48.0, 48.0, 48.0], (0,), (), step_ns=6 * HOUR_NS, risk=risk)
    assert within.trades["exit_reason"].tolist() == ["max_daily_loss"]


# --- losses in a row, throttle, re-entry --------------------------------------------------------


def test_losses_in_a_row_end_entering(traded):
    # Down, down, up, down, down, down. Of two in a row the first two are enough.
    opens = [64.0, 64.0, 63.0, 63.0, 62.0, 62.0, 63.0, 63.0, 62.0, 62.0, 61.0, 61.0, 60.0, 60.0]
    entries, exits = range(0, 14, 2), range(1, 14, 2)
    result = traded(opens, entries, exits, risk={"max_consecutive_losses": 2})
    assert result.trades["pnl"].tolist() == [-16.0, -16.0]
    assert refused(result, "consecutive_losses") == [4, 6, 8, 10, 12]
    result = traded(opens, entries, exits, risk={"max_consecutive_losses": 3})
    assert result.trades["pnl"].tolist() == [-16.0, -16.0, 16.0, -16.0, -16.0, -16.0]
    assert refused(result, "consecutive_losses") == [12]


def test_throttle_counts_the_entries_of_a_window(traded):
    # Bars an hour apart. Entries fill at hours 1 and 3; the window of four hours is open again
    # for a decision at hour 5, four behind the first.
    opens = [64.0] * 14
    result = traded(
        opens, range(0, 14), range(0, 14), step_ns=HOUR_NS,
        risk={"throttle": {"max_trades": 2, "window_minutes": 240}},
    )  # fmt: skip
    assert result.trades["entry_bar"].tolist() == [1, 3, 6, 8, 11, 13]
    assert refused(result, "throttled") == [4, 9]


def test_throttle_window_is_in_minutes(traded):
    opens, every = [64.0] * 10, range(0, 10)
    for minutes, bars in ((60, [1, 3, 5, 7, 9]), (180, [1, 5, 9]), (181, [1, 6])):
        throttle = {"max_trades": 1, "window_minutes": minutes}
        result = traded(opens, every, every, step_ns=HOUR_NS, risk={"throttle": throttle})
        assert result.trades["entry_bar"].tolist() == bars


@pytest.mark.parametrize(
    ("re_entry", "entry_bars"),
    [
        ({}, [1, 3, 5, 7]),
        ({"cooldown_bars": 1}, [1, 4, 7]),
        ({"cooldown_bars": 2}, [1, 5]),
        ({"max_entries": 2}, [1, 3]),
        # The first trade gains, so the pause after a loss is not for it.
        ({"cooldown_after_loss_bars": 3}, [1, 3, 8]),
        ({"cooldown_bars": 1, "cooldown_after_loss_bars": 0}, [1, 4, 6, 8]),
    ],
    ids=str,
)
def test_re_entry_by_hand(traded, re_entry, entry_bars):
    every = range(0, 9)
    opens = [64.0, 64.0, 65.0, 65.0, 64.0, 63.0, 62.0, 61.0, 60.0]
    result = traded(opens, every, every, risk={"re_entry": re_entry})
    assert result.trades["entry_bar"].tolist() == entry_bars


# --- the worth of positions ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["max_position", "max_exposure"])
@pytest.mark.parametrize(("limit", "quantity"), [(0.25, 8.0), (0.5, 16.0), (2.0, 16.0)])
def test_worth_of_a_position_is_limited(traded, rows, name, limit, quantity):
    result = traded([64.0] * 4, (0,), (), risk={name: limit})
    assert result.trades["quantity"].tolist() == [quantity]
    if quantity < 16.0:
        assert rows(result.events, "kind", "quantity", "reason") == [
            ("order", 16.0, "signal"),
            ("partial", 8.0, "signal"),
            ("cancelled", 8.0, "limit"),
        ]


def test_limit_is_of_the_slipped_price(traded):
    result = traded(
        [64.0] * 4, (0,), (), risk={"max_position": 0.25},
        execution={"slippage": {"base": 0.25}},
    )  # fmt: skip
    assert result.trades["quantity"].tolist() == [512.0 / 80.0]


def test_limit_is_for_the_entry_and_not_for_what_becomes_of_it(traded):
    result = traded([64.0, 64.0, 128.0, 128.0], (0,), (), risk={"max_position": 0.5})
    assert result.exposure[2] == 2048.0 / 3072.0
    assert result.trades["exit_reason"].tolist() == ["open"]


# --- how a run is run ---------------------------------------------------------------------------


def test_fail_fast_stops_at_the_first_refusal(traded):
    opens = [64.0, 64.0, 64.0, 256.0, 256.0, 64.0]
    config = RunConfig(error_mode="fail_fast")
    with pytest.raises(OrderRefused) as caught:
        # The second entry asks for 4096 at the open of bar 3; there is a signal at its close too.
        traded(opens, (0, 2, 3), (1,), config=config)
    assert (caught.value.bar, caught.value.reason) == (3, "insufficient_cash")
    assert str(caught.value) == "the order at bar 3 was refused: insufficient_cash"
    assert pickle.loads(pickle.dumps(caught.value)).bar == 3
    collected = traded(opens, (0, 2, 3), (1,), config=RunConfig())
    assert refused(collected, "insufficient_cash") == [3, 4]


def test_fail_fast_stops_at_a_limit(traded):
    risk, config = {"re_entry": {"max_entries": 1}}, RunConfig(error_mode="fail_fast")
    with pytest.raises(OrderRefused, match="bar 2 was refused: max_entries"):
        traded([64.0] * 6, (0, 2), (1,), risk=risk, config=config)


def test_fail_fast_waits_for_the_last_retry(traded, drawn, seed_where):
    def holds(seed):
        draws = [drawn(seed, FAILURE_STREAM, 0, attempt) for attempt in range(2)]
        return draws[0] < 0.5 <= draws[1]

    config = RunConfig(error_mode="fail_fast", seed=seed_where(holds))
    once = {"failures": {"base_rate": 0.5, "retries": 1}}
    assert traded([64.0] * 6, (0,), (), execution=once, config=config).trades["entry_bar"][0] == 2
    with pytest.raises(OrderRefused, match="bar 1 was refused: failure"):
        traded([64.0] * 6, (0,), (), execution={"failures": {"base_rate": 0.5}}, config=config)


def test_fail_fast_of_what_is_never_refused_is_as_ever(traded):
    opens = [64.0, 64.0, 80.0, 80.0, 64.0]
    strict = traded(opens, (0,), (1,), config=RunConfig(error_mode="fail_fast"))
    assert strict.equity.tobytes() == traded(opens, (0,), (1,)).equity.tobytes()


def test_without_an_event_log_all_else_is_there(traded):
    opens = [64.0, 64.0, 80.0, 80.0, 64.0]
    loud, quiet = (
        traded(opens, (0, 2), (1,), costs={"fixed_fee": 1.0}, config=RunConfig(event_log=each))
        for each in (True, False)
    )
    assert len(loud.events["event_id"]) == 6
    assert {len(column) for column in quiet.events.values()} == {0}
    for name in loud.trades:
        assert loud.trades[name].tobytes() == quiet.trades[name].tobytes()
    assert loud.equity.tobytes() == quiet.equity.tobytes()


def test_seed_of_the_config_is_the_seed(traded):
    def run(**given):
        partly = {"partial_fills": {"probability": 1.0, "fill_range": (0.125, 0.875)}}
        return traded([64.0] * 4, (0,), (), execution=partly, **given).trades["quantity"][0]

    assert run(seed=7) == run(config=RunConfig(seed=7)) != run(seed=8)


# --- each of them changes the outcome -----------------------------------------------------------


@pytest.mark.parametrize(
    "risk",
    [
        {"max_drawdown": 0.03},
        {"max_daily_loss": 0.02},
        {"max_consecutive_losses": 1},
        {"max_position": 0.25},
        {"max_exposure": 0.25},
        {"throttle": {"max_trades": 1, "window_minutes": 60 * 24 * 4}},
        {"re_entry": {"cooldown_bars": 2}},
        {"re_entry": {"cooldown_after_loss_bars": 3}},
        {"re_entry": {"max_entries": 2}},
    ],
    ids=str,
)
def test_switching_it_on_changes_the_outcome(traded, risk):
    opens = [64.0, 64.0, 68.0, 64.0, 60.0, 55.0, 60.0, 66.0, 64.0, 58.0, 70.0, 66.0, 71.0, 60.0]
    every = (range(0, 14), range(1, 14, 2))
    off, on = (traded(opens, *every, risk=each) for each in ({}, risk))
    assert not np.array_equal(off.equity, on.equity)
