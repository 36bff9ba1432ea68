"""The figures of a simulation, each defined in `docs/metrics.md`.

A metric that is undefined for a sample (no trade, no variance, one bar), or that a float cannot
hold, is left out: a quiet 0 would be ranked among real answers.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

YEAR_NS: Final = 31_557_600 * 10**9
"""365.25 days."""

RATIO_ROUNDING: Final = 2.0**-50
"""How far the ratio of two equities may be off by rounding alone, with room to spare.

Returns that differ by less do not vary: a deviation of theirs would measure the float, not the
account, and a Sharpe ratio over it would be of the order of 1e14.
"""


def measure(
    at_ns: NDArray[np.int64],
    equity: NDArray[np.float64],
    held: NDArray[np.float64],
    trades: Mapping[str, NDArray[Any]],
) -> dict[str, float]:
    """Return every metric that is defined.

    Shapes: at_ns, equity, held (T,), T >= 1; the columns of trades (N,).
    """
    metrics: dict[str, float] = {}
    with np.errstate(over="ignore", invalid="ignore"):
        metrics["total_return"] = float(equity[-1] / equity[0]) - 1.0
        metrics |= _ratios(at_ns, equity)
        metrics["max_drawdown"] = max_drawdown(equity)
        metrics |= _trade_figures(trades)
        metrics["exposure"] = int(np.count_nonzero(held)) / len(held)
        metrics["fees"] = sum_in_order(trades["fees"])
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def _ratios(at_ns: NDArray[np.int64], equity: NDArray[np.float64]) -> dict[str, float]:
    """Return the Sharpe and Sortino ratios of the returns from close to close.

    Source: Sharpe, "The Sharpe Ratio", J. Portfolio Management 21(1), 1994; Sortino and Price,
            "Performance Measurement in a Downside Risk Framework", J. Investing 3(3), 1994.
    """
    if len(equity) < 3 or not (equity[:-1] > 0.0).all():
        return {}
    returns = equity[1:] / equity[:-1] - 1.0
    count = len(returns)
    mean = sum_in_order(returns) / count
    # In whole nanoseconds, then one division: elapsed years are not rounded on the way.
    bars_per_year = count * YEAR_NS / (int(at_ns[-1]) - int(at_ns[0]))
    ratios = {}
    if returns.max() - returns.min() > RATIO_ROUNDING:
        deviations = returns - mean
        deviation = math.sqrt(sum_in_order(deviations * deviations) / (count - 1))
        ratios["sharpe"] = mean / deviation * math.sqrt(bars_per_year)
    if returns.min() < -RATIO_ROUNDING:
        losses = np.minimum(returns, 0.0)
        downside = math.sqrt(sum_in_order(losses * losses) / count)
        ratios["sortino"] = mean / downside * math.sqrt(bars_per_year)
    return ratios


def max_drawdown(equity: NDArray[np.float64]) -> float:
    """Return the largest fall from an earlier peak, as a positive fraction of the peak.

    Shapes: equity (T,), T >= 1, the first above 0.
    """
    peak = np.maximum.accumulate(equity)
    return float(((peak - equity) / peak).max())


def _trade_figures(trades: Mapping[str, NDArray[Any]]) -> dict[str, float]:
    """Return what is counted over trades; those still open count in trade_count alone."""
    pnl = trades["pnl"][trades["exit_bar"] >= 0]
    wins, losses = pnl[pnl > 0.0], pnl[pnl < 0.0]
    figures: dict[str, float] = {}
    if len(pnl):
        figures["hit_rate"] = len(wins) / len(pnl)
    if len(losses):
        figures["profit_factor"] = sum_in_order(wins) / -sum_in_order(losses)
    figures["trade_count"] = len(trades["trade_id"])
    return figures


def sum_in_order(values: NDArray[np.float64]) -> float:
    """Return the sum taken from left to right, one addition after another.

    np.sum adds in groups, in an order that numpy does not promise, and Python's sum changed its
    rounding in 3.12: either could give one account two Sharpe ratios. accumulate is defined as this
    order, which a compiled loop keeps as well.
    """
    return float(np.add.accumulate(values)[-1]) if len(values) else 0.0
