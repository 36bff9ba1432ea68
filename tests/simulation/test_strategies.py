"""Strategies: their rules by hand, their trades on real prices, and no look at the future."""

import csv
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.simulation.calls import CallEntries, Calls
from research.simulation.engine import simulate
from research.simulation.errors import InvalidField, InvalidSignals, LookAhead
from research.simulation.strategies import (
    BarByBar,
    BollingerReversion,
    BuyAndHold,
    Decision,
    DonchianBreakout,
    EmaCrossover,
    RsiReversion,
    SmaCrossover,
)
from research.simulation.view import Indicators

BARS_CSV = Path(__file__).parents[2] / "research/datasets/sp500-daily/1999-2018/bars.csv"
DAY_NS = 86_400 * 10**9
SIGNALS = ("entries", "exits", "short_entries", "short_exits")

CALLS = Calls.from_csv("at,asset\n2001-01-03,SP500\n2001-01-06,SP500\n2008-10-08,SP500\n")


@pytest.fixture(scope="module")
def sp500():
    with BARS_CSV.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    days = [datetime.fromisoformat(row["date"]).replace(tzinfo=UTC) for row in rows]
    names = ("open", "high", "low", "close", "volume")
    return {
        "at_ns": np.array([int(day.timestamp()) * 10**9 for day in days], dtype=np.int64),
        **{name: np.array([float(row[name]) for row in rows]) for name in names},
    }


def played(bars, strategy, **models):
    signals = strategy.signals(Indicators(bars))
    return simulate(bars, **{name: getattr(signals, name) for name in SIGNALS}, **models)


def where(signals):
    """Name the bars of each kind of signal."""
    return {
        name: np.flatnonzero(getattr(signals, name)).tolist()
        for name in SIGNALS
        if getattr(signals, name).any()
    }


GOLDEN = [
    # strategy, trades, of them short, the first entry's bar, closed with a profit
    (SmaCrossover(), 31, 0, 174, 12),
    (SmaCrossover(direction="short"), 32, 32, 155, 6),
    (SmaCrossover(direction="both"), 63, 32, 155, 18),
    (EmaCrossover(), 82, 0, 35, 29),
    (RsiReversion(), 28, 0, 152, 23),
    (RsiReversion(direction="both"), 61, 33, 135, 43),
    (DonchianBreakout(), 48, 0, 65, 19),
    (DonchianBreakout(direction="both"), 80, 32, 65, 28),
    (BollingerReversion(), 93, 0, 98, 67),
    (BollingerReversion(direction="both"), 186, 93, 43, 127),
    (BuyAndHold(), 1, 0, 1, 0),
    (CallEntries(calls=CALLS, asset="SP500"), 1, 0, 506, 0),
]
GOLDEN_IDS = [f"{type(s).__name__}-{getattr(s, 'direction', 'long')}" for s, *_ in GOLDEN]


@pytest.mark.parametrize(
    ("strategy", "count", "short_count", "first_bar", "wins"), GOLDEN, ids=GOLDEN_IDS
)
def test_golden_trades_on_real_prices(sp500, strategy, count, short_count, first_bar, wins):
    trades = played(sp500, strategy).trades
    is_closed = trades["exit_bar"] >= 0
    found = (
        len(trades["trade_id"]),
        int((trades["side"] == "short").sum()),
        int(trades["entry_bar"][0]),
        int((trades["pnl"][is_closed] > 0.0).sum()),
    )
    assert found == (count, short_count, first_bar, wins)


CASES = {name: case[0] for name, case in zip(GOLDEN_IDS, GOLDEN, strict=True)}
SMALL = [
    SmaCrossover(fast=2, slow=4, direction="both"),
    EmaCrossover(fast=2, slow=4, direction="both"),
    RsiReversion(window=3, direction="both"),
    DonchianBreakout(entry_window=4, exit_window=2, direction="both"),
    BollingerReversion(window=4, width=1.0, direction="both"),
    BuyAndHold(),
    CallEntries(
        calls=Calls.from_table(
            {"at_ns": 915_408_000 * 10**9 + np.arange(0, 60, 7) * DAY_NS, "asset": ["A"] * 9}
        ),
        asset="A",
    ),
]
WALK = st.lists(st.floats(50.0, 150.0), min_size=2, max_size=40)


