"""The simulation: long-only, one position at a time, filled at the open after the signal.

Owns the order of the steps and the checks of what comes in. The rules of a fill are in `fills`, the
definitions of the figures in `metrics`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from research.bars import first_fault
from research.simulation import fills
from research.simulation.errors import (
    InvalidBars,
    InvalidField,
    InvalidSignals,
    NonFiniteEquity,
)
from research.simulation.metrics import measure
from research.simulation.models import CostModel, ExecutionModel, Sizing
from research.simulation.parameters import checked_number
from research.simulation.result import (
    SimulationResult,
    account_at_closes,
    events_table,
    trades_table,
)

Signals = NDArray[np.bool_] | Sequence[bool]

AT_THE_OPEN: Final = ExecutionModel()
FREE: Final = CostModel()

_SIZE_KINDS: Final = {
    "units": fills.UNITS,
    "cash": fills.CASH,
    "equity_fraction": fills.EQUITY_FRACTION,
}


def simulate(
    bars: Mapping[str, NDArray[Any]],
    entries: Signals,
    exits: Signals,
    *,
    size: float | Sizing = 10.0,
    cash: float = 1_000_000.0,
    execution: ExecutionModel = AT_THE_OPEN,
    costs: CostModel = FREE,
) -> SimulationResult:
    """Trade signals over bars and return what came of it.

    A signal is known at the close of its bar and fills at the next open. An entry acts only while
    flat, an exit only while in a position; of two on one bar the position so picks one. An order
    that the cash cannot pay, and one on the last bar, is rejected and recorded.

    Shapes: every column of bars, entries and exits (T,), T >= 1.
    Units:  size in units unless it is a Sizing; cash in money, above 0.
    Raises: InvalidBars, InvalidSignals, InvalidField, NonFiniteEquity.
    """
    fault = first_fault(bars)
    if fault is not None:
        raise InvalidBars(fault.column, fault.row, fault.reason)
    at_ns, opens, closes = bars["at_ns"], bars["open"], bars["close"]
    is_entry = _checked_signals("entries", entries, len(at_ns))
    is_exit = _checked_signals("exits", exits, len(at_ns))
    sizing = size if isinstance(size, Sizing) else _units(size)
    cash = checked_number("simulate", "cash", cash, above=0.0)
    _check_class("execution", execution, ExecutionModel)
    _check_class("costs", costs, CostModel)

    codes, amounts = fills.fill_orders(
        np.flatnonzero(is_entry | is_exit),
        is_entry,
        is_exit,
        opens,
        cash,
        _SIZE_KINDS[sizing.kind],
        sizing.value,
        execution.slippage.fraction,
        costs.fee_rate,
        costs.fixed_fee,
        costs.minimum_fee,
    )
    cash_at, held = account_at_closes(codes, amounts, cash, len(at_ns))
    with np.errstate(over="ignore"):  # an overflow is refused below, by name
        invested = held * closes
        equity = cash_at + invested
    finite = np.isfinite(equity)
    if not finite.all():
        raise NonFiniteEquity(int(finite.argmin()))
    exposure = np.divide(invested, equity, out=np.zeros_like(equity), where=invested > 0.0)
    equity.setflags(write=False)
    exposure.setflags(write=False)

    trades = trades_table(codes, amounts, float(closes[-1]))
    return SimulationResult(
        trades=trades,
        events=events_table(codes, amounts, at_ns),
        equity=equity,
        exposure=exposure,
        metrics=measure(at_ns, equity, held, trades),
    )


def _checked_signals(name: str, signals: Signals, bar_count: int) -> NDArray[np.bool_]:
    """Return signals as an array, or refuse what is not one bool for each bar."""
    array = np.asarray(signals)
    if array.ndim != 1:
        raise InvalidSignals(name, f"has {array.ndim} dimensions, not 1")
    if array.dtype != np.bool_:
        raise InvalidSignals(name, f"dtype is {array.dtype}, not bool")
    if len(array) != bar_count:
        raise InvalidSignals(name, f"has {len(array)} rows, but the bars have {bar_count}")
    return array


def _check_class(field: str, model: object, expected: type[Any]) -> None:
    """Refuse what only looks like a model, such as a mapping of its fields."""
    if not isinstance(model, expected):
        raise InvalidField("simulate", field, repr(model), f"of class {expected.__name__}")


def _units(size: float) -> Sizing:
    """Return a bare number as a size in units."""
    return Sizing(value=checked_number("simulate", "size", size, above=0.0))
