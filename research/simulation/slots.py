"""Where each number of the kernel stands.

Owns the numbers of the slots and the codes for words; nothing is computed here. The kernel takes
plain arrays, so that one source serves the interpreter and a compiler; these names are what its
reader has instead of fields. A model says in `plan` what it puts into which slot.
"""

from typing import Final

# --- What the models ask for: one float each. Infinity stands for "no limit". -------------------
(
    CASH,
    SIZE_KIND,
    SIZE_VALUE,
    SLIPPAGE_KIND,
    SLIPPAGE_BASE,
    SLIPPAGE_IMPACT,
    SLIPPAGE_PER_UNIT,
    SLIPPAGE_MAX,
    LATENCY_P50_NS,
    LATENCY_P90_NS,
    LATENCY_P99_NS,
    LATENCY_JITTER_NS,
    FAILURE_RATE,
    FAILURE_CONGESTION,
    FAILURE_RETRIES,
    FAILURE_BACKOFF_BARS,
    PARTIAL_PROBABILITY,
    PARTIAL_LEAST,
    PARTIAL_MOST,
    PARTIAL_VOLUME_SHARE,
    TAKER_RATE,
    MAKER_RATE,
    FIXED_FEE,
    MINIMUM_FEE,
    PRIORITY_FEE,
    PRIORITY_FEE_MAX,
    BORROW_RATE,
    STOP_INITIAL,
    STOP_TRAILING,
    STOP_ACTIVATION,
    HOLD_BARS_MAX,
    HOLD_NS_MAX,
    MAX_DRAWDOWN,
    MAX_DAILY_LOSS,
    MAX_LOSSES,
    MAX_POSITION,
    MAX_EXPOSURE,
    THROTTLE_TRADES,
    THROTTLE_NS,
    COOLDOWN_BARS,
    COOLDOWN_LOSS_BARS,
    MAX_ENTRIES,
    IS_FAIL_FAST,
    HAS_EVENTS,
) = range(44)
MODEL_SLOTS: Final = 44

# --- Codes of words ------------------------------------------------------------------------------
UNITS, CASH_AMOUNT, EQUITY_FRACTION, RISK_FRACTION = 0.0, 1.0, 2.0, 3.0  # kinds of size
FIXED, LINEAR, SQUARE_ROOT = 0.0, 1.0, 2.0  # kinds of slippage

ENTER_LONG, EXIT_LONG, ENTER_SHORT, EXIT_SHORT = 1, 2, 4, 8  # bits of a signal

ORDER, FILL, PARTIAL, FAILED, REJECTED, CANCELLED = 0, 1, 2, 3, 4, 5  # kinds of events
BUY, SELL = 0, 1

# Why an order was given; the first is also the reason of an entry.
SIGNAL, STOP, TRAILING_STOP, TARGET, TIME_LIMIT, DRAWDOWN, DAILY_LOSS, BANKRUPT = range(8)
# Why nothing, or less, came of it.
(
    NO_NEXT_BAR,
    NO_CASH,
    FAILURE,
    PARTIAL_FILL,
    VOLUME_SHARE,
    HALTED,
    THROTTLED,
    COOLING_DOWN,
    ENTRIES_SPENT,
    LIMIT_REACHED,
    POSITION_CLOSED,
    LOSSES_IN_A_ROW,
) = range(8, 20)

# --- The account: floats ------------------------------------------------------------------------
(
    ACCOUNT_CASH,
    ACCOUNT_PEAK,
    ACCOUNT_DAY_START,
    ACCOUNT_EQUITY,
) = range(4)
ACCOUNT_SLOTS: Final = 4

# --- The account: integers ----------------------------------------------------------------------
(
    EVENT_COUNT,
    TRADE_COUNT,
    ENTRY_COUNT,
    LOSS_COUNT,
    HALT_REASON,
    DAY,
    GAIN_BAR,
    REFUSED_BAR,
    REFUSED_REASON,
    EVENT_ROOM,
    TRADE_ROOM,
) = range(11)
COUNT_SLOTS: Final = 11

# --- Each asset: floats -------------------------------------------------------------------------
(
    HELD,
    ENTERED,
    ENTRY_PRICE,
    BEST,
    SPENT,
    RECEIVED,
    FEES,
    EXIT_VALUE,
    EXITED,
    PENDING_ASKED,
    PENDING_LEFT,
    LAST_CLOSE,
) = range(12)
ASSET_SLOTS: Final = 12

# --- Each asset: integers -----------------------------------------------------------------------
# OWN_BAR counts those of its bars that have closed: until its close it is the number of the present
# one. Names that end in OWN_BAR are such numbers, other bars are counted by the common clock.
(
    OWN_BAR,
    PENDING,
    PENDING_SIDE,
    PENDING_REASON,
    PENDING_FROM,
    PENDING_DUE_NS,
    PENDING_LATENCY_NS,
    PENDING_ATTEMPT,
    PENDING_FAILURES,
    PENDING_FIRST_OWN_BAR,
    PENDING_NEXT_OWN_BAR,
    PENDING_NUMBER,
    PENDING_REVERSE,
    PENDING_ROW,
    ORDER_NUMBER,
    TRADE,
    ENTRY_BAR,
    ENTRY_OWN_BAR,
    ENTRY_NS,
    NEXT_LEG,
    LAST_EXIT_OWN_BAR,
    LAST_WAS_LOSS,
    LAST_BAR,
) = range(23)
NUMBER_SLOTS: Final = 23

# --- One event ----------------------------------------------------------------------------------
EVENT_BAR, EVENT_ASSET, EVENT_TRADE, EVENT_KIND, EVENT_SIDE, EVENT_REASON, EVENT_LATE = range(7)
EVENT_CODES: Final = 7
(
    EVENT_QUANTITY,
    EVENT_PRICE,
    EVENT_FEE,
    EVENT_SLIPPAGE,
    EVENT_LATENCY_MS,
    EVENT_REFERENCE,
) = range(6)
EVENT_AMOUNTS: Final = 6

# --- One trade ----------------------------------------------------------------------------------
TRADE_ENTRY, TRADE_EXIT, TRADE_ASSET, TRADE_SIDE, TRADE_REASON = range(5)
TRADE_CODES: Final = 5
(
    TRADE_QUANTITY,
    TRADE_ENTRY_PRICE,
    TRADE_EXIT_PRICE,
    TRADE_FEES,
    TRADE_PNL,
) = range(5)
TRADE_AMOUNTS: Final = 5

NONE: Final = -1
"""No trade, no bar, no reason, no lateness."""
