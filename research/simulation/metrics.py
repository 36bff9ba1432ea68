"""The figures of a simulation, each defined in `docs/metrics.md`.

Owns the formulas. A metric that is undefined for a sample (no trade, no variance), or that a float
cannot hold, is left out: a quiet 0 would be ranked among real answers.
"""

import decimal
import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from research.simulation import compiled, equity_figures, slots
from research.simulation.session import Played
from research.simulation.units import BPS, DAY_NS, YEAR_NS

RATIO_ROUNDING: Final = 2.0**-50
"""How far the ratio of two equities may be off by rounding alone, with room to spare.

Returns that differ by less do not vary: a deviation of theirs would measure the float, not the
account, and a Sharpe ratio over it would be of the order of 1e14.
"""

TAIL_ONE_IN: Final = 20
"""A tail is one in so many of the returns, 5 %, that are worst or best."""

_TRIED: Final = np.zeros((slots.CANCELLED + 1, slots.LOSSES_IN_A_ROW + 1), np.bool_)
_TRIED[[slots.FILL, slots.PARTIAL, slots.FAILED]] = True
_TRIED[
    slots.REJECTED,
    [slots.NO_CASH, slots.LIMIT_REACHED, slots.PARTIAL_FILL, slots.VOLUME_SHARE],
] = True
"""By the kind and the reason of an event: whether it says what became of an attempt to fill."""

# Every field is given: a context takes what is not from one that a caller may have changed.
_POWERS: Final = decimal.Context(
    prec=34,
    rounding=decimal.ROUND_HALF_EVEN,
    Emin=-999_999,
    Emax=999_999,
    capitals=1,
    clamp=0,
    flags=[],
    traps=[],
)


def measure(
    at_ns: NDArray[np.int64],
    played: Played,
    *,
    is_compiled: bool = False,
    drawdown: NDArray[np.float64] | None = None,
) -> dict[str, float]:
    """Return every metric that is defined; fill in the drawdown at each close, where it is asked.

    Shapes: at_ns, drawdown (T,), T >= 2.
    """
    at_close = np.empty(len(at_ns)) if drawdown is None else drawdown
    returns, figures = _figures(played, at_close, is_compiled)
    elapsed_ns = int(at_ns[-1]) - int(at_ns[0])
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        metrics = _growth_figures(played, elapsed_ns)
        if figures[equity_figures.IS_POSITIVE] and len(returns) > 1:
            metrics |= _return_figures(returns, figures, elapsed_ns)
            metrics |= _tail_figures(returns)
        metrics |= _drawdown_figures(at_ns, figures, metrics.get("cagr"))
        metrics |= _trade_figures(played)
        metrics["exposure"] = figures[equity_figures.HELD_COUNT] / len(played.equity)
        metrics["fees"] = sum_in_order(played.trade_amounts[:, slots.TRADE_FEES])
        metrics |= _order_figures(played, figures[equity_figures.MEAN_EQUITY], elapsed_ns)
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def _figures(
    played: Played, drawdown: NDArray[np.float64], is_compiled: bool
) -> tuple[NDArray[np.float64], list[float]]:
    count = len(played.equity)
    if is_compiled:
        returns, out = np.empty(count - 1), np.zeros(equity_figures.FIGURES)
        compiled.functions().figures(played.equity, played.held, returns, drawdown, out)
        return returns, out.tolist()
    listed, fallen = [0.0] * (count - 1), [0.0] * count
    by_slot = [0.0] * equity_figures.FIGURES
    equity_figures.figures(played.equity.tolist(), played.held.tolist(), listed, fallen, by_slot)
    drawdown[:] = fallen
    return np.array(listed), by_slot


def _growth_figures(played: Played, elapsed_ns: int) -> dict[str, float]:
    first, last = float(played.equity[0]), float(played.equity[-1])
    found = {"total_return": last / first - 1.0}
    if last >= 0.0:
        found["cagr"] = _growth_of(last, first, YEAR_NS, elapsed_ns)
    return found | {"final_equity": last}


