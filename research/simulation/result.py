"""What a simulation returns, and how the kernel's rows become its columns.

Owns the words of the tables (kinds, sides, reasons) and their columns. Moves no cash; the kernel
does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from research.simulation import slots
from research.simulation.errors import NonFiniteEquity, OrderRefused
from research.simulation.session import Played

Columns = Mapping[str, NDArray[Any]]

# Each list is in the order of the codes in `slots`.
KINDS: Final = np.array(["order", "fill", "partial", "failed", "rejected", "cancelled"])
SIDES: Final = np.array(["buy", "sell"])
POSITIONS: Final = np.array(["long", "short"])
REASONS: Final = np.array(
    [
        "signal",
        "stop_loss",
        "trailing_stop",
        "take_profit",
        "time_limit",
        "max_drawdown",
        "max_daily_loss",
        "bankrupt",
        "no_next_bar",
        "insufficient_cash",
        "failure",
        "partial_fill",
        "volume_share",
        "halted",
        "throttled",
        "cooldown",
        "max_entries",
        "limit",
        "position_closed",
        "consecutive_losses",
    ]
)
OPEN: Final = "open"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimulationResult:
    """Hold the answer of one simulation; its arrays are read-only.

    trades    one row per trade, a round trip: trade_id, entry_bar, exit_bar, side (long, short),
              quantity as entered, entry_price, exit_price (of partial exits the average), fees
              (what was borrowed included), pnl (net), exit_reason. A position open at the end has
              exit_bar -1, exit_price NaN, exit_reason "open", and as pnl its worth at the last
              close less what it cost
    events    a row for each order, and for each thing that became of it: event_id, trade_id, bar,
              at_ns, kind (order, fill, partial, failed, rejected, cancelled), side (buy, sell),
              quantity, price, fee, slippage, latency_ms, reference_price, reason. trade_id is -1
              where no trade came of it. Quantity and price are NaN where they were not known; the
              reference price is the open at which it would have filled without latency and failures
    equity    the account's worth at each close, after that bar's fills
    exposure  the worth of all positions at each close as a fraction of the equity; NaN where that
              is not above 0
    drawdown  the fall from the highest equity so far, as a fraction of it
    metrics   by name, as docs/metrics.md defines them; one that is undefined is absent

    With several assets both tables have a column `asset` more.

    Shapes: equity, exposure, drawdown (T,).
    Units:  money, as the bars have it; slippage, exposure, drawdown as fractions; at_ns in
            nanoseconds since 1970-01-01 UTC.
    """

    trades: Columns
    events: Columns
    equity: NDArray[np.float64]
    exposure: NDArray[np.float64]
    drawdown: NDArray[np.float64]
    metrics: Mapping[str, float]


def check_played(played: Played) -> None:
    """Refuse what is no answer.

    Raises: OrderRefused, NonFiniteEquity.
    """
    if played.refused_reason != slots.NONE:
        raise OrderRefused(played.refused_bar, str(REASONS[played.refused_reason]))
    finite = np.isfinite(played.equity)
    if not finite.all():
        raise NonFiniteEquity(int(finite.argmin()))


def events_table(
    played: Played, at_ns: NDArray[np.int64], assets: Sequence[str] = ()
) -> dict[str, NDArray[Any]]:
    """Name the events.

    Shapes: at_ns (T,); returns columns (E,).
    """
    codes, amounts = played.event_codes, played.event_amounts
    bar = codes[:, slots.EVENT_BAR]
    return _read_only(
        event_id=np.arange(len(codes), dtype=np.int64),
        **_asset_column(assets, codes[:, slots.EVENT_ASSET]),
        trade_id=codes[:, slots.EVENT_TRADE],
        bar=bar,
        at_ns=at_ns[bar],
        kind=KINDS[codes[:, slots.EVENT_KIND]],
        side=SIDES[codes[:, slots.EVENT_SIDE]],
        quantity=amounts[:, slots.EVENT_QUANTITY],
        price=amounts[:, slots.EVENT_PRICE],
        fee=amounts[:, slots.EVENT_FEE],
        slippage=amounts[:, slots.EVENT_SLIPPAGE],
        latency_ms=amounts[:, slots.EVENT_LATENCY_MS],
        reference_price=amounts[:, slots.EVENT_REFERENCE],
        reason=REASONS[codes[:, slots.EVENT_REASON]],
    )


def trades_table(played: Played, assets: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    """Name the trades, in the order of their entries.

    Shapes: returns columns (N,), N the count of entries.
    """
    codes, amounts = played.trade_codes, played.trade_amounts
    exit_bar = codes[:, slots.TRADE_EXIT]
    reason = np.where(exit_bar == slots.NONE, OPEN, REASONS[codes[:, slots.TRADE_REASON]])
    return _read_only(
        trade_id=np.arange(len(codes), dtype=np.int64),
        **_asset_column(assets, codes[:, slots.TRADE_ASSET]),
        entry_bar=codes[:, slots.TRADE_ENTRY],
        exit_bar=exit_bar,
        side=POSITIONS[codes[:, slots.TRADE_SIDE]],
        quantity=amounts[:, slots.TRADE_QUANTITY],
        entry_price=amounts[:, slots.TRADE_ENTRY_PRICE],
        exit_price=amounts[:, slots.TRADE_EXIT_PRICE],
        fees=amounts[:, slots.TRADE_FEES],
        pnl=amounts[:, slots.TRADE_PNL],
        exit_reason=reason,
    )


def _asset_column(assets: Sequence[str], codes: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    return {"asset": np.array(assets)[codes]} if len(assets) > 1 else {}


def _read_only(**columns: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the columns, each contiguous and closed to writing."""
    closed = {name: np.ascontiguousarray(column) for name, column in columns.items()}
    for column in closed.values():
        column.setflags(write=False)
    return closed
