"""The adapter of raptorbt: its `run_single_backtest`, under our conventions.

Owns the switches that make it agree, told in `docs/engines.md`. raptorbt sizes an entry as a
fraction of its cash. Where units or money are asked for, it is run twice: prices and bars do not
depend on sizes, so the first run says which fraction each entry of the second has to be.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from research.simulation import slots
from research.simulation.engines.answer import Trades, answered
from research.simulation.engines.errors import CannotActOn, EngineMissing
from research.simulation.engines.question import Question
from research.simulation.result import SimulationResult
from research.simulation.session import ARRAYS

RAPTORBT: Final = "raptorbt"
_EXTRA: Final = "research-os[raptorbt]"

_ACTS_ON: Final = frozenset(
    [
        "sizing.units",
        "sizing.cash",
        "sizing.equity_fraction",
        "execution.slippage.base",
        "costs.taker_fee_bps",
        "costs.maker_fee_bps",
        "risk.stop_loss.initial",
        "risk.stop_loss.trailing",
        "risk.take_profit",
        "config.event_log",
    ]
)
_LONG: Final = 1
_SMALL: Final = 2.0**-10
"""The fraction of the first run, in which only prices and bars count."""

_REASONS: Final = {
    "Signal": slots.SIGNAL,
    "TakeProfit": slots.TARGET,
    "EndOfData": slots.SIGNAL,
}


@dataclass(frozen=True, slots=True)
class RaptorbtEngine:
    """raptorbt, which is written in Rust."""

    @property
    def name(self) -> str:
        """Return the word that a recipe has for it."""
        return RAPTORBT

    @property
    def acts_on(self) -> frozenset[str]:
        """Return what it does as we do."""
        return _ACTS_ON

    def version(self) -> str:
        """Return the release.

        Raises: EngineMissing.
        """
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version(RAPTORBT)
        except PackageNotFoundError:
            raise EngineMissing(RAPTORBT, _EXTRA) from None

    def answer(self, question: Question) -> SimulationResult:
        """Answer by `run_single_backtest`.

        Raises: EngineMissing, CannotActOn.
        """
        raptorbt = compiled_part()
        _refuse_models(question)
        sizes = np.full(question.bar_count, question.sizing.amount)
        if question.sizing.kind != "equity_fraction":
            sizes = _fractions(question, _run(raptorbt, question, np.full(len(sizes), _SMALL)))
        result = _run(raptorbt, question, sizes)
        return answered(
            question, _trades(question, result), np.asarray(result.equity_curve(), np.float64)
        )


def compiled_part() -> Any:
    """Return raptorbt's compiled module alone: the package asks an index for newer releases.

    Raises: EngineMissing.
    """
    from importlib.machinery import PathFinder
    from importlib.util import find_spec, module_from_spec

    package = find_spec(RAPTORBT)
    if package is None:
        raise EngineMissing(RAPTORBT, _EXTRA)
    found = PathFinder.find_spec("_raptorbt", package.submodule_search_locations)
    if found is None or found.loader is None:
        raise EngineMissing(RAPTORBT, _EXTRA)
    module = module_from_spec(found)
    found.loader.exec_module(module)
    return module


def _refuse_models(question: Question) -> None:
    """Refuse what raptorbt would do otherwise than we do."""
    legs, risk = question.risk.take_profit, question.risk
    if len(legs) > 1 or any(leg.fraction < 1.0 for leg in legs):
        raise CannotActOn(RAPTORBT, ("risk.take_profit",), "it closes all at one target")
    if legs and question.execution.slippage.base > 0.0:
        raise CannotActOn(RAPTORBT, ("risk.take_profit",), "its targets slip")
    if legs and question.costs.maker_fee_bps != question.costs.taker_fee_bps:
        raise CannotActOn(RAPTORBT, ("costs.maker_fee_bps",), "it has one fee")
    stop = risk.stop_loss
    if stop.initial is not None and stop.trailing is not None:
        raise CannotActOn(RAPTORBT, ("risk.stop_loss.trailing",), "it holds one stop")
    if not legs and stop.initial is None and stop.trailing is None:
        return
    entries, exits = question.says(slots.ENTER_LONG), question.says(slots.EXIT_LONG)
    bars = np.flatnonzero(entries | exits)
    is_second = entries[bars[1:]] & ~exits[bars[:-1]]
    if is_second.any():
        row = int(bars[1:][is_second][0])
        reason = f"after a stop it enters again only after a signal to exit; row {row} has none"
        raise CannotActOn(RAPTORBT, ("risk.stop_loss", "risk.take_profit"), reason)


def _run(raptorbt: Any, question: Question, sizes: NDArray[np.float64]) -> Any:
    """Run one backtest.

    Shapes: sizes (T,), fractions of the cash, at the bar of the decision.
    """
    config = raptorbt.BacktestConfig(
        initial_capital=question.cash,
        fees=question.costs.fee_rate,
        slippage=question.execution.slippage.base,
        fill_timing="next_bar_open",
    )
    stop, legs = question.risk.stop_loss.initial, question.risk.take_profit
    if stop is not None:
        config.set_fixed_stop(-stop)
    if question.risk.stop_loss.trailing is not None:
        config.set_trailing_stop(-question.risk.stop_loss.trailing)
    if legs:
        config.set_fixed_target(legs[0].multiple - 1.0)
    return raptorbt.run_single_backtest(
        *(np.ascontiguousarray(question.bars[name]) for name in ARRAYS),
        question.says(slots.ENTER_LONG),
        question.says(slots.EXIT_LONG),
        _LONG,
        1.0,
        "asset",
        config,
        sizes,
        None,
    )


def _fractions(question: Question, result: Any) -> NDArray[np.float64]:
    """Return which fraction of the cash each entry is, by what a run with other sizes did.

    Shapes: returns (T,).
    Raises: CannotActOn where an entry costs more than the cash: raptorbt would lend it.
    """
    fractions = np.full(question.bar_count, _SMALL)
    cash, rate = question.cash, 1.0 + question.costs.fee_rate
    for trade in result.trades():
        cost = question.sizing.amount
        if question.sizing.kind == "units":
            cost *= trade.entry_price * rate
        if not cost <= cash:
            reason = (
                f"the entry at bar {trade.entry_idx} costs more than the cash, and is not refused"
            )
            raise CannotActOn(RAPTORBT, ("sizing",), reason)
        fractions[trade.entry_idx - 1] = cost / cash
        cash += trade.pnl * (cost / (trade.size * trade.entry_price * rate))
    return fractions


def _trades(question: Question, result: Any) -> Trades:
    """Read raptorbt's trades; it calls every stop a stop-loss."""
    rows = result.trades()
    is_trailing = question.risk.stop_loss.trailing is not None
    stop = slots.TRAILING_STOP if is_trailing else slots.STOP
    reasons = {**_REASONS, "StopLoss": stop}
    is_open = np.array([row.exit_reason == "EndOfData" for row in rows], np.bool_)

    def whole(name: str) -> NDArray[np.int64]:
        return np.array([getattr(row, name) for row in rows], np.int64)

    def real(name: str) -> NDArray[np.float64]:
        return np.array([getattr(row, name) for row in rows], np.float64)

    return Trades(
        entry_bar=whole("entry_idx"),
        exit_bar=np.where(is_open, np.int64(slots.NONE), whole("exit_idx")),
        side=np.full(len(rows), slots.BUY, np.int64),
        reason=np.array([reasons[row.exit_reason] for row in rows], np.int64),
        quantity=real("size"),
        entry_price=real("entry_price"),
        exit_price=real("exit_price"),
        entry_fee=real("entry_fees"),
        exit_fee=real("exit_fees"),
        pnl=real("pnl"),
    )
