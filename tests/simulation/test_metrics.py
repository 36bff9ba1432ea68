"""The metrics against figures worked out by hand, and against their page."""

import decimal
import math
import re
import statistics
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.simulation import compiled, equity_figures, slots
from research.simulation.engine import simulate
from research.simulation.metrics import measure, sum_in_order
from research.simulation.session import Played
from research.simulation.units import YEAR_NS

DAY_NS = 86_400 * 10**9
PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def played(equity, *, pnl=(), open_count=0, fee=0.0, held=None, bars_held=1, notional=100.0):
    """An account as the kernel leaves it: an equity, and trades of one unit each; no events."""
    count, values = len(pnl), np.array(equity, dtype=np.float64)
    codes = np.zeros((count, slots.TRADE_CODES), np.int64)
    codes[:, slots.TRADE_EXIT] = bars_held
    if open_count:
        codes[-open_count:, slots.TRADE_EXIT] = slots.NONE
    amounts = np.zeros((count, slots.TRADE_AMOUNTS))
    amounts[:, slots.TRADE_QUANTITY] = 1.0
    amounts[:, slots.TRADE_ENTRY_PRICE] = notional
    amounts[:, slots.TRADE_PNL] = pnl
    amounts[:, slots.TRADE_FEES] = fee
    return Played(
        event_codes=np.zeros((0, slots.EVENT_CODES), np.int64),
        event_amounts=np.zeros((0, slots.EVENT_AMOUNTS)),
        trade_codes=codes,
        trade_amounts=amounts,
        equity=values,
        exposure=np.zeros(len(values)),
        held=np.zeros(len(values)) if held is None else np.array(held, dtype=np.float64),
    )


def measured(equity, *, step_ns=DAY_NS, **trades):
    at_ns = np.arange(len(equity), dtype=np.int64) * step_ns
    return measure(at_ns, played(equity, **trades))


def close_to(value):
    return pytest.approx(value, rel=1e-12, abs=1e-15)


# Returns +1/10, -1/10, +1/10: mean 1/30, deviation sqrt(3)/15 with ddof 1, downside 1/(10 sqrt(3)).
WAVE = [100.0, 110.0, 99.0, 108.9]


# --- returns --------------------------------------------------------------------------------------


