"""Benchmark the statistics: ``make bench-statistics``.

Owns the measurements and their targets. Each figure is of one call on data that is ready, so it is
what `ros trials` or a gate waits for.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from benchmarks import page
from benchmarks.instruments import machine_line, median_ms, options, seconds_each
from benchmarks.page import Table, number
from research import statistics

_DAYS: Final = 2500
_TRIALS: Final = 100
_SCALAR_TURNS: Final = 20_000
_TURNS: Final = 15

Row = list[str]


def scalar_rows() -> list[Row]:
    """Measure what needs a few numbers only."""
    shape = (0.1, _DAYS, -0.5, 6.0)
    asked: list[tuple[str, Callable[[int], object]]] = [
        ("PSR", lambda _: statistics.probabilistic_sharpe_ratio(*shape)),
        ("DSR", lambda _: statistics.deflated_sharpe_ratio(*shape, _TRIALS, 0.002)),
    ]
    return [
        [name, f"{median_ms(seconds_each(_SCALAR_TURNS, act)):.4f}", "1", "one call"]
        for name, act in asked
    ]


def series_rows(returns: np.ndarray, probabilities: np.ndarray) -> list[Row]:
    """Measure what reads return series."""
    one = returns[:, 0]
    shape = f"{returns.shape[1]} trials x {len(returns):,} days"
    asked: list[tuple[str, str, str, Callable[[int], object]]] = [
        (
            "moments of a series",
            page.NOTHING,
            f"{len(one):,} days",
            lambda _: statistics.moments(one),
        ),
        (
            "PBO, 16 blocks",
            "2,000",
            f"{shape}, 12,870 splits",
            lambda _: statistics.probability_of_backtest_overfitting(returns),
        ),
        (
            "PBO, 20 blocks",
            page.NOTHING,
            f"{shape}, 184,756 splits",
            lambda _: statistics.probability_of_backtest_overfitting(returns, 20),
        ),
        ("effective trials", page.NOTHING, shape, lambda _: statistics.effective_trials(returns)),
        (
            "interval of the Sharpe ratio",
            page.NOTHING,
            "2,000 resamples",
            lambda turn: statistics.sharpe_interval(one, 252, seed=turn),
        ),
        (
            "interval of the drawdown",
            page.NOTHING,
            "2,000 resamples",
            lambda turn: statistics.drawdown_interval(one, seed=turn),
        ),
        (
            "Benjamini-Hochberg",
            page.NOTHING,
            f"{len(probabilities):,} p-values",
            lambda _: statistics.benjamini_hochberg(probabilities),
        ),
    ]
    return [
        [name, number(median_ms(seconds_each(_TURNS, act))), target, beside]
        for name, target, beside, act in asked
    ]


def main() -> None:
    """Measure, and print the figures with their targets beside them."""
    asked = options("The statistics.").parse_args()
    chance = np.random.default_rng(asked.seed)
    returns = chance.normal(0.0003, 0.01, (_DAYS, _TRIALS))
    rows = scalar_rows() + series_rows(returns, chance.random(100_000))
    page.publish(
        "statistics",
        [machine_line(), f"seed {asked.seed}; medians"],
        [Table(title="The statistics", header=["what", "ms", "target", "of"], rows=rows)],
        as_markdown=asked.markdown,
        into_docs=asked.write_docs,
    )


if __name__ == "__main__":
    main()
