"""Which way each metric is better: up, down, or neither.

Owns the one table, of the metrics that ``docs/metrics.md`` defines. A metric that it does not know,
an experiment's own, has no direction: nobody here can tell what is good of it.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

Direction = Literal["up", "down"]
Side = Literal["a", "b"]

# A loss is a negative number, so `average_loss` and `worst_trade` are better the higher they are.
_UP: Final = (
    "total_return cagr final_equity sharpe sortino omega tail_ratio calmar hit_rate expectancy"
    " average_win average_loss profit_factor payoff_ratio kelly sqn best_trade worst_trade"
    " fill_rate sharpe_like"
)
_DOWN: Final = (
    "volatility value_at_risk_95 conditional_value_at_risk_95 max_drawdown average_drawdown"
    " recovery_bars recovery_days longest_drawdown_bars longest_drawdown_days fees slippage_cost"
    " latency_cost"
)
# What describes a strategy, and makes it neither better nor worse.
_NEITHER: Final = (
    "skew kurtosis trade_count average_bars_held exposure turnover fee_sensitivity"
    " latency_sensitivity"
)

DIRECTIONS: Final[Mapping[str, Direction | None]] = {
    **dict.fromkeys(_UP.split(), "up"),
    **dict.fromkeys(_DOWN.split(), "down"),
    **dict.fromkeys(_NEITHER.split()),
}


def better_side(name: str, a: Any, b: Any) -> Side | None:
    """Say which of two values of a metric is the better one; None if neither is, or none can tell.

    A number is better than NaN.
    """
    direction = DIRECTIONS.get(name)
    if direction is None or not (_is_number(a) and _is_number(b)):
        return None
    if a != a or b != b:
        return None if a != a and b != b else "b" if a != a else "a"
    if a == b:
        return None
    return "b" if (b > a) == (direction == "up") else "a"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
