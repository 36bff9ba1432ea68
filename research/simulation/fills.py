"""The loop: which signal becomes an order, and what its fill costs.

Owns every rule that moves cash. Each function here is plain arithmetic on arrays and scalars, with
integer codes for words, so that a compiler can take the same source; `result` gives the codes their
names. An order is two rows: one at the close that decides it, one for what became of it.

    codes    bar  trade  kind      side  reason
             0    0      ORDER     BUY   SIGNAL
             1    0      FILL      BUY   SIGNAL
             4    0      ORDER     SELL  SIGNAL
             4    0      REJECTED  SELL  NO_NEXT_BAR

    amounts  quantity  price   fee  slippage  cash after
             10.0      nan     0.0  0.0       5000.0
             10.0      100.05  1.0  0.0005    3998.5
             10.0      nan     0.0  0.0       3998.5
             10.0      nan     0.0  0.0       3998.5
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

ORDER: Final = 0
FILL: Final = 1
REJECTED: Final = 2

BUY: Final = 0
SELL: Final = 1

SIGNAL: Final = 0
NO_NEXT_BAR: Final = 1
INSUFFICIENT_CASH: Final = 2

UNITS: Final = 0
CASH: Final = 1
EQUITY_FRACTION: Final = 2

NO_TRADE: Final = -1

BAR, TRADE, KIND, SIDE, REASON = 0, 1, 2, 3, 4
QUANTITY, PRICE, FEE, SLIPPAGE, CASH_AFTER = 0, 1, 2, 3, 4

NARROWER: Final = 1.0 - 2.0**-52
"""A factor that takes a float at most two units in the last place towards zero."""


def fill_orders(
    signal_bars: NDArray[np.int64],
    entries: NDArray[np.bool_],
    exits: NDArray[np.bool_],
    opens: NDArray[np.float64],
    cash: float,
    size_kind: int,
    size_value: float,
    slippage: float,
    fee_rate: float,
    fixed_fee: float,
    minimum_fee: float,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Turn signals into orders and fills, in order of time.

    Only the bars with a signal are visited: between them nothing can change. What a signal does is
    settled by the position at its own close, which every earlier fill has already reached: flat, an
    entry acts and an exit does not; in a position the reverse. So of two signals on one bar just
    one acts, and a position is never closed and reopened at one open.

    Shapes: signal_bars (S,) ascending; entries, exits, opens (T,); returns (E, 5) codes and (E, 5)
            amounts, E even and at most 2 S.
    """
    codes = np.empty((2 * len(signal_bars), 5), np.int64)
    amounts = np.empty((2 * len(signal_bars), 5), np.float64)
    row, trade_count, held = 0, 0, 0.0
    for signal_bar in signal_bars:
        bar = int(signal_bar)
        is_flat = held == 0.0
        if not (entries[bar] if is_flat else exits[bar]):
            continue
        side = BUY if is_flat else SELL
        trade = trade_count if is_flat else trade_count - 1
        # What a budget buys is known at the open only; an order says no more than its close knew.
        asked = held if not is_flat else (size_value if size_kind == UNITS else math.nan)
        quantity, price, fee, slipped, kind, reason = asked, math.nan, 0.0, 0.0, REJECTED, SIGNAL
        cash_after = cash
        if bar + 1 == len(opens):
            reason = NO_NEXT_BAR
        else:
            bar += 1
            slipped = slippage
            market = float(opens[bar])
            if is_flat:
                price = market * (1.0 + slippage)
                if size_kind != UNITS:
                    budget = size_value if size_kind == CASH else size_value * cash
                    quantity = affordable(budget, price, fee_rate, fixed_fee, minimum_fee)
            else:
                price = market * (1.0 - slippage)
            notional = quantity * price
            fee = order_fee(notional, fee_rate, fixed_fee, minimum_fee)
            cash_after = cash - (notional + fee) if is_flat else cash + (notional - fee)
            # Written so that NaN, from an overflow, is refused as well.
            if quantity > 0.0 and cash_after >= 0.0:
                kind = FILL
                held = quantity if is_flat else 0.0
                trade_count += 1 if is_flat else 0
            else:
                reason, fee, cash_after = INSUFFICIENT_CASH, 0.0, cash
        if kind == REJECTED and is_flat:
            trade = NO_TRADE
        codes[row] = (int(signal_bar), trade, ORDER, side, SIGNAL)
        amounts[row] = (asked, math.nan, 0.0, 0.0, cash)
        codes[row + 1] = (bar, trade, kind, side, reason)
        amounts[row + 1] = (quantity, price, fee, slipped, cash_after)
        cash = cash_after
        row += 2
    return codes[:row], amounts[:row]


def order_fee(notional: float, fee_rate: float, fixed_fee: float, minimum_fee: float) -> float:
    """Return what a filled order pays."""
    return max(minimum_fee, fixed_fee + fee_rate * notional)


def affordable(
    budget: float, price: float, fee_rate: float, fixed_fee: float, minimum_fee: float
) -> float:
    """Return the largest quantity whose cost, fees included, is within a budget, or 0.

    The cost is the larger of `notional * (1 + fee_rate) + fixed_fee` and `notional + minimum_fee`,
    so the quantity is the smaller of those that each allows. Rounding can leave that a few units
    in the last place too dear; it is narrowed until it fits, so that no budget is ever overdrawn.
    """
    proportional = (budget - fixed_fee) / (price * (1.0 + fee_rate))
    quantity = min(proportional, (budget - minimum_fee) / price)
    if not quantity > 0.0:
        return 0.0
    for _ in range(64):
        notional = quantity * price
        if notional + order_fee(notional, fee_rate, fixed_fee, minimum_fee) <= budget:
            return quantity
        quantity *= NARROWER
    return 0.0