def test_growth_by_hand():
    found = measured([100.0, 110.0, 121.0], step_ns=YEAR_NS)
    assert found["total_return"] == close_to(0.21)
    assert found["cagr"] == close_to(0.1)
    assert found["final_equity"] == 121.0
    assert measured([100.0, 110.0, 121.0], step_ns=YEAR_NS // 4)["cagr"] == close_to(1.1**4 - 1)


def test_growth_that_no_float_holds_is_absent():
    assert "cagr" not in measured([100.0, 110.0, 121.0], step_ns=1_000_000)
    assert measured([100.0, 90.0, 81.0], step_ns=1_000_000)["cagr"] == -1.0


def test_growth_does_not_depend_on_the_callers_decimal_context():
    plain = measured(WAVE)["cagr"]
    with decimal.localcontext(decimal.Context(prec=3, traps=[decimal.Inexact])):
        assert measured(WAVE)["cagr"] == plain


def test_ratios_by_hand():
    found, year = measured(WAVE), math.sqrt(365.25)
    assert found["volatility"] == close_to(math.sqrt(3) / 15 * year)
    assert found["sharpe"] == close_to(1 / (2 * math.sqrt(3)) * year)
    assert found["sortino"] == close_to(math.sqrt(3) / 3 * year)
    assert found["omega"] == close_to(2.0)
    assert found["total_return"] == close_to(0.089)


def test_bars_per_year_are_those_observed():
    yearly, quarterly = measured(WAVE, step_ns=YEAR_NS), measured(WAVE, step_ns=YEAR_NS // 4)
    assert yearly["sharpe"] == close_to(1 / (2 * math.sqrt(3)))
    for name in ("sharpe", "sortino", "volatility"):
        assert quarterly[name] == close_to(2 * yearly[name])


def test_shape_by_hand():
    # Distances from the mean, 1/30, are 2/30, -4/30, 2/30: skew -1/sqrt(2), kurtosis 3/2.
    found = measured(WAVE)
    assert found["skew"] == close_to(-1 / math.sqrt(2))
    assert found["kurtosis"] == close_to(1.5)


def by_returns(returns):
    """An equity whose returns are these."""
    return 100.0 * np.cumprod(np.concatenate([[1.0], 1.0 + np.array(returns)]))


def test_tails_by_hand():
    # 40 returns: the tails are the two worst and the two best.
    returns = [-0.08, 0.05, -0.04, 0.06] + [0.01, -0.01] * 18
    found = measured(by_returns(returns))
    assert found["value_at_risk_95"] == close_to(0.04)
    assert found["conditional_value_at_risk_95"] == close_to(0.06)
    assert found["tail_ratio"] == close_to(0.05 / 0.04)
    # One more return, and a tail of one in twenty takes in a third.
    found = measured(by_returns([*returns, 0.0]))
    assert found["value_at_risk_95"] == close_to(0.01)
    assert found["conditional_value_at_risk_95"] == close_to((0.08 + 0.04 + 0.01) / 3)


def test_value_at_risk_of_gains_alone_is_below_zero():
    found = measured([100.0, 101.0, 103.02])
    assert found["value_at_risk_95"] == close_to(-0.01)
    assert "tail_ratio" not in found


def test_no_best_return_above_zero_has_no_tail_ratio():
    assert "tail_ratio" not in measured([100.0, 99.0, 97.0])
    assert measured([100.0, 99.0, 99.0])["tail_ratio"] == 0.0


# --- drawdowns ------------------------------------------------------------------------------------


def test_drawdown_is_from_the_highest_peak_before():
    found = measured([100.0, 80.0, 200.0, 150.0, 120.0, 180.0])
    assert found["max_drawdown"] == 0.4
    assert found["average_drawdown"] == close_to((0.2 + 0.25 + 0.4 + 0.1) / 6)
    assert measured([100.0, 100.0, 101.0])["max_drawdown"] == 0.0


def test_calmar_by_hand():
    assert measured([100.0, 80.0, 121.0], step_ns=YEAR_NS)["calmar"] == close_to(0.1 / 0.2)


def test_recovery_runs_from_the_trough_of_the_deepest_drawdown():
    # The deepest falls from 200 to 120 at bar 4, and is back at bar 7; the last is not over.
    equity = [100.0, 80.0, 200.0, 150.0, 120.0, 180.0, 199.0, 200.0, 190.0, 210.0, 200.0]
    found = measured(equity, step_ns=DAY_NS // 2)
    assert (found["recovery_bars"], found["recovery_days"]) == (3, 1.5)
    assert (found["longest_drawdown_bars"], found["longest_drawdown_days"]) == (5, 2.5)


def test_drawdown_that_is_not_over_has_no_recovery_and_lasts_to_the_end():
    found = measured([100.0, 80.0, 100.0, 70.0, 90.0, 95.0, 99.0])
    assert not {"recovery_bars", "recovery_days"} & set(found)
    assert (found["longest_drawdown_bars"], found["longest_drawdown_days"]) == (4, 4.0)


def test_account_that_never_fell_has_no_recovery_and_no_calmar():
    found = measured([100.0, 100.0, 101.0])
    assert not {"recovery_bars", "recovery_days", "calmar"} & set(found)
    assert (found["longest_drawdown_bars"], found["average_drawdown"]) == (0, 0.0)


def test_longest_of_equal_drawdowns_is_the_first():
    days = np.array([0, 5, 6, 7, 8, 9], np.int64)
    found = measure(days * DAY_NS, played([100.0, 90.0, 100.0, 101.0, 90.0, 101.0]))
    assert (found["longest_drawdown_bars"], found["longest_drawdown_days"]) == (2, 6.0)


@given(equity=st.lists(st.integers(1, 12).map(float), min_size=3, max_size=30))
def test_durations_agree_with_a_search(equity):
    found, bars = measured(equity), range(len(equity))
    peaks = [max(equity[: bar + 1]) for bar in bars]
    falls = [(peaks[bar] - equity[bar]) / peaks[bar] for bar in bars]
    trough = falls.index(max(falls))
    after = [bar for bar in bars if bar > trough and equity[bar] >= peaks[trough]]
    assert found.get("recovery_bars") == (after[0] - trough if after and max(falls) > 0 else None)
    # From each close to the first that is as high again, if those between are lower; or to the end.
    longest = 0
    for start in bars:
        later = [bar for bar in bars if bar > start and equity[bar] >= equity[start]]
        stop = later[0] if later else len(equity) - 1
        if equity[start] == peaks[start] and stop - start > (1 if later else 0):
            longest = max(longest, stop - start)
    assert found["longest_drawdown_bars"] == longest


# --- trades ---------------------------------------------------------------------------------------


def test_figures_of_trades_by_hand():
    found = measured(
        [1.0, 1.0], pnl=[4.0, -1.0, 0.0, 2.0, -2.0, 50.0], open_count=1, fee=0.5, bars_held=3
    )
    assert found["trade_count"] == 6
    assert found["hit_rate"] == 2 / 5
    assert found["expectancy"] == close_to(3.0 / 5)
    assert (found["average_win"], found["average_loss"]) == (3.0, -1.5)
    assert found["payoff_ratio"] == 2.0
    assert found["profit_factor"] == 6.0 / 3.0
    assert found["kelly"] == close_to(2 / 5 - (3 / 5) / 2)
    assert (found["best_trade"], found["worst_trade"]) == (4.0, -2.0)
    assert found["average_bars_held"] == 3.0
    assert found["fees"] == 3.0


def test_system_quality_number_by_hand():
    # Mean 2, deviation sqrt(8) with ddof 1, of two trades.
    assert measured([1.0, 1.0], pnl=[4.0, 0.0])["sqn"] == close_to(math.sqrt(2) * 2 / math.sqrt(8))


def test_trades_that_do_not_vary_have_no_system_quality_number():
    assert "sqn" not in measured([1.0, 1.0], pnl=[4.0])
    assert "sqn" not in measured([1.0, 1.0], pnl=[0.3, 0.1 + 0.2])


def test_best_trade_is_never_a_loss_nor_the_worst_a_gain():
    assert measured([1.0, 1.0], pnl=[1.0, 2.0])["worst_trade"] == 0.0
    assert measured([1.0, 1.0], pnl=[-1.0, -2.0])["best_trade"] == 0.0


def test_no_losing_trade_has_no_profit_factor():
    found = measured([1.0, 1.0], pnl=[1.0, 2.0])
    assert not {"profit_factor", "average_loss", "payoff_ratio", "kelly"} & set(found)
    found = measured([1.0, 1.0], pnl=[-1.0, -2.0])
    assert found["profit_factor"] == 0.0
    assert not {"average_win", "payoff_ratio", "kelly"} & set(found)


def test_open_trades_alone_have_only_a_count():
    found = measured([1.0, 1.0], pnl=[-1.0], open_count=1)
    assert found["trade_count"] == 1
    assert not {"hit_rate", "expectancy", "worst_trade", "profit_factor"} & set(found)


def test_exposure_is_the_share_of_closes_with_a_position():
    assert measured([1.0] * 4, held=[0.0, 2.0, 1.0, 0.0])["exposure"] == 0.5


# --- what is undefined ----------------------------------------------------------------------------


def test_flat_account_has_what_is_defined_and_no_more(make_bars, at):
    found = simulate(make_bars([100.0, 101.0, 102.0]), at(3), at(3)).metrics
    assert not {"sharpe", "sortino", "calmar", "omega", "skew", "kurtosis"} & set(found)
    assert not {"tail_ratio", "hit_rate", "expectancy", "recovery_bars"} & set(found)
    assert found["volatility"] == found["value_at_risk_95"] == found["total_return"] == 0.0


def test_one_return_has_no_figures_of_returns():
    found = measured([100.0, 110.0])
    assert not {"sharpe", "sortino", "volatility", "value_at_risk_95"} & set(found)
    assert found["total_return"] == close_to(0.1)


@pytest.mark.parametrize("equity", [[100.0] * 5, [100.0 * 1.01**i for i in range(50)]])
def test_returns_that_do_not_vary_have_no_ratios(equity):
    found = measured(equity)
    assert not {"sharpe", "sortino", "omega", "skew", "kurtosis"} & set(found)
    assert found["volatility"] == 0.0


def test_gains_alone_have_a_sharpe_and_no_sortino():
    found = measured([100.0, 101.0, 103.0])
    assert "sharpe" in found
    assert not {"sortino", "omega"} & set(found)


def test_fall_that_rounding_alone_can_make_has_no_sortino():
    assert not {"sortino", "omega", "calmar"} & set(measured([1.0, math.nextafter(1.0, 0.0), 2.0]))


def test_equity_that_reached_zero_has_no_returns():
    found = measured([100.0, 0.0, 0.0, 0.0])
    assert not {"sharpe", "sortino", "volatility", "value_at_risk_95"} & set(found)
    assert (found["total_return"], found["cagr"], found["max_drawdown"]) == (-1.0, -1.0, 1.0)


def test_account_in_debt_has_no_growth_rate():
    found = measured([100.0, 50.0, -50.0])
    assert not {"cagr", "calmar"} & set(found)
    assert (found["total_return"], found["max_drawdown"]) == (-1.5, 1.5)


# --- exactness ------------------------------------------------------------------------------------


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
    tail = sorted(returns)[: math.ceil(len(returns) / 20)]
    assert found["value_at_risk_95"] == -tail[-1]
    assert found["conditional_value_at_risk_95"] == pytest.approx(-statistics.fmean(tail), rel=1e-9)


@given(values=st.lists(st.floats(-1e6, 1e6), max_size=600))
def test_sums_run_from_left_to_right(values):
    total = 0.0
    for value in values:
        total += value
    assert sum_in_order(np.array(values, dtype=np.float64)) == total


def test_sum_has_no_negative_zero():
    assert math.copysign(1.0, sum_in_order(np.array([-0.0, -0.0]))) == 1.0


@given(
    equity=st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=12),
    ends=st.floats(-1e300, 1e300),
    pnl=st.lists(st.floats(-1e300, 1e300), max_size=6),
    notional=st.floats(5e-324, 1e300),
    step_ns=st.integers(1, 10**15),
)
def test_every_metric_is_a_finite_number_or_absent(equity, ends, pnl, notional, step_ns):
    found = measured([*equity, ends], pnl=pnl, notional=notional, step_ns=step_ns)
    assert all(math.isfinite(value) for value in found.values())


@pytest.mark.skipif(not compiled.is_available(), reason="numba is not installed")
@given(
    equity=st.lists(st.floats(-1e3, 1e6), min_size=2, max_size=80),
    held=st.lists(st.sampled_from([0, 1]), min_size=80, max_size=80),
)
def test_compiled_figures_are_those_of_the_interpreter(equity, held):
    equity = [abs(equity[0]) + 1.0, *equity[1:]]
    returns, out = [0.0] * (len(equity) - 1), [0.0] * equity_figures.FIGURES
    drawdown = [0.0] * len(equity)
    equity_figures.figures(equity, held[: len(equity)], returns, drawdown, out)
    compiled_returns, compiled_out = np.empty(len(equity) - 1), np.zeros(equity_figures.FIGURES)
    compiled_drawdown = np.empty(len(equity))
    compiled.functions().figures(
        np.array(equity),
        np.array(held[: len(equity)], np.int32),
        compiled_returns,
        compiled_drawdown,
        compiled_out,
    )
    assert compiled_drawdown.tobytes() == np.array(drawdown).tobytes()
    assert compiled_returns.tobytes() == np.array(returns).tobytes()
    assert compiled_out.tobytes() == np.array(out).tobytes()


# --- the page -------------------------------------------------------------------------------------


def test_every_metric_is_on_the_page_and_every_heading_is_a_metric(make_bars, at):
    # Late and slipped, with a win, a loss and a recovery: whatever can be defined is.
    prices = [64.0, 64.0, 80.0, 84.0, 48.0, 40.0, 30.0, 90.0, 150.0, 160.0, 158.0, 159.0]
    late = {"p50": 43_200_000, "p90": 129_600_000, "p99": 129_600_000}
    result = simulate(
        make_bars(prices),
        at(12, 0, 3, 6),
        at(12, 2, 5, 9),
        size=1.0,
        execution={"latency": late, "slippage": {"base": 0.001}},
        costs={"fixed_fee": 1.0},
        seed=1,
    )
    engine_part = PAGE.read_text("utf-8").split("\n---\n")[0]
    headings = re.findall(r"^## ([a-z_0-9]+)$", engine_part, flags=re.MULTILINE)
    assert headings == list(result.metrics)
