"""The metrics against those of other libraries, where the definitions agree.

The libraries are not needed to work on this project, so a test is skipped where its library is not
installed: empyrical-reloaded and scipy for what is made of returns, backtesting.py and vectorbt for
what is made of trades. Where a definition differs, `docs/metrics.md` says so.
"""

import warnings

import numpy as np
import pytest

from research.simulation.engine import simulate
from research.simulation.units import YEAR_NS

DAY_NS = 86_400 * 10**9
MARKETS = range(20)
CLOSE = 1e-9
"""How far two ways to compute one figure may be apart by rounding, relatively."""

# Such warnings are between those libraries and theirs.
pytestmark = pytest.mark.filterwarnings("ignore")


def library(name, distribution):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason=f"{distribution} is not installed")


@pytest.fixture(scope="module")
def empyrical():
    return library("empyrical", "empyrical-reloaded")


def market(number, bar_count=501):
    """A random walk with gaps, and signals that turn about every sixth bar."""
    chance = np.random.default_rng(number)
    close = 100.0 * np.exp(np.cumsum(chance.normal(0.0004, 0.015, bar_count)))
    opens = np.concatenate([[100.0], close[:-1]]) * np.exp(chance.normal(0.0, 0.003, bar_count))
    bars = {
        "at_ns": 915_408_000 * 10**9 + np.arange(bar_count, dtype=np.int64) * DAY_NS,
        "open": opens,
        "high": np.maximum(opens, close) * 1.001,
        "low": np.minimum(opens, close) * 0.999,
        "close": close,
        "volume": np.full(bar_count, 1e6),
    }
    turns = chance.random(bar_count) < 0.15
    entries = turns & (chance.random(bar_count) < 0.5)
    entries[-1] = False  # an order on the last bar has no next open, here or there
    exits = turns & ~entries
    exits[-1] = False
    return bars, entries, exits


def account(number):
    bars, entries, exits = market(number)
    result = simulate(
        bars,
        entries,
        exits,
        size=10.0,
        cash=10_000.0,
        execution={"slippage": {"base": 0.001}},
        costs={"taker_fee_bps": 10.0},
    )
    assert result.metrics["trade_count"] > 10
    return bars, entries, exits, result


def returns_of(result):
    return result.equity[1:] / result.equity[:-1] - 1.0


def agrees(found, expected, case):
    assert found == pytest.approx(float(expected), rel=CLOSE, abs=1e-12), case


@pytest.mark.parametrize("number", MARKETS)
def test_returns_against_empyrical(empyrical, number):
    bars, _, _, result = account(number)
    returns, metrics = returns_of(result), result.metrics
    per_year = len(returns) * YEAR_NS / int(bars["at_ns"][-1] - bars["at_ns"][0])
    yearly = {"annualization": per_year}
    agrees(metrics["total_return"], empyrical.cum_returns_final(returns), "total_return")
    agrees(metrics["cagr"], empyrical.annual_return(returns, **yearly), "cagr")
    agrees(metrics["volatility"], empyrical.annual_volatility(returns, **yearly), "volatility")
    agrees(metrics["sharpe"], empyrical.sharpe_ratio(returns, **yearly), "sharpe")
    agrees(metrics["sortino"], empyrical.sortino_ratio(returns, **yearly), "sortino")
    agrees(metrics["calmar"], empyrical.calmar_ratio(returns, **yearly), "calmar")
    agrees(metrics["omega"], empyrical.omega_ratio(returns), "omega")
    agrees(metrics["max_drawdown"], -empyrical.max_drawdown(returns), "max_drawdown")
    at_risk = -empyrical.conditional_value_at_risk(returns, cutoff=0.05)
    agrees(metrics["conditional_value_at_risk_95"], at_risk, "conditional_value_at_risk_95")


@pytest.mark.parametrize("number", MARKETS)
def test_tails_against_empyrical_where_it_need_not_interpolate(empyrical, number):
    # Of 20 k + 1 returns its percentiles are returns, and no mixtures of two.
    bars, entries, exits = market(number, 20 * 25 + 2)
    result = simulate(bars, entries, exits, size=10.0, cash=10_000.0)
    returns, metrics = returns_of(result), result.metrics
    agrees(metrics["value_at_risk_95"], -empyrical.value_at_risk(returns, cutoff=0.05), "at risk")
    agrees(metrics["tail_ratio"], empyrical.tail_ratio(returns), "tail_ratio")


