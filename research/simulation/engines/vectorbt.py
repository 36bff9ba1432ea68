"""The adapter of vectorbt: its `Portfolio.from_signals`, under our conventions.

Owns the switches that make it agree, told in `docs/engines.md`. vectorbt fills one order a bar, and
holds stops against a bar from the one after the entry on. So a bar is handed to it as three: its
open for exits, its open again for entries, and the whole of it, in which only stops can be met.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from research.simulation import slots
from research.simulation.engines.answer import Trades, answered
from research.simulation.engines.errors import CannotActOn, EngineMissing
from research.simulation.engines.question import REVERSAL, SHORT, Question
from research.simulation.result import SimulationResult

VECTORBT: Final = "vectorbt"
_PARTS: Final = 3  # of a bar: exits, entries, within
_ROUNDING: Final = 1e-12
"""How far a target may be off by rounding alone."""

_ACTS_ON: Final = frozenset(
    [
        SHORT,
        REVERSAL,
        "sizing.units",
        "execution.slippage.base",
        "costs.taker_fee_bps",
        "costs.maker_fee_bps",
        "costs.fixed_fee",
        "risk.stop_loss.initial",
        "risk.stop_loss.trailing",
        "risk.take_profit",
        "config.event_log",
    ]
)


@dataclass(frozen=True, slots=True)
class VectorbtEngine:
    """vectorbt, compiled by numba or in Rust (its package vectorbt-rust)."""

    implementation: str = "numba"

    @property
    def name(self) -> str:
        """Return the word that a recipe has for it."""
        return VECTORBT

    @property
    def acts_on(self) -> frozenset[str]:
        """Return what it can be made to do as we do."""
        return _ACTS_ON

    def version(self) -> str:
        """Return the release, and which of its implementations answers.

        Raises: EngineMissing.
        """
        from importlib.metadata import PackageNotFoundError, version

        try:
            return f"{version(VECTORBT)}+{self.implementation}"
        except PackageNotFoundError:
            raise EngineMissing(VECTORBT, VECTORBT) from None

    def answer(self, question: Question) -> SimulationResult:
        """Answer by `Portfolio.from_signals`.

        Raises: EngineMissing, CannotActOn.
        """
        _refuse_models(question)
        try:
            import vectorbt
        except ImportError:
            raise EngineMissing(VECTORBT, VECTORBT) from None
        risk, leg = question.risk, question.risk.take_profit
        stop = risk.stop_loss.initial or risk.stop_loss.trailing
        portfolio = vectorbt.Portfolio.from_signals(
            **_columns(question),
            **_signals(question),
            size=question.sizing.amount,
            size_type="amount",
            fees=question.costs.fee_rate,
            fixed_fees=question.costs.fixed_fee,
            slippage=question.execution.slippage.base,
            sl_stop=np.nan if stop is None else -stop,
            sl_trail=risk.stop_loss.trailing is not None,
            tp_stop=leg[0].multiple - 1.0 if leg else np.nan,
            stop_entry_price="fillprice",
            stop_exit_price="stopmarket",
            upon_opposite_entry="ignore",
            accumulate=False,
            # An order that the cash does not pay for is rejected, not made smaller; what a short
            # sale brings in is not free.
            allow_partial=False,
            lock_cash=True,
            init_cash=question.cash,
            engine=self.implementation,
        )
        equity = np.asarray(portfolio.value(), np.float64)[_PARTS - 1 :: _PARTS]
        return answered(question, _trades(question, portfolio.trades.values), equity)


def _refuse_models(question: Question) -> None:
    """Refuse what one number cannot say, and what vectorbt has one switch for where we have two."""
    stop, leg = question.risk.stop_loss, question.risk.take_profit
    if stop.initial is not None and stop.trailing is not None:
        raise CannotActOn(VECTORBT, ("risk.stop_loss.trailing",), "it holds one stop")
    if len(leg) > 1 or any(each.fraction < 1.0 for each in leg):
        raise CannotActOn(VECTORBT, ("risk.take_profit",), "it closes all at one target")
    if leg and question.execution.slippage.base > 0.0:
        raise CannotActOn(VECTORBT, ("risk.take_profit",), "its targets slip as its stops do")
    if leg and question.costs.maker_fee_bps != question.costs.taker_fee_bps:
        raise CannotActOn(VECTORBT, ("costs.maker_fee_bps",), "it has one fee")
    enters_and_exits = (question.says(slots.ENTER_LONG) & question.says(slots.EXIT_LONG)) | (
        question.says(slots.ENTER_SHORT) & question.says(slots.EXIT_SHORT)
    )
    if enters_and_exits.any():
        reason = f"row {int(enters_and_exits.argmax())} enters and exits one side at once"
        raise CannotActOn(VECTORBT, ("signals",), reason)


def _columns(question: Question) -> dict[str, NDArray[np.float64]]:
    """Return the bars as thirds: at the first two only the order price is known.

    Shapes: returns columns (3 * T,).
    """
    bars, count = question.bars, question.bar_count
    unknown, top, bottom = (np.full(count, each) for each in (np.nan, np.inf, -np.inf))
    return {
        "price": _thirds(bars["open"], bars["open"], bars["open"]),
        "open": _thirds(unknown, unknown, bars["open"]),
        # No price lies between them, and neither is the best so far.
        "high": _thirds(bottom, bottom, bars["high"]),
        "low": _thirds(top, top, bars["low"]),
        "close": _thirds(unknown, unknown, bars["close"]),
    }


def _signals(question: Question) -> dict[str, NDArray[np.bool_]]:
    """Return the signals at the thirds where they fill: one bar later.

    Shapes: returns columns (3 * T,).
    """
    placed = {}
    for name, bit, third in (
        ("entries", slots.ENTER_LONG, 1),
        ("exits", slots.EXIT_LONG, 0),
        ("short_entries", slots.ENTER_SHORT, 1),
        ("short_exits", slots.EXIT_SHORT, 0),
    ):
        signal = np.zeros(_PARTS * question.bar_count, np.bool_)
        signal[third + _PARTS :: _PARTS] = question.says(bit)[:-1]
        placed[name] = signal
    return placed


def _thirds(*columns: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack(columns, axis=1).ravel()


def _trades(question: Question, rows: NDArray[Any]) -> Trades:
    """Read vectorbt's records of trades."""
    is_open = rows["status"] == 0
    third = rows["exit_idx"] % _PARTS
    return Trades(
        entry_bar=rows["entry_idx"] // _PARTS,
        exit_bar=np.where(is_open, slots.NONE, rows["exit_idx"] // _PARTS),
        side=np.where(rows["direction"] == 0, slots.BUY, slots.SELL),
        reason=np.where(third == 0, slots.SIGNAL, _reasons(question, rows)),
        quantity=rows["size"],
        entry_price=rows["entry_price"],
        exit_price=rows["exit_price"],
        entry_fee=rows["entry_fees"],
        exit_fee=np.where(is_open, 0.0, rows["exit_fees"]),
        pnl=rows["pnl"],
    )


def _reasons(question: Question, rows: NDArray[Any]) -> NDArray[np.int64]:
    """Return why a position was closed within a bar, which vectorbt does not say."""
    is_trailing = question.risk.stop_loss.trailing is not None
    stop = np.int64(slots.TRAILING_STOP if is_trailing else slots.STOP)
    if not question.risk.take_profit:
        return np.full(len(rows), stop)
    multiple = question.risk.take_profit[0].multiple
    is_long = rows["direction"] == 0
    nearly = np.where(is_long, 1.0 - _ROUNDING, 1.0 + _ROUNDING)
    target = rows["entry_price"] * np.where(is_long, multiple, 2.0 - multiple) * nearly
    is_there = np.where(is_long, rows["exit_price"] >= target, rows["exit_price"] <= target)
    return np.where(is_there, np.int64(slots.TARGET), stop)