def _growth_of(last: float, first: float, times: int, parts: int) -> float:
    """Return (last / first) ** (times / parts) - 1, rounded alike everywhere.

    The power of a C library is not; a metric may not depend on the machine.
    """
    ratio = _POWERS.divide(decimal.Decimal(last), decimal.Decimal(first))
    exponent = _POWERS.divide(decimal.Decimal(times), decimal.Decimal(parts))
    return float(_POWERS.subtract(_POWERS.power(ratio, exponent), decimal.Decimal(1)))


def _return_figures(
    returns: NDArray[np.float64], figures: list[float], elapsed_ns: int
) -> dict[str, float]:
    """Return what is defined over the returns from close to close.

    Source: Sharpe, "The Sharpe Ratio", J. Portfolio Management 21(1), 1994; Sortino and Price,
            "Performance Measurement in a Downside Risk Framework", J. Investing 3(3), 1994.
    """
    count, mean = len(returns), figures[equity_figures.MEAN]
    # In whole nanoseconds, then one division: elapsed years are not rounded on the way.
    bars_per_year = count * YEAR_NS / elapsed_ns
    year = math.sqrt(bars_per_year)
    found = {"volatility": 0.0}
    is_varied = figures[equity_figures.MOST] - figures[equity_figures.LEAST] > RATIO_ROUNDING
    is_ever_down = figures[equity_figures.LEAST] < -RATIO_ROUNDING
    if is_varied:
        deviation = math.sqrt(figures[equity_figures.SQUARES] / (count - 1))
        found["volatility"] = deviation * year
        found["sharpe"] = mean / deviation * year
    if is_ever_down:
        downside = math.sqrt(figures[equity_figures.DOWNSIDE] / count)
        found["sortino"] = mean / downside * year
        found["omega"] = figures[equity_figures.GAINS] / figures[equity_figures.LOSSES]
    if is_varied:
        second = figures[equity_figures.SQUARES] / count
        found["skew"] = figures[equity_figures.CUBES] / count / (second * math.sqrt(second))
        found["kurtosis"] = figures[equity_figures.FOURTHS] / count / (second * second)
    return found