@pytest.mark.parametrize("number", MARKETS)
def test_shape_against_scipy(number):
    stats = library("scipy.stats", "scipy")
    _, _, _, result = account(number)
    returns = returns_of(result)
    agrees(result.metrics["skew"], stats.skew(returns), "skew")
    agrees(result.metrics["kurtosis"], stats.kurtosis(returns, fisher=False), "kurtosis")


@pytest.mark.parametrize("number", MARKETS)
def test_value_at_risk_against_numpy(number):
    _, _, _, result = account(number)
    quantile = np.quantile(returns_of(result), 0.05, method="inverted_cdf")
    assert result.metrics["value_at_risk_95"] == -quantile


@pytest.mark.parametrize("number", MARKETS)
def test_trades_and_durations_against_backtesting(number):
    """Of one account its statistics: it is given the trades and the equity."""
    stats = library("backtesting._stats", "backtesting")
    pandas = library("pandas", "pandas")
    bars, _, _, result = account(number)
    index = pandas.DatetimeIndex(bars["at_ns"])
    names = {"Open": "open", "High": "high", "Low": "low", "Close": "close", "Volume": "volume"}
    prices = pandas.DataFrame({theirs: bars[ours] for theirs, ours in names.items()}, index=index)
    trades = pandas.DataFrame(result.trades)
    closed = trades[trades["exit_bar"] >= 0]
    given = pandas.DataFrame(
        {
            "EntryBar": closed["entry_bar"],
            "ExitBar": closed["exit_bar"],
            "PnL": closed["pnl"],
            "ReturnPct": closed["pnl"] / (closed["quantity"] * closed["entry_price"]),
            "Duration": index[closed["exit_bar"]] - index[closed["entry_bar"]],
        }
    )

    class Strategy:
        _indicators = ()

    found = stats.compute_stats(given, result.equity, prices, Strategy(), 0.0)
    metrics = result.metrics
    agrees(metrics["final_equity"], found["Equity Final [$]"], "final_equity")
    agrees(metrics["total_return"], found["Return [%]"] / 100, "total_return")
    # It takes a year of 365.25 days from the first bar to the last, as we do.
    agrees(metrics["cagr"], found["CAGR [%]"] / 100, "cagr")
    agrees(metrics["max_drawdown"], -found["Max. Drawdown [%]"] / 100, "max_drawdown")
    longest = found["Max. Drawdown Duration"].total_seconds() * 1e9 / DAY_NS
    assert metrics["longest_drawdown_days"] == longest
    agrees(metrics["hit_rate"], found["Win Rate [%]"] / 100, "hit_rate")
    agrees(metrics["sqn"], found["SQN"], "sqn")
    agrees(metrics["kelly"], found["Kelly Criterion"], "kelly")
    days_held = given["Duration"].mean().total_seconds() * 1e9 / DAY_NS
    agrees(metrics["average_bars_held"], days_held, "average_bars_held")


@pytest.mark.parametrize("number", MARKETS)
def test_whole_account_against_vectorbt(number):
    """From the signals on: its own fills, trades and figures."""
    vectorbt = library("vectorbt", "vectorbt")
    pandas = library("pandas", "pandas")
    bars, entries, exits, result = account(number)
    index = pandas.DatetimeIndex(bars["at_ns"])

    def later(signals):
        return pandas.Series(np.concatenate([[False], signals[:-1]]), index=index)

    portfolio = vectorbt.Portfolio.from_signals(
        pandas.Series(bars["close"], index=index),
        later(entries),
        later(exits),
        price=pandas.Series(bars["open"], index=index),
        size=10.0,
        slippage=0.001,
        fees=0.001,
        init_cash=10_000.0,
        accumulate=False,
    )
    metrics, closed = result.metrics, portfolio.trades.closed
    assert portfolio.trades.count() == metrics["trade_count"]
    agrees(metrics["total_return"], portfolio.total_return(), "total_return")
    agrees(metrics["final_equity"], portfolio.final_value(), "final_equity")
    agrees(metrics["max_drawdown"], -portfolio.max_drawdown(), "max_drawdown")
    agrees(metrics["fees"], portfolio.orders.fees.sum(), "fees")
    agrees(metrics["hit_rate"], closed.win_rate(), "hit_rate")
    agrees(metrics["profit_factor"], closed.profit_factor(), "profit_factor")
    agrees(metrics["expectancy"], closed.expectancy(), "expectancy")
    agrees(metrics["average_win"], closed.winning.pnl.mean(), "average_win")
    agrees(metrics["average_loss"], closed.losing.pnl.mean(), "average_loss")
    agrees(metrics["sqn"], closed.sqn(), "sqn")
    agrees(metrics["exposure"], portfolio.position_mask().mean(), "exposure")