@pytest.mark.parametrize("strategy", SMALL, ids=lambda s: type(s).__name__)
@given(past=WALK, future=WALK, other=WALK)
def test_no_strategy_sees_the_future(make_bars, strategy, past, future, other):
    one = strategy.signals(Indicators(make_bars(past + future)))
    two = strategy.signals(Indicators(make_bars(past + other)))
    alone = strategy.signals(Indicators(make_bars(past)))
    for name in SIGNALS:
        until = getattr(alone, name).tolist()
        assert getattr(one, name)[: len(past)].tolist() == until
        assert getattr(two, name)[: len(past)].tolist() == until


@pytest.mark.parametrize("name", CASES)
def test_cutting_real_prices_changes_nothing_before_the_cut(sp500, name):
    whole = CASES[name].signals(Indicators(sp500))
    for count in (120, 1000, 3217):
        part = CASES[name].signals(Indicators({k: v[:count] for k, v in sp500.items()}))
        for kind in SIGNALS:
            assert (getattr(part, kind) == getattr(whole, kind)[:count]).all()


@pytest.mark.parametrize("strategy", SMALL[:5], ids=lambda s: type(s).__name__)
def test_direction_leaves_one_side_out(sp500, strategy):
    both = strategy.signals(Indicators(sp500))
    for direction, kept in (("long", SIGNALS[:2]), ("short", SIGNALS[2:])):
        fields = {name: getattr(strategy, name) for name in type(strategy).__slots__}
        one = type(strategy)(**{**fields, "direction": direction}).signals(Indicators(sp500))
        for name in SIGNALS:
            assert getattr(both, name).any()
            expected = getattr(both, name) if name in kept else np.zeros(len(one.entries), bool)
            assert (getattr(one, name) == expected).all()


def test_crossover_by_hand(make_bars):
    #       averages of two: -, 9, 8, 9, 11, 11, 9, 7      of one: the close
    bars = make_bars([10.0, 8.0, 8.0, 10.0, 12.0, 10.0, 8.0, 6.0])
    signals = SmaCrossover(fast=1, slow=2, direction="both").signals(Indicators(bars))
    assert where(signals) == {
        "entries": [3], "short_exits": [3], "exits": [5], "short_entries": [5],
    }  # fmt: skip


def test_exponential_crossover_by_hand(make_bars):
    # Of two, from 9 on by 2/3: 9, 8.33, 9.44, 11.15, 10.38, 8.79.
    bars = make_bars([10.0, 8.0, 8.0, 10.0, 12.0, 10.0, 8.0])
    signals = EmaCrossover(fast=1, slow=2).signals(Indicators(bars))
    assert where(signals) == {"entries": [3], "exits": [5]}


def test_rsi_by_hand(make_bars):
    # Index of two: 100 after the rises, below 30 at bar 4, above 50 at bar 7, above 70 at bar 7.
    closes = [10.0, 11.0, 12.0, 11.0, 9.0, 9.0, 9.5, 13.0, 13.0, 8.0]
    index = Indicators(make_bars(closes)).relative_strength_index(2)
    assert [round(float(v)) for v in index[2:]] == [100, 50, 17, 17, 50, 92, 92, 16]
    signals = RsiReversion(window=2, direction="both").signals(Indicators(make_bars(closes)))
    assert where(signals) == {
        "entries": [4, 9], "exits": [7], "short_entries": [7], "short_exits": [4, 9],
    }  # fmt: skip


def test_breakout_by_hand(make_bars):
    # Highs of the three bars before: 11 at bar 3, so 12 breaks out; lows of the two before: 12
    # at bar 6, so 9 leaves, and is below all three before as well.
    bars = make_bars([10.0, 11.0, 10.0, 12.0, 13.0, 12.0, 9.0, 9.0])
    strategy = DonchianBreakout(entry_window=3, exit_window=2, direction="both")
    assert where(strategy.signals(Indicators(bars))) == {
        "entries": [3, 4], "short_exits": [3, 4], "exits": [6], "short_entries": [6],
    }  # fmt: skip


