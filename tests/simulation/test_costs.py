"""Fees and borrowing: each field's effect on one trade, by hand, to the last digit."""

import numpy as np
import pytest

from research.simulation.chance import FAILURE_STREAM
from research.simulation.engine import simulate
from research.simulation.sizing import Sizing

OPENS = [64.0, 64.0, 128.0, 128.0, 128.0, 64.0]
BPS = 10_000.0
YEAR_NS = 31_557_600 * 10**9
TARGET = {"take_profit": [{"multiple": 1.5, "fraction": 1.0}]}


@pytest.fixture
def traded(make_bars, at):
    """Buy 16 at 64 at the open of bar 1, sell at 128 at the open of bar 3."""

    def trade(costs, **more):
        return simulate(make_bars(OPENS), at(6, 0), at(6, 2), size=16.0, costs=costs, **more)

    return trade


@pytest.mark.parametrize(
    ("costs", "entry", "out"),
    [
        ({"taker_fee_bps": BPS / 64}, 1024 / 64, 2048 / 64),
        ({"fixed_fee": 3.0}, 3.0, 3.0),
        ({"minimum_fee": 5.0}, 5.0, 5.0),
        ({"taker_fee_bps": BPS / 64, "minimum_fee": 20.0}, 20.0, 32.0),
        ({"taker_fee_bps": BPS / 64, "fixed_fee": 3.0, "minimum_fee": 20.0}, 20.0, 35.0),
        ({"priority_fee": 2.0}, 2.0, 2.0),
        # The priority fee comes on top of the minimum.
        ({"minimum_fee": 5.0, "priority_fee": 2.0}, 7.0, 7.0),
        ({"priority_fee": 2.0, "priority_fee_max": 1.5}, 1.5, 1.5),
        ({"priority_fee_max": 1.5}, 0.0, 0.0),
        ({"maker_fee_bps": BPS / 64}, 0.0, 0.0),  # nothing rests in the book here
        ({"borrow_bps_per_year": BPS}, 0.0, 0.0),  # nor is anything borrowed
    ],
    ids=str,
)
def test_fees_by_hand(traded, costs, entry, out):
    result = traded(costs)
    fills = result.events["kind"] == "fill"
    assert result.events["fee"][fills].tolist() == [entry, out]
    assert result.trades["fees"].tolist() == [entry + out]
    assert result.trades["pnl"].tolist() == [1024.0 - entry - out]
    assert result.equity[-1] == 1_001_024.0 - entry - out


def test_target_pays_the_maker_and_all_else_the_taker(make_bars, at):
    costs = {"taker_fee_bps": BPS / 64, "maker_fee_bps": BPS / 256}
    bars = make_bars([64.0, 64.0, 64.0, 64.0], highs=[64.0, 64.0, 128.0, 64.0])
    result = simulate(bars, at(4, 0), at(4), size=16.0, costs=costs, risk=TARGET)
    # In for 1024 at 1/64; out at 96, 1536 in all, at 1/256.
    assert result.trades["exit_reason"].tolist() == ["take_profit"]
    assert result.trades["fees"].tolist() == [16.0 + 6.0]
    assert result.trades["pnl"].tolist() == [512.0 - 22.0]


def test_stop_pays_the_taker(make_bars, at):
    costs = {"taker_fee_bps": BPS / 64, "maker_fee_bps": BPS / 256}
    bars = make_bars([64.0, 64.0, 64.0], lows=[64.0, 64.0, 16.0])
    risk = {"stop_loss": {"initial": -0.5}}
    result = simulate(bars, at(3, 0), at(3), size=16.0, costs=costs, risk=risk)
    assert result.trades["fees"].tolist() == [16.0 + 8.0]


