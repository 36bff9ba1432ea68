"""What a simulation returns, and how the loop's rows become its columns.

Owns the words of the tables (kinds, sides, reasons) and the figures that follow from the fills: the
trades, and the account at each close. Moves no cash itself; `fills` does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from research.simulation import fills

Columns = Mapping[str, NDArray[Any]]

# Each list is in the order of the codes in `fills`.
KINDS: Final = np.array(["order", "fill", "rejected"])
SIDES: Final = np.array(["buy", "sell"])
REASONS: Final = np.array(["signal", "no_next_bar", "insufficient_cash"])

OPEN: Final = "open"
LONG: Final = "long"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimulationResult:
    """Hold the answer of one simulation; its arrays are read-only.

    trades    one row per trade: trade_id, entry_bar, exit_bar, side, quantity, entry_price,
              exit_price, fees, pnl, exit_reason. A position open at the end has exit_bar -1,
              exit_price NaN, exit_reason "open", the entry's fee alone in fees, and as pnl its
              worth at the last close less what it cost, that fee included.
    events    two rows per order, the order and what became of it: event_id, trade_id, bar, at_ns,
              kind (order, fill, rejected), side (buy, sell), quantity, price, fee, slippage,
              reason. trade_id is -1 where an order to enter was rejected. Quantity and price are
              NaN where they were not known.
    equity    the account's worth at each close, after that bar's fills
    exposure  the part of the equity that is in the position at each close
    metrics   by name, as docs/metrics.md defines them; one that is undefined is absent

    Shapes: equity, exposure (T,).
    Units:  money, as the bars have it; slippage and exposure as fractions; at_ns in nanoseconds
            since 1970-01-01 UTC.
    """

    trades: Columns
    events: Columns
    equity: NDArray[np.float64]
    exposure: NDArray[np.float64]
    metrics: Mapping[str, float]


def events_table(
    codes: NDArray[np.int64], amounts: NDArray[np.float64], at_ns: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    """Name the rows of the loop.

    Shapes: codes, amounts (E, 5); at_ns (T,); returns columns (E,).
    """
    bar = codes[:, fills.BAR]
    return _read_only(
        event_id=np.arange(len(codes), dtype=np.int64),
        trade_id=codes[:, fills.TRADE],
        bar=bar,
        at_ns=at_ns[bar],
        kind=KINDS[codes[:, fills.KIND]],
        side=SIDES[codes[:, fills.SIDE]],
        quantity=amounts[:, fills.QUANTITY],
        price=amounts[:, fills.PRICE],
        fee=amounts[:, fills.FEE],
        slippage=amounts[:, fills.SLIPPAGE],
        reason=REASONS[codes[:, fills.REASON]],
    )


def trades_table(
    codes: NDArray[np.int64], amounts: NDArray[np.float64], last_close: float
) -> dict[str, NDArray[Any]]:
    """Pair each fill that enters with the fill that exits it, if there is one.

    Positions do not overlap, so the n-th exit belongs to the n-th entry.

    Shapes: codes, amounts (E, 5); returns columns (N,), N the count of entries.
    """
    is_fill = codes[:, fills.KIND] == fills.FILL
    is_entry = is_fill & (codes[:, fills.SIDE] == fills.BUY)
    is_exit = is_fill & (codes[:, fills.SIDE] == fills.SELL)
    trade_count, closed_count = int(is_entry.sum()), int(is_exit.sum())

    exit_bar = np.full(trade_count, -1, np.int64)
    exit_bar[:closed_count] = codes[is_exit, fills.BAR]
    exit_price = np.full(trade_count, np.nan)
    exit_price[:closed_count] = amounts[is_exit, fills.PRICE]
    exit_fee = np.zeros(trade_count)
    exit_fee[:closed_count] = amounts[is_exit, fills.FEE]
    exit_reason = np.full(trade_count, OPEN, np.result_type(REASONS, np.array(OPEN)))
    exit_reason[:closed_count] = REASONS[codes[is_exit, fills.REASON]]

    quantity = amounts[is_entry, fills.QUANTITY]
    entry_price = amounts[is_entry, fills.PRICE]
    entry_fee = amounts[is_entry, fills.FEE]
    worth = quantity * np.where(exit_bar == -1, last_close, exit_price)
    return _read_only(
        trade_id=codes[is_entry, fills.TRADE],
        entry_bar=codes[is_entry, fills.BAR],
        exit_bar=exit_bar,
        side=np.full(trade_count, LONG),
        quantity=quantity,
        entry_price=entry_price,
        exit_price=exit_price,
        fees=entry_fee + exit_fee,
        # As cash moves: what came in less what went out, so that the sum meets the equity.
        pnl=(worth - exit_fee) - (quantity * entry_price + entry_fee),
        exit_reason=exit_reason,
    )


def account_at_closes(
    codes: NDArray[np.int64], amounts: NDArray[np.float64], cash: float, bar_count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Spread the account after each fill over the closes until the next one.

    Shapes: codes, amounts (E, 5); returns the cash and the units held, (T,) both.
    """
    is_fill = codes[:, fills.KIND] == fills.FILL
    is_buy = codes[is_fill, fills.SIDE] == fills.BUY
    bounds = np.concatenate(([0], codes[is_fill, fills.BAR], [bar_count]))
    lengths = np.diff(bounds)
    cash_after = np.concatenate(([cash], amounts[is_fill, fills.CASH_AFTER]))
    held_after = np.where(is_buy, amounts[is_fill, fills.QUANTITY], 0.0)
    return np.repeat(cash_after, lengths), np.repeat(np.concatenate(([0.0], held_after)), lengths)


def _read_only(**columns: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the columns, each contiguous and closed to writing."""
    closed = {name: np.ascontiguousarray(column) for name, column in columns.items()}
    for column in closed.values():
        column.setflags(write=False)
    return closed
