"""vectorbt and we make the same trades of the same signals, on real prices and random markets."""

from importlib.util import find_spec

import numpy as np
import pytest

from research.simulation.engine import simulate
from research.simulation.engines.protocol import simulate_with
from research.simulation.engines.vectorbt import VectorbtEngine

pytestmark = [
    pytest.mark.skipif(
        find_spec("vectorbt") is None, reason="vectorbt is not installed: make check-engines"
    ),
    pytest.mark.filterwarnings("ignore"),  # what vectorbt's own packages warn of
]

IMPLEMENTATION = "rust" if find_spec("vectorbt_rust") else "numba"
ENGINE = VectorbtEngine(IMPLEMENTATION)


def test_every_trade_agrees(tasks, case, options, agreement, count):
    for task in tasks:
        asked = {**options, **task.shorts}
        ours = simulate(task.bars, task.entries, task.exits, **asked)
        theirs = simulate_with(ENGINE, task.bars, task.entries, task.exits, **asked)
        agreement.compare(ours.trades, theirs.trades)
        np.testing.assert_allclose(theirs.equity, ours.equity, rtol=1e-9)
        np.testing.assert_array_equal(theirs.trades["exit_reason"], ours.trades["exit_reason"])
        for name, value in ours.metrics.items():
            if name in ("fill_rate", "latency_cost", "slippage_cost"):
                continue  # of orders that never filled nothing is known
            assert theirs.metrics[name] == pytest.approx(value, rel=1e-6, abs=1e-9), name
    count("vectorbt", case, agreement)
    assert agreement.total > 300
    assert agreement.agreed == agreement.total == agreement.theirs, agreement


def test_the_events_are_those_of_orders_that_filled(random_tasks):
    options = {"costs": {"taker_fee_bps": 10.0}, "execution": {"slippage": {"base": 0.0005}}}
    for task in random_tasks[:12]:
        asked = {**options, **task.shorts}
        ours = simulate(task.bars, task.entries, task.exits, **asked)
        theirs = simulate_with(ENGINE, task.bars, task.entries, task.exits, **asked)
        kept = np.flatnonzero(ours.events["reason"] != "no_next_bar")
        last = len(task.bars["at_ns"]) - 1
        kept = kept[(ours.events["kind"][kept] == "fill") | (ours.events["bar"][kept] < last)]
        for name in ("bar", "kind", "side", "reason"):
            np.testing.assert_array_equal(theirs.events[name], ours.events[name][kept], name)
        for name in ("price", "fee", "slippage", "quantity"):
            np.testing.assert_allclose(
                theirs.events[name], ours.events[name][kept], rtol=1e-9, atol=1e-12
            )


def test_its_two_implementations_agree(sp500_tasks):
    if find_spec("vectorbt_rust") is None:
        pytest.skip("vectorbt-rust is not installed")
    task = sp500_tasks[0]
    options = {"risk": {"stop_loss": {"initial": -0.03}}, "costs": {"taker_fee_bps": 10.0}}
    numba, rust = (
        simulate_with(VectorbtEngine(each), task.bars, task.entries, task.exits, **options)
        for each in ("numba", "rust")
    )
    assert len(numba.trades["pnl"]) > 50
    for name, column in numba.trades.items():
        np.testing.assert_array_equal(rust.trades[name], column)


def test_without_the_three_parts_of_a_bar_a_stop_waits_for_the_bar_after_the_entry(sp500_tasks):
    """The difference that the adapter's switch takes away: shown, so that it stays true."""
    import vectorbt

    task = sp500_tasks[9]  # 3 over 7 days, long
    ours = simulate(
        task.bars, task.entries, task.exits, risk={"stop_loss": {"initial": -0.005}}
    ).trades
    shifted = [np.r_[False, signal[:-1]] for signal in (task.entries, task.exits)]
    bars = {name: task.bars[name] for name in ("close", "open", "high", "low")}
    portfolio = vectorbt.Portfolio.from_signals(
        bars["close"], *shifted, price=bars["open"], open=bars["open"], high=bars["high"],
        low=bars["low"], size=10.0, sl_stop=0.005, stop_entry_price="fillprice",
        stop_exit_price="stopmarket", accumulate=False, init_cash=1_000_000.0,
        engine=IMPLEMENTATION,
    )  # fmt: skip
    theirs = portfolio.trades.values
    theirs = theirs[theirs["status"] == 1]
    assert (ours["exit_bar"] == ours["entry_bar"]).sum() > 20
    assert (theirs["exit_idx"] == theirs["entry_idx"]).sum() == 0
