"""A trend signal on a synthetic price, to see that the machinery runs, and twice alike.

Needs no data and nothing but the standard library, so it is the first run of a new workspace. Every
sum runs from left to right in plain floats: Python's `sum` changed its rounding in 3.12, and the
figures must not depend on that.
"""

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path

from research import ExperimentSpec, ParameterError, save_table

DAYS_PER_YEAR = 252

DEFAULT_SPEC = ExperimentSpec(
    experiment_id="gamma_signal_sanity",
    name="Gamma signal sanity",
    description=(
        "Follow a moving average of a synthetic price (geometric Brownian motion, daily): long "
        "the day after a close above it, short the day after any other. No data, no costs."
    ),
    parameters={
        "n_days": 252,
        "start_price": 100.0,
        "drift": 0.0002,
        "vol": 0.01,
        "ma_window": 20,
    },
    metrics=["sharpe_like", "hit_rate", "max_drawdown"],
    seed=42,
    constraints=[
        "n_days >= 2",
        "start_price > 0",
        "vol >= 0",
        "1 <= ma_window",
        "ma_window < n_days",
    ],
)


def run(spec: ExperimentSpec, output_dir: Path) -> dict[str, float]:
    """Draw a price, follow its average, and return the figures of the strategy."""
    parameters = spec.parameters
    log_returns = draw_log_returns(
        random.Random(spec.seed), parameters["n_days"], parameters["drift"], parameters["vol"]
    )
    prices = price_path(log_returns, parameters["start_price"])
    signals = trend_signals(prices, parameters["ma_window"])
    strategy = strategy_log_returns(signals, log_returns)
    equity = equity_path(strategy)

    day_count = len(strategy)
    mean, deviation = mean_and_deviation(strategy)
    metrics = {
        "sharpe_like": mean / deviation * math.sqrt(DAYS_PER_YEAR) if deviation > 0.0 else 0.0,
        "hit_rate": sum(1 for value in strategy if value > 0.0) / day_count,
        "max_drawdown": max_drawdown(equity),
    }
    save_table(
        output_dir,
        "equity",
        {"t": list(range(day_count + 1)), "equity": equity},
        units={"t": "days", "equity": "multiple of the start"},
    )
    summary = {
        "n_days": day_count,
        "days_long": signals.count(1),
        "days_short": signals.count(-1),
        "days_without_signal": signals.count(0),
        "first_price": prices[0],
        "last_price": prices[-1],
        "lowest_price": min(prices),
        "highest_price": max(prices),
        "mean_strategy_log_return": mean,
        "last_equity": equity[-1],
    }
    text = json.dumps(summary, indent=2, sort_keys=True) + "\n"
    (output_dir / "series_summary.json").write_bytes(text.encode("utf-8"))
    return metrics


def draw_log_returns(
    source: random.Random, day_count: int, drift: float, vol: float
) -> list[float]:
    """Draw one normal log return for each day."""
    return [drift + vol * source.gauss(0.0, 1.0) for _ in range(day_count)]


def price_path(log_returns: Sequence[float], start_price: float) -> list[float]:
    """Return the close of each day: the start price moved by all returns so far.

    Raises: ParameterError if a price is more than a float can hold.
    """
    prices = []
    log_price = math.log(start_price)
    for value in log_returns:
        log_price += value
        prices.append(_exponential(log_price))
    return prices


def trend_signals(prices: Sequence[float], window: int) -> list[int]:
    """Return 1 where a close is above the average of the last `window`, else -1.

    The average includes the close itself; where there are not yet as many closes the signal is 0.
    """
    signals = []
    for day, price in enumerate(prices):
        if day + 1 < window:
            signals.append(0)
            continue
        total = 0.0
        for close in prices[day + 1 - window : day + 1]:
            total += close
        signals.append(1 if price > total / window else -1)
    return signals


def strategy_log_returns(signals: Sequence[int], log_returns: Sequence[float]) -> list[float]:
    """Return each day's log return under the signal of the day before; 0 on the first day."""
    following = zip(signals[:-1], log_returns[1:], strict=True)
    return [0.0, *(signal * value for signal, value in following)]


def equity_path(log_returns: Sequence[float]) -> list[float]:
    """Return the worth of 1.0 at the start and after each day.

    Raises: ParameterError if it is more than a float can hold.
    """
    equity = [1.0]
    for value in log_returns:
        equity.append(equity[-1] * _exponential(value))
    if not math.isfinite(equity[-1]):
        raise ParameterError("drift, vol and n_days together take the equity past every float")
    return equity


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the sample standard deviation (ddof 1)."""
    total = 0.0
    for value in values:
        total += value
    mean = total / len(values)
    squares = 0.0
    for value in values:
        squares += (value - mean) * (value - mean)
    return mean, math.sqrt(squares / (len(values) - 1))


def max_drawdown(equity: Sequence[float]) -> float:
    """Return the largest fall from an earlier peak, as a positive fraction of the peak."""
    peak = equity[0]
    largest = 0.0
    for value in equity:
        peak = max(peak, value)
        largest = max(largest, (peak - value) / peak)
    return largest


def _exponential(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        raise ParameterError(
            "drift, vol and n_days together take the price past every float"
        ) from None
