"""What the engines trade in their benchmark: a random walk, and crossings of its averages.

Owns the bars, the signals and the models. Signals are made before any clock starts, and are the
same for all: an engine is timed, not its averages.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from research.simulation.indicators import crossovers, simple_moving_average

MINUTE_NS: Final = 60 * 10**9
FEE_BPS: Final = 10.0
SLIPPAGE: Final = 0.0005
SIZE: Final = 10.0
CASH: Final = 1_000_000.0
FAST, SLOW = 20, 100

Bars = dict[str, NDArray[Any]]
Signals = tuple[NDArray[np.bool_], NDArray[np.bool_]]

PLAIN: Final[dict[str, Any]] = {
    "execution": {"slippage": {"base": SLIPPAGE}},
    "costs": {"taker_fee_bps": FEE_BPS},
}

EVERY_MODEL: Final[dict[str, Any]] = {
    "execution": {
        "latency": {"p50": 200.0, "p90": 900.0, "p99": 70_000.0, "jitter": 50.0},
        "slippage": {
            "base": SLIPPAGE,
            "volume_impact": 0.1,
            "max": 0.02,
            "kind": "square_root",
        },
        "failures": {"base_rate": 0.05, "congestion_multiplier": 3.0, "retries": 2},
        "partial_fills": {"probability": 0.1, "fill_range": [0.4, 0.9], "volume_share": 0.1},
    },
    "costs": {
        "taker_fee_bps": FEE_BPS,
        "maker_fee_bps": 2.0,
        "fixed_fee": 0.1,
        "minimum_fee": 0.2,
        "priority_fee": 0.05,
        "priority_fee_max": 1.0,
        "borrow_bps_per_year": 50.0,
    },
    "risk": {
        "stop_loss": {"initial": -0.03, "trailing": -0.04, "activation": 0.01},
        "take_profit": [
            {"multiple": 1.02, "fraction": 0.5},
            {"multiple": 1.05, "fraction": 0.5},
        ],
        "time_limit": {"bars": 500, "hours": 100.0},
        # None of these may end the trading: then there would be nothing to time.
        "max_drawdown": 0.95,
        "max_daily_loss": 0.95,
        "max_consecutive_losses": 10_000,
        "max_position": 1.0,
        "max_exposure": 1.0,
        "throttle": {"max_trades": 50, "window_minutes": 60.0},
        "re_entry": {"cooldown_bars": 1, "max_entries": 100_000},
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """Bars, and one or many pairs of signals over them."""

    bars: Bars
    signals: list[Signals]


def make_bars(bar_count: int, seed: int) -> Bars:
    """Make a random walk of one-minute bars, as the engines want it: contiguous columns."""
    rng = np.random.default_rng([seed, bar_count])
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.002, bar_count)))
    opened = np.empty(bar_count)
    opened[0], opened[1:] = 100.0, close[:-1]
    opened *= np.exp(rng.normal(0.0, 0.0003, bar_count))
    return {
        "at_ns": np.arange(bar_count, dtype=np.int64) * MINUTE_NS,
        "open": opened,
        "high": np.maximum(opened, close) * np.exp(np.abs(rng.normal(0.0, 0.001, bar_count))),
        "low": np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0.0, 0.001, bar_count))),
        "close": close,
        "volume": rng.uniform(1e4, 1e5, bar_count),
    }


def make_market(bar_count: int, seed: int) -> Market:
    """Make bars and the crossings of their averages over 20 and 100 bars."""
    bars = make_bars(bar_count, seed)
    return Market(bars=bars, signals=[_crossings(bars, FAST, SLOW)])


def make_grid(bar_count: int, seed: int, point_count: int) -> Market:
    """Make bars and so many pairs of signals: fast windows 3 to 22, slow ones from 30 on."""
    bars = make_bars(bar_count, seed)
    averages = {
        window: simple_moving_average(bars["close"], window)
        for window in (*range(3, 23), *range(30, 30 + 5 * (point_count // 20), 5))
    }
    fast, slow = [w for w in averages if w < 30], [w for w in averages if w >= 30]
    pairs = [(f, s) for s in slow for f in fast]
    return Market(bars=bars, signals=[crossovers(averages[f], averages[s]) for f, s in pairs])


def _crossings(bars: Bars, fast: int, slow: int) -> Signals:
    averages = [simple_moving_average(bars["close"], window) for window in (fast, slow)]
    return crossovers(averages[0], averages[1])
