"""backtesting.py and we make the same trades of the same signals.

Its switches: ``trade_on_close=False`` (the default) fills at the next open. A stop and a target
travel with the order, as levels of the next open, which the test knows: so they hold within the bar
of the entry, as ours do. A trailing stop is moved at each close. Its spread applies to entries only,
so slippage is left out; its commission is one pair, fixed and relative.
"""

from importlib.util import find_spec

import numpy as np
import pytest

from research.simulation.engine import simulate

pytestmark = [
    pytest.mark.skipif(
        find_spec("backtesting") is None,
        reason="backtesting.py is not installed: make check-engines",
    ),
    pytest.mark.filterwarnings("ignore"),  # what its own packages warn of
]
SIZE = 10


def strategy_of(task, options):
    """Return a strategy that gives the orders which the signals ask for."""
    from backtesting import Strategy

    risk = options.get("risk", {})
    stop, legs = risk.get("stop_loss", {}), risk.get("take_profit", [])
    initial, trailing = stop.get("initial"), stop.get("trailing")
    opened, high, low = (task.bars[name] for name in ("open", "high", "low"))
    never = np.zeros(len(opened), np.bool_)
    shorts = (
        (never, never) if task.short_entries is None else (task.short_entries, task.short_exits)
    )

    def levels(bar, sign):
        if bar + 1 == len(opened):
            return {}
        distance = initial if initial is not None else trailing
        price = opened[bar + 1]
        found = {} if distance is None else {"sl": price * (1.0 + sign * distance)}
        if legs:
            found["tp"] = price * (1.0 + sign * (legs[0]["multiple"] - 1.0))
        return found

    class Signals(Strategy):
        def init(self):
            self.best = np.nan

        def next(self):
            bar = len(self.data) - 1
            if self.trades:
                (trade,) = self.trades
                sign = 1.0 if trade.is_long else -1.0
                entered = trade.entry_bar == bar
                best = trade.entry_price if entered else self.best
                self.best = max(best, high[bar]) if trade.is_long else min(best, low[bar])
                if trailing is not None:
                    trade.sl = self.best * (1.0 + sign * trailing)
                if (task.exits if trade.is_long else shorts[1])[bar]:
                    trade.close()
                    self.enter(bar, -1.0 if trade.is_long else 1.0)
                return
            if task.entries[bar]:
                self.enter(bar, 1.0)
            elif shorts[0][bar]:
                self.enter(bar, -1.0)

        def enter(self, bar, sign):
            if not (task.entries if sign > 0.0 else shorts[0])[bar]:
                return
            (self.buy if sign > 0.0 else self.sell)(size=SIZE, **levels(bar, sign))

    return Signals


def play(task, options):
    """Run a backtest; return its closed trades as ours are named."""
    import pandas as pd
    from backtesting import Backtest

    columns = {name.title(): task.bars[name] for name in ("open", "high", "low", "close", "volume")}
    frame = pd.DataFrame(columns, index=pd.to_datetime(task.bars["at_ns"]))
    costs = options.get("costs", {})
    commission = (costs.get("fixed_fee", 0.0), costs.get("taker_fee_bps", 0.0) / 1e4)
    backtest = Backtest(frame, strategy_of(task, options), cash=1_000_000.0, commission=commission)
    rows = backtest.run()["_trades"].sort_values("EntryBar", kind="stable")
    return {
        "entry_bar": rows["EntryBar"].to_numpy(np.int64),
        "exit_bar": rows["ExitBar"].to_numpy(np.int64),
        "side": np.where(rows["Size"] > 0, "long", "short"),
        "quantity": np.abs(rows["Size"].to_numpy(np.float64)),
        "entry_price": rows["EntryPrice"].to_numpy(np.float64),
        "exit_price": rows["ExitPrice"].to_numpy(np.float64),
        "pnl": rows["PnL"].to_numpy(np.float64),
    }


def test_every_closed_trade_agrees(tasks, case, options, agreement, count, only_closed):
    if "execution" in options:
        pytest.skip("backtesting.py's spread applies to entries only")
    for task in tasks:
        ours = simulate(task.bars, task.entries, task.exits, size=SIZE, **options, **task.shorts)
        agreement.compare(only_closed(ours), play(task, options))
    count("backtesting.py", case, agreement)
    assert agreement.total > 300
    assert agreement.agreed == agreement.total == agreement.theirs, agreement
