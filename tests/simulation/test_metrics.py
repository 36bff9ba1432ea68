"""The metrics against figures worked out by hand, and against their page."""

import math
import re
import statistics
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.simulation.engine import simulate
from research.simulation.metrics import YEAR_NS, max_drawdown, measure, sum_in_order
from research.simulation.models import CostModel

DAY_NS = 86_400 * 10**9
PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def trades_of(pnl, *, open_count=0, fee=0.0):
    count = len(pnl)
    return {
        "trade_id": np.arange(count),
        "exit_bar": np.array([1] * (count - open_count) + [-1] * open_count, dtype=np.int64),
        "pnl": np.array(pnl, dtype=np.float64),
        "fees": np.full(count, fee),
    }


def measured(equity, *, pnl=(), open_count=0, fee=0.0, held=None, step_ns=DAY_NS):
    values = np.array(equity, dtype=np.float64)
    return measure(
        np.arange(len(values), dtype=np.int64) * step_ns,
        values,
        np.zeros(len(values)) if held is None else np.array(held, dtype=np.float64),
        trades_of(pnl, open_count=open_count, fee=fee),
    )


def test_ratios_by_hand():
    # Returns +1/10, -1/10, +1/10: mean 1/30, deviation sqrt(3)/15, downside 1/(10 sqrt(3)).
    found = measured([100.0, 110.0, 99.0, 108.9])
    assert found["sharpe"] == pytest.approx(1 / (2 * math.sqrt(3)) * math.sqrt(365.25), rel=1e-12)
    assert found["sortino"] == pytest.approx(math.sqrt(3) / 3 * math.sqrt(365.25), rel=1e-12)
    assert found["total_return"] == pytest.approx(0.089, rel=1e-12)
    assert found["max_drawdown"] == pytest.approx(0.1, rel=1e-12)


def test_bars_per_year_are_those_observed():
    equity = [100.0, 110.0, 99.0, 108.9]
    yearly = measured(equity, step_ns=YEAR_NS)
    assert yearly["sharpe"] == pytest.approx(1 / (2 * math.sqrt(3)), rel=1e-12)
    assert measured(equity, step_ns=YEAR_NS // 4)["sharpe"] == pytest.approx(2 * yearly["sharpe"])


def test_drawdown_is_from_the_highest_peak_before():
    assert max_drawdown(np.array([100.0, 80.0, 200.0, 150.0, 120.0, 180.0])) == 0.4
    assert max_drawdown(np.array([100.0, 100.0, 101.0])) == 0.0


def test_figures_of_trades_by_hand():
    found = measured([1.0], pnl=[4.0, -1.0, 0.0, 2.0, -2.0, 50.0], open_count=1, fee=0.5)
    assert found["trade_count"] == 6
    assert found["hit_rate"] == 2 / 5
    assert found["profit_factor"] == 6.0 / 3.0
    assert found["fees"] == 3.0


def test_exposure_is_the_share_of_closes_with_a_position():
    assert measured([1.0] * 4, held=[0.0, 5.0, 0.1, 0.0])["exposure"] == 0.5


def test_one_bar_has_no_returns_and_no_trades():
    assert measured([100.0]) == {
        "total_return": 0.0,
        "max_drawdown": 0.0,
        "trade_count": 0,
        "exposure": 0.0,
        "fees": 0.0,
    }


def test_one_return_has_no_deviation():
    assert not {"sharpe", "sortino"} & set(measured([100.0, 110.0]))


@pytest.mark.parametrize("equity", [[100.0] * 5, [100.0 * 1.01**i for i in range(50)]])
def test_returns_that_do_not_vary_have_no_ratios(equity):
    assert not {"sharpe", "sortino"} & set(measured(equity))


def test_gains_alone_have_a_sharpe_and_no_sortino():
    found = measured([100.0, 101.0, 103.0])
    assert "sharpe" in found
    assert "sortino" not in found


def test_fall_that_rounding_alone_can_make_has_no_sortino():
    assert "sortino" not in measured([1.0, math.nextafter(1.0, 0.0), 2.0])


def test_equity_that_reached_zero_has_no_returns():
    found = measured([100.0, 0.0, 0.0, 0.0])
    assert not {"sharpe", "sortino"} & set(found)
    assert (found["total_return"], found["max_drawdown"]) == (-1.0, 1.0)


def test_no_losing_trade_has_no_profit_factor():
    assert "profit_factor" not in measured([1.0], pnl=[1.0, 2.0])
    assert measured([1.0], pnl=[-1.0, -2.0])["profit_factor"] == 0.0


def test_open_trades_alone_have_no_hit_rate():
    assert not {"hit_rate", "profit_factor"} & set(measured([1.0], pnl=[-1.0], open_count=1))


@given(equity=st.lists(st.integers(1, 10**6).map(float), min_size=3, max_size=60))
def test_ratios_agree_with_exact_statistics(equity):
    returns = [after / before - 1.0 for before, after in pairwise(equity)]
    found = measured(equity, step_ns=YEAR_NS)
    mean = statistics.fmean(returns)
    if "sharpe" in found:
        sharpe = mean / statistics.stdev(returns)
        assert found["sharpe"] == pytest.approx(sharpe, rel=1e-9, abs=1e-9)
    else:
        assert max(returns) - min(returns) < 1e-14
    if "sortino" in found:
        downside = math.sqrt(statistics.fmean(min(value, 0.0) ** 2 for value in returns))
        assert found["sortino"] == pytest.approx(mean / downside, rel=1e-9, abs=1e-9)
    else:
        assert min(returns) >= -1e-14


@given(values=st.lists(st.floats(-1e6, 1e6), max_size=600))
def test_sums_run_from_left_to_right(values):
    total = 0.0
    for value in values:
        total += value
    assert sum_in_order(np.array(values, dtype=np.float64)) == total


def test_every_metric_is_on_the_page_and_every_heading_is_a_metric(make_bars, at):
    prices = [64.0, 64.0, 80.0, 64.0, 48.0, 64.0]
    result = simulate(
        make_bars(prices), at(6, 0, 2), at(6, 1, 3), size=1.0, costs=CostModel(fixed_fee=1.0)
    )
    engine_part = PAGE.read_text("utf-8").split("\n---\n")[0]
    headings = re.findall(r"^## ([a-z_]+)$", engine_part, flags=re.MULTILINE)
    assert headings == list(result.metrics)