def _tail_figures(returns: NDArray[np.float64]) -> dict[str, float]:
    """Return the figures of the worst and the best returns, by rank: none is interpolated."""
    count = len(returns)
    rank = -(-count // TAIL_ONE_IN)
    # Sorted whole: where many are equal, as those of flat bars are, a partition can take ten times
    # as long.
    ranked = np.sort(returns)
    worst, best = ranked[:rank], float(ranked[count - rank])
    at_risk = 0.0 - float(worst[-1])  # not -x: a zero has no sign here
    found = {
        "value_at_risk_95": at_risk,
        "conditional_value_at_risk_95": 0.0 - sum_in_order(worst) / rank,
    }
    if at_risk > RATIO_ROUNDING and best >= 0.0:
        found["tail_ratio"] = best / at_risk
    return found


def _drawdown_figures(
    at_ns: NDArray[np.int64], figures: list[float], cagr: float | None
) -> dict[str, float]:
    """Return how far and how long the account was below a peak; what has not come is absent."""
    deepest = figures[equity_figures.MAX_DRAWDOWN]
    found = {"max_drawdown": deepest, "average_drawdown": figures[equity_figures.MEAN_DRAWDOWN]}
    if cagr is not None and deepest > RATIO_ROUNDING:
        found["calmar"] = cagr / deepest
    trough, recovery = (
        int(figures[equity_figures.TROUGH_BAR]),
        int(figures[equity_figures.RECOVERY_BAR]),
    )
    if recovery >= 0:
        found["recovery_bars"] = recovery - trough
        found["recovery_days"] = _days(at_ns, trough, recovery)
    first, last = int(figures[equity_figures.LONGEST_FROM]), int(figures[equity_figures.LONGEST_TO])
    found["longest_drawdown_bars"] = last - first
    found["longest_drawdown_days"] = _days(at_ns, first, last)
    return found


def _days(at_ns: NDArray[np.int64], first: int, last: int) -> float:
    return (int(at_ns[last]) - int(at_ns[first])) / DAY_NS


def _trade_figures(played: Played) -> dict[str, float]:
    """Return what is counted over trades; those still open count in trade_count alone."""
    is_closed = played.trade_codes[:, slots.TRADE_EXIT] >= 0
    codes, closed = played.trade_codes[is_closed], played.trade_amounts[is_closed]
    pnl = closed[:, slots.TRADE_PNL]
    count = len(pnl)
    found: dict[str, float] = {"trade_count": len(played.trade_codes)}
    if not count:
        return found
    wins, losses = pnl[pnl > 0.0], pnl[pnl < 0.0]
    mean = sum_in_order(pnl) / count
    found["hit_rate"] = len(wins) / count
    found["expectancy"] = mean
    if len(wins):
        found["average_win"] = sum_in_order(wins) / len(wins)
    if len(losses):
        found["average_loss"] = sum_in_order(losses) / len(losses)
        found["profit_factor"] = sum_in_order(wins) / -sum_in_order(losses)
    if found.get("average_win", 0.0) > 0.0 > found.get("average_loss", 0.0):
        payoff = found["average_win"] / -found["average_loss"]
        found["payoff_ratio"] = payoff
        lost = -found["average_loss"] / found["average_win"]
        found["kelly"] = found["hit_rate"] - (1.0 - found["hit_rate"]) * lost
    largest = float((closed[:, slots.TRADE_QUANTITY] * closed[:, slots.TRADE_ENTRY_PRICE]).max())
    if float(pnl.max()) - float(pnl.min()) > RATIO_ROUNDING * largest:
        distances = pnl - mean
        deviation = math.sqrt(sum_in_order(distances * distances) / (count - 1))
        if deviation > 0.0:
            found["sqn"] = math.sqrt(count) * (mean / deviation)
    found["best_trade"] = max(0.0, float(pnl.max()))
    found["worst_trade"] = min(0.0, float(pnl.min()))
    bars = codes[:, slots.TRADE_EXIT] - codes[:, slots.TRADE_ENTRY]
    found["average_bars_held"] = int(bars.sum()) / count
    return found


def _order_figures(played: Played, mean_equity: float, elapsed_ns: int) -> dict[str, float]:
    """Return what fills came to, and what slippage and lateness took; all of it is in the events.

    Without events there was no fill if there is no trade; otherwise they were not kept, and what
    they would say is not known.
    """
    codes, amounts = played.event_codes, played.event_amounts
    if not len(codes) and len(played.trade_codes):
        return {}
    kinds = codes[:, slots.EVENT_KIND]
    is_fill = (kinds == slots.FILL) | (kinds == slots.PARTIAL)
    filled, start = amounts[is_fill], float(played.equity[0])
    sign = np.where(codes[is_fill, slots.EVENT_SIDE] == slots.BUY, 1.0, -1.0)
    quantity, price = filled[:, slots.EVENT_QUANTITY], filled[:, slots.EVENT_PRICE]
    slippage = filled[:, slots.EVENT_SLIPPAGE]
    market = price / (1.0 + sign * slippage)
    traded = sum_in_order(quantity * price)
    found: dict[str, float] = {}
    if mean_equity > 0.0:
        found["turnover"] = traded / mean_equity * (YEAR_NS / elapsed_ns)
    found["fee_sensitivity"] = 0.0 - traded / start / BPS
    found["slippage_cost"] = sum_in_order(quantity * market * slippage) / start
    late = codes[is_fill, slots.EVENT_LATE]
    is_late = late > 0
    worse = (sign * quantity * (market - filled[:, slots.EVENT_REFERENCE]))[is_late]
    cost = sum_in_order(worse) / start
    found["latency_cost"] = cost
    if len(worse):
        mean_bars = int(late[is_late].sum()) / np.count_nonzero(late >= 0)
        found["latency_sensitivity"] = 0.0 - cost / mean_bars
    tried = int(np.count_nonzero(_TRIED[kinds, codes[:, slots.EVENT_REASON]]))
    if tried:
        found["fill_rate"] = len(filled) / tried
    return found


def sum_in_order(values: NDArray[np.float64]) -> float:
    """Return the sum taken from left to right, one addition after another.

    np.sum adds in groups, in an order that numpy does not promise, and Python's sum changed its
    rounding in 3.12: either could give one account two Sharpe ratios. accumulate is defined as this
    order, which a compiled loop keeps as well.
    """
    return float(np.add.accumulate(values)[-1]) + 0.0 if len(values) else 0.0  # never -0.0
