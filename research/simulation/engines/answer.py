"""From another engine's trades and equity to the result that `simulate` gives.

Owns what such trades become: rows of trades and events, exposure, and figures that are computed as
ours are. An engine that reports trades says nothing of orders that never filled, so those events
are not there; and an order that filled is dated at the close before its open.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from research.simulation import slots
from research.simulation.engine import result_of
from research.simulation.engines.question import Question
from research.simulation.result import SimulationResult
from research.simulation.session import Played

_EXIT_AT_OPEN, _ENTRY_AT_OPEN, _WITHIN, _AT_CLOSE = range(4)  # what comes first in one bar


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trades:
    """Hold another engine's trades, in the order of their entries.

    side and reason are coded as in `slots`. A position that is open has the exit_bar NONE; its
    reason and its exit_price then count for nothing. The pnl is net of fees.

    Shapes: every column (N,).
    """

    entry_bar: NDArray[np.int64]
    exit_bar: NDArray[np.int64]
    side: NDArray[np.int64]
    reason: NDArray[np.int64]
    quantity: NDArray[np.float64]
    entry_price: NDArray[np.float64]
    exit_price: NDArray[np.float64]
    entry_fee: NDArray[np.float64]
    exit_fee: NDArray[np.float64]
    pnl: NDArray[np.float64]


def answered(question: Question, trades: Trades, equity: NDArray[np.float64]) -> SimulationResult:
    """Return the result that another engine's trades and equity make.

    Shapes: equity (T,), at each close, after that bar's fills.
    Raises: NonFiniteEquity.
    """
    held = _held(question, trades)
    event_codes, event_amounts = _events(question, trades)
    worth = np.abs(held) * question.bars["close"]
    asset = np.zeros(len(trades.side), np.int64)
    exit_price = np.where(trades.exit_bar == slots.NONE, np.nan, trades.exit_price)
    fees = trades.entry_fee + trades.exit_fee
    played = Played(
        event_codes=event_codes,
        event_amounts=event_amounts,
        trade_codes=_columns(
            trades.entry_bar, trades.exit_bar, asset, trades.side, trades.reason
        ).astype(np.int64),
        trade_amounts=_columns(trades.quantity, trades.entry_price, exit_price, fees, trades.pnl),
        equity=np.array(equity, np.float64),
        exposure=np.divide(worth, equity, out=np.full(len(equity), np.nan), where=equity > 0.0),
        held=(held != 0.0).astype(np.float64),
    )
    return result_of(question.bars["at_ns"], played, is_compiled=False)


def _columns(*columns: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.float64]:
    return np.stack([np.asarray(column, np.float64) for column in columns], axis=1)


def _held(question: Question, trades: Trades) -> NDArray[np.float64]:
    """Return the units held at each close; one position at a time."""
    held = np.zeros(question.bar_count)
    ends = np.where(trades.exit_bar == slots.NONE, question.bar_count, trades.exit_bar)
    signs = np.where(trades.side == slots.BUY, 1.0, -1.0)
    for first, end, units in zip(trades.entry_bar, ends, signs * trades.quantity, strict=True):
        held[first:end] = units
    return held


def _events(question: Question, trades: Trades) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return orders and fills as the kernel would have written them, in the order of time."""
    closed = np.flatnonzero(trades.exit_bar != slots.NONE)
    by_signal = closed[trades.reason[closed] == slots.SIGNAL]
    every = np.arange(len(trades.side))
    parts = [
        _orders(trades, every, is_entry=True),
        _fills(question, trades, every, is_entry=True),
        _orders(trades, by_signal, is_entry=False),
        _fills(question, trades, closed, is_entry=False),
    ]
    codes, amounts, phases = (np.concatenate([part[place] for part in parts]) for place in range(3))
    order = np.lexsort((phases, codes[:, slots.EVENT_BAR]))
    codes, amounts = codes[order], amounts[order]
    return codes.astype(np.int64), amounts


def _orders(
    trades: Trades, chosen: NDArray[np.int64], *, is_entry: bool
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Return the orders of chosen trades, one bar before their fills: codes, amounts, phases."""
    bar = (trades.entry_bar if is_entry else trades.exit_bar)[chosen] - 1
    codes = _codes(trades, chosen, bar, slots.ORDER, is_entry=is_entry)
    if is_entry:
        codes[:, slots.EVENT_TRADE] = slots.NONE
    amounts = np.zeros((len(chosen), slots.EVENT_AMOUNTS))
    amounts[:, slots.EVENT_QUANTITY] = trades.quantity[chosen]
    amounts[:, slots.EVENT_PRICE] = amounts[:, slots.EVENT_REFERENCE] = np.nan
    return codes, amounts, np.full(len(chosen), _AT_CLOSE)


def _fills(
    question: Question, trades: Trades, chosen: NDArray[np.int64], *, is_entry: bool
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Return the fills of chosen trades: codes, amounts, phases."""
    bar = (trades.entry_bar if is_entry else trades.exit_bar)[chosen]
    price = (trades.entry_price if is_entry else trades.exit_price)[chosen]
    fee = (trades.entry_fee if is_entry else trades.exit_fee)[chosen]
    quantity = trades.quantity[chosen]
    codes = _codes(trades, chosen, bar, slots.FILL, is_entry=is_entry)
    is_buy, reason = codes[:, slots.EVENT_SIDE] == slots.BUY, codes[:, slots.EVENT_REASON]
    is_at_open = reason == slots.SIGNAL
    codes[is_at_open, slots.EVENT_LATE] = 0
    slippage = np.where(reason == slots.TARGET, 0.0, question.execution.slippage.base)
    amounts = np.zeros((len(chosen), slots.EVENT_AMOUNTS))
    amounts[:, slots.EVENT_QUANTITY] = quantity
    amounts[:, slots.EVENT_PRICE] = price
    amounts[:, slots.EVENT_FEE] = fee
    amounts[:, slots.EVENT_SLIPPAGE] = slippage
    unslipped = price / np.where(is_buy, 1.0 + slippage, 1.0 - slippage)
    amounts[:, slots.EVENT_REFERENCE] = np.where(is_at_open, question.bars["open"][bar], unslipped)
    at_open = _ENTRY_AT_OPEN if is_entry else _EXIT_AT_OPEN
    return codes, amounts, np.where(is_at_open, at_open, _WITHIN)


def _codes(
    trades: Trades, chosen: NDArray[np.int64], bar: NDArray[np.int64], kind: int, *, is_entry: bool
) -> NDArray[np.int64]:
    is_buy = (trades.side[chosen] == slots.BUY) == is_entry
    codes = np.zeros((len(chosen), slots.EVENT_CODES), np.int64)
    codes[:, slots.EVENT_BAR] = bar
    codes[:, slots.EVENT_TRADE] = chosen
    codes[:, slots.EVENT_KIND] = kind
    codes[:, slots.EVENT_SIDE] = np.where(is_buy, slots.BUY, slots.SELL)
    codes[:, slots.EVENT_REASON] = slots.SIGNAL if is_entry else trades.reason[chosen]
    codes[:, slots.EVENT_LATE] = slots.NONE
    return codes
