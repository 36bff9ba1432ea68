"""The engines of the benchmark: what each is given, and what is asked of it.

Owns how each is called at its quickest. What it needs in its own form is made before the clock
starts. Asked for are trades, equity, and the figures that all of them have: return, Sharpe ratio,
largest drawdown. Ours always makes every figure of docs/metrics.md, and the events.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, Final

import numpy as np

from benchmarks.engine_market import CASH, FEE_BPS, PLAIN, SIZE, SLIPPAGE, Market, Signals
from research.simulation import compiled
from research.simulation.engine import simulate
from research.simulation.engines.raptorbt import compiled_part
from research.simulation.sweep import SweepPoint, simulate_many

Ask = Callable[[], int]
"""Asks once; returns how many trades there were."""

_RATE: Final = FEE_BPS / 10_000.0
_COLUMNS: Final = ("at_ns", "open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """An engine by the name it has on the page."""

    name: str
    version: str
    ask: Callable[[Market], Ask]
    """Asks for the one pair of signals of a market."""
    sweep: Callable[[Market], Ask]
    """Asks for all pairs, on one thread where it can be told so."""


def ours(options: Mapping[str, Any] = PLAIN) -> Contender:
    """Return our engine, as it is when the kernel is compiled."""
    return Contender(
        name="ours, compiled",
        version=f"kernel {compiled.source_mark()}",
        ask=lambda market: lambda: _ask_us(market, options),
        sweep=lambda market: lambda: _sweep_us(market, options),
    )


def installed() -> list[Contender]:
    """Return the other engines that are here."""
    found = []
    for implementation, package in (("rust", "vectorbt-rust"), ("numba", "vectorbt")):
        if find_spec(package.replace("-", "_")):
            found.append(_vectorbt(implementation, version(package)))
    with contextlib.suppress(PackageNotFoundError):
        found.append(_raptorbt(version("raptorbt")))
    return found


def _ask_us(market: Market, options: Mapping[str, Any]) -> int:
    entries, exits = market.signals[0]
    result = simulate(market.bars, entries, exits, size=SIZE, cash=CASH, **options)
    return len(result.trades["pnl"])


def _sweep_us(market: Market, options: Mapping[str, Any]) -> int:
    points = (
        SweepPoint(entries=entries, exits=exits, size=SIZE, cash=CASH, **options)
        for entries, exits in market.signals
    )
    return sum(int(each.metrics["trade_count"]) for each in simulate_many(market.bars, points))


def _vectorbt(implementation: str, release: str) -> Contender:
    def ask(market: Market) -> Ask:
        columns = {name: market.bars[name] for name in ("close", "open", "high", "low")}
        return _vectorbt_asked(implementation, columns, _later(market.signals[0]))

    def sweep(market: Market) -> Ask:
        columns = {name: market.bars[name][:, None] for name in ("close", "open", "high", "low")}
        shifted = [_later(pair) for pair in market.signals]
        entries, exits = (np.stack([pair[side] for pair in shifted], axis=1) for side in (0, 1))
        return _vectorbt_asked(implementation, columns, (entries, exits))

    return Contender(
        name=f"vectorbt, {implementation}",
        version=f"vectorbt {release}, {implementation}",
        ask=ask,
        sweep=sweep,
    )


def _vectorbt_asked(implementation: str, columns: dict[str, Any], signals: Any) -> Ask:
    import vectorbt

    def asked() -> int:
        portfolio = vectorbt.Portfolio.from_signals(
            columns["close"],
            signals[0],
            signals[1],
            price=columns["open"],
            size=SIZE,
            fees=_RATE,
            slippage=SLIPPAGE,
            accumulate=False,
            init_cash=CASH,
            freq="1min",
            engine=implementation,
        )
        records = portfolio.trades.values
        portfolio.value(), portfolio.total_return(), portfolio.sharpe_ratio()
        portfolio.max_drawdown()
        return len(records)

    return asked


def _raptorbt(release: str) -> Contender:
    raptorbt = compiled_part()
    config = raptorbt.BacktestConfig(
        initial_capital=CASH, fees=_RATE, slippage=SLIPPAGE, fill_timing="next_bar_open"
    )

    def ask(market: Market) -> Ask:
        columns = [market.bars[name] for name in _COLUMNS]
        entries, exits = market.signals[0]

        def asked() -> int:
            result = raptorbt.run_single_backtest(*columns, entries, exits, 1, 1.0, "asset", config)
            result.equity_curve(), result.metrics.to_dict()
            return len(result.trades())

        return asked

    def sweep(market: Market) -> Ask:
        columns = [market.bars[name] for name in _COLUMNS]

        def asked() -> int:
            items = [
                raptorbt.BatchSingleItem(str(number), entries, exits)
                for number, (entries, exits) in enumerate(market.signals)
            ]
            results = raptorbt.batch_single_backtest(*columns, items, config)
            return sum(result.metrics.total_trades for _, result in results)

        return asked

    return Contender(name="raptorbt", version=f"raptorbt {release}", ask=ask, sweep=sweep)


def _later(signals: Signals) -> Signals:
    entries, exits = (np.concatenate((np.zeros(1, np.bool_), signal[:-1])) for signal in signals)
    return entries, exits
