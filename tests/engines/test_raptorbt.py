"""raptorbt and we make the same trades of the same signals; where not, the difference is named."""

from importlib.util import find_spec

import numpy as np
import pytest

from research.simulation.engine import simulate
from research.simulation.engines.errors import CannotActOn
from research.simulation.engines.protocol import simulate_with
from research.simulation.engines.raptorbt import RaptorbtEngine, compiled_part
from research.simulation.sizing import Sizing

pytestmark = pytest.mark.skipif(
    find_spec("raptorbt") is None, reason="raptorbt is not installed: make check-engines"
)
ENGINE = RaptorbtEngine()


def alternating(task):
    """Keep the signals that a position would act on if no stop ever closed it."""
    entries, exits = np.zeros_like(task.entries), np.zeros_like(task.exits)
    is_in = False
    for bar in np.flatnonzero(task.entries | task.exits):
        if task.exits[bar] if is_in else task.entries[bar]:
            (exits if is_in else entries)[bar] = True
            is_in = not is_in
    return entries, exits


@pytest.fixture
def long_tasks(tasks):
    return [task for task in tasks if task.short_entries is None]


def test_every_trade_agrees_but_for_gaps_through_a_target(
    long_tasks, case, options, agreement, count
):
    if "fixed_fee" in options.get("costs", {}):
        pytest.skip("raptorbt has no fixed fee; the refusal is tested")
    for task in long_tasks:
        entries, exits = alternating(task)
        ours = simulate(task.bars, entries, exits, **options)
        theirs = simulate_with(ENGINE, task.bars, entries, exits, **options)
        agreement.compare(ours.trades, theirs.trades)
        if not agreement.differing:
            np.testing.assert_allclose(theirs.equity, ours.equity, rtol=1e-9)
            np.testing.assert_array_equal(theirs.trades["exit_reason"], ours.trades["exit_reason"])
        else:
            _only_gaps(agreement, options)
    count("raptorbt", case, agreement)
    assert agreement.total == agreement.theirs > 100
    assert agreement.agreed + len(agreement.differing) == agreement.total


def _only_gaps(agreement, options):
    """A bar that opens beyond the target: we fill at the open, raptorbt at the target."""
    assert "take_profit" in options["risk"]
    for found in agreement.differing:
        assert found["exit_bar"][0] == found["exit_bar"][1]
        assert found["exit_reason"] == ("take_profit", "take_profit")
        ours, theirs = found["exit_price"]
        assert theirs == pytest.approx(found["entry_price"][0] * 1.05, rel=1e-12)
        assert ours > theirs


@pytest.mark.parametrize(
    "size", [Sizing(kind="equity_fraction", value=0.7), Sizing(kind="cash", value=5000.0), 25.0]
)
def test_every_size_agrees(sp500_tasks, agreement, size):
    options = {"execution": {"slippage": {"base": 0.0005}}, "costs": {"taker_fee_bps": 10.0}}
    for task in sp500_tasks[::3]:
        ours = simulate(task.bars, task.entries, task.exits, size=size, cash=1e6, **options)
        theirs = simulate_with(
            ENGINE, task.bars, task.entries, task.exits, size=size, cash=1e6, **options
        )
        agreement.compare(ours.trades, theirs.trades)
    assert agreement.agreed == agreement.total > 500, agreement


def test_an_entry_that_the_cash_does_not_pay_is_refused(sp500_tasks):
    task = sp500_tasks[0]
    with pytest.raises(CannotActOn, match=r"sizing: the entry at bar \d+ costs more"):
        simulate_with(ENGINE, task.bars, task.entries, task.exits, size=10.0, cash=9_000.0)


def test_a_second_entry_after_a_stop_is_refused(random_tasks):
    """raptorbt takes entries between two exits once: what a stop has closed stays closed."""
    task = random_tasks[0]
    with pytest.raises(CannotActOn, match="enters again only after a signal to exit"):
        simulate_with(
            ENGINE, task.bars, task.entries, task.exits, risk={"stop_loss": {"initial": -0.03}}
        )


def test_its_equity_after_a_short_is_not_what_the_short_made():
    """Why shorts are refused: the trade says a loss, and the account gains it."""
    raptorbt = compiled_part()
    opened = np.arange(100.0, 112.0)
    entries, exits = np.zeros((2, 12), np.bool_)
    entries[1] = exits[3] = True
    config = raptorbt.BacktestConfig(initial_capital=1e5, fees=0.0, fill_timing="next_bar_open")
    result = raptorbt.run_single_backtest(
        np.arange(12), opened, opened + 1.0, opened - 1.0, opened + 0.5, np.full(12, 1e3),
        entries, exits, -1, 1.0, "asset", config,
    )  # fmt: skip
    (trade,) = result.trades()
    assert trade.entry_price == 102.0
    assert trade.exit_price == 104.0
    assert trade.pnl < -1_900.0
    assert result.equity_curve()[-1] > 101_900.0


def test_importing_it_asks_no_index(monkeypatch):
    """The package starts a thread that looks for newer releases; its compiled part does not."""
    import sys

    monkeypatch.delitem(sys.modules, "raptorbt", raising=False)
    compiled_part()
    assert "raptorbt" not in sys.modules