@pytest.mark.parametrize(
    ("most", "failures", "fee"),
    [(None, 0, 2.0), (None, 1, 4.0), (None, 3, 16.0), (5.0, 1, 4.0), (5.0, 2, 5.0), (5.0, 3, 5.0)],
)
def test_priority_fee_doubles_with_every_failed_attempt(
    make_bars, at, drawn, seed_where, most, failures, fee
):
    def holds(seed):
        draws = [drawn(seed, FAILURE_STREAM, 0, attempt) for attempt in range(failures + 1)]
        return all(draw < 0.5 for draw in draws[:-1]) and draws[-1] >= 0.5

    result = simulate(
        make_bars([64.0] * 12),
        at(12, 0),
        at(12),
        costs={"priority_fee": 2.0, "priority_fee_max": most},
        execution={"failures": {"base_rate": 0.5, "retries": 3}},
        seed=seed_where(holds),
    )
    assert result.events["kind"].tolist() == ["order", *["failed"] * failures, "fill"]
    assert result.events["fee"][-1] == fee


def test_budget_pays_for_its_fees(make_bars, at):
    # 1040 less 8 for priority and 8 of fixed fee are 1024: 16 at 64.
    result = simulate(
        make_bars(OPENS), at(6, 0), at(6),
        size=Sizing(kind="cash", value=1040.0), costs={"priority_fee": 8.0, "fixed_fee": 8.0},
    )  # fmt: skip
    assert result.trades["quantity"].tolist() == [16.0]
    assert result.equity[1] == 1e6 - 16.0


def test_short_pays_for_what_it_borrows(make_bars, at):
    # A quarter of a year between bars, and half its worth a year.
    bars = make_bars(OPENS, step_ns=YEAR_NS // 4)
    result = simulate(
        bars, at(6), at(6), short_entries=at(6, 0), short_exits=at(6, 2), size=16.0,
        costs={"borrow_bps_per_year": BPS / 2},
    )  # fmt: skip
    # From bar 1 to 2 by bar 1's close, 16 * 64 / 8; from 2 to 3 by bar 2's, 16 * 128 / 8.
    assert result.trades["side"].tolist() == ["short"]
    assert result.trades["fees"].tolist() == [128.0 + 256.0]
    assert result.trades["pnl"].tolist() == [-1024.0 - 384.0]
    assert result.equity.tolist() == [1e6, 1e6, 998_848.0, 998_592.0, 998_592.0, 998_592.0]
    # No order paid it: the events know of no fee.
    assert result.events["fee"].tolist() == [0.0] * 4
    assert result.metrics["fees"] == 384.0


def test_short_pays_by_what_is_left_of_it(make_bars, at):
    bars = make_bars([64.0] * 5, lows=[64.0, 64.0, 32.0, 64.0, 64.0], step_ns=YEAR_NS // 4)
    result = simulate(
        bars, at(5), at(5), short_entries=at(5, 0), size=16.0,
        costs={"borrow_bps_per_year": BPS / 2},
        risk={"take_profit": [{"multiple": 1.5, "fraction": 0.5}]},
    )  # fmt: skip
    # 16 for one bar, then 8 for two: 128, 64 and 64.
    assert result.trades["fees"].tolist() == [128.0 + 64.0 + 64.0]


@pytest.mark.parametrize(
    ("costs", "more"),
    [
        ({"taker_fee_bps": 1.0}, {}),
        ({"maker_fee_bps": 1.0}, {"risk": TARGET}),
        ({"fixed_fee": 0.01}, {}),
        ({"minimum_fee": 0.01}, {}),
        ({"priority_fee": 0.01}, {}),
        ({"priority_fee": 0.5, "priority_fee_max": 0.25}, {"without": {"priority_fee": 0.5}}),
        ({"borrow_bps_per_year": 1.0}, {"is_short": True}),
    ],
    ids=str,
)
def test_switching_it_on_changes_the_outcome(make_bars, at, costs, more):
    given = dict(more)
    without, is_short = given.pop("without", {}), given.pop("is_short", False)
    signals = {"short_entries": at(6, 0), "short_exits": at(6, 3)} if is_short else {}
    entries, exits = (at(6), at(6)) if is_short else (at(6, 0), at(6, 3))
    off, on = (
        simulate(make_bars(OPENS), entries, exits, costs=each, **signals, **given)
        for each in (without, costs)
    )
    assert not np.array_equal(off.equity, on.equity)
    assert off.metrics["fees"] != on.metrics["fees"]