def test_a_new_high_has_to_be_above_the_old_one(make_bars):
    bars = make_bars([10.0, 11.0, 11.0, 11.0])
    assert where(DonchianBreakout(entry_window=1, exit_window=1).signals(Indicators(bars))) == {
        "entries": [1]
    }


def test_bands_by_hand(make_bars):
    # The window of three at bar 4 is 10, 10, 7: mean 9, deviation 1.41; 7 is below 9 - 1.41.
    bars = make_bars([10.0, 10.0, 10.0, 10.0, 7.0, 10.0, 10.0, 13.0])
    strategy = BollingerReversion(window=3, width=1.0, direction="both")
    assert where(strategy.signals(Indicators(bars))) == {
        "entries": [4], "short_exits": [4], "exits": [5], "short_entries": [7],
    }  # fmt: skip


def test_buy_and_hold_enters_once(make_bars):
    assert where(BuyAndHold().signals(Indicators(make_bars([1.0, 2.0, 3.0])))) == {"entries": [0]}


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: SmaCrossover(fast=0), "fast"),
        (lambda: SmaCrossover(fast=100), "slow"),
        (lambda: SmaCrossover(fast=2.5), "fast"),
        (lambda: SmaCrossover(direction="up"), "direction"),
        (lambda: EmaCrossover(fast=26), "slow"),
        (lambda: EmaCrossover(direction=1), "direction"),
        (lambda: RsiReversion(window=0), "window"),
        (lambda: RsiReversion(lower=-1.0), "lower"),
        (lambda: RsiReversion(lower=60.0), "middle"),
        (lambda: RsiReversion(upper=50.0), "upper"),
        (lambda: RsiReversion(upper=101.0), "upper"),
        (lambda: RsiReversion(direction=""), "direction"),
        (lambda: DonchianBreakout(entry_window=0), "entry_window"),
        (lambda: DonchianBreakout(exit_window=0), "exit_window"),
        (lambda: DonchianBreakout(direction="x"), "direction"),
        (lambda: BollingerReversion(window=1), "window"),
        (lambda: BollingerReversion(width=0.0), "width"),
        (lambda: BollingerReversion(width=float("nan")), "width"),
        (lambda: BollingerReversion(direction="x"), "direction"),
    ],
)
def test_what_no_strategy_can_be_is_refused_by_name(make, field):
    with pytest.raises(InvalidField) as caught:
        make()
    assert caught.value.field == field


# --- Bar by bar ---------------------------------------------------------------------------------


def crossing_bar_by_bar(view):
    """The crossover of 20 and 100 again, with nothing but the view."""
    close = view["close"]
    if view.bar < 100:
        return Decision.NOTHING
    before, now = ((average(close, 20, back), average(close, 100, back)) for back in (1, 0))
    if before[0] <= before[1] and now[0] > now[1]:
        return Decision.ENTER_LONG | Decision.EXIT_SHORT
    if before[0] >= before[1] and now[0] < now[1]:
        return Decision.EXIT_LONG | Decision.ENTER_SHORT
    return Decision.NOTHING


def average(close, window, back):
    total = 0.0
    for value in close[len(close) - window - back : len(close) - back]:
        total += value
    return total / window


def test_bar_by_bar_decides_as_whole_series_do(sp500):
    bars = {name: column[:1500] for name, column in sp500.items()}
    slow = BarByBar(decide=crossing_bar_by_bar).signals(Indicators(bars))
    fast = SmaCrossover(direction="both").signals(Indicators(bars))
    assert where(slow) == where(fast)
    assert len(where(slow)) == 4


def test_bar_by_bar_cannot_look_ahead(make_bars):
    def peeks(view):
        is_rising = view.bar < 3 and view["close"][view.bar + 1] > view["close"][-1]
        return Decision.ENTER_LONG if is_rising else Decision.NOTHING

    with pytest.raises(LookAhead, match="at bar 0 nothing is known of close at bar 1"):
        BarByBar(decide=peeks).signals(Indicators(make_bars([1.0, 2.0, 3.0, 4.0])))


@pytest.mark.parametrize("returned", [None, True, 1, "enter"])
def test_what_is_no_decision_is_refused(make_bars, returned):
    with pytest.raises(InvalidSignals, match="at bar 0"):
        BarByBar(decide=lambda view: returned).signals(Indicators(make_bars([1.0, 2.0])))
