"""The desk: all arrays of one simulation, which the kernel's functions hand to one another as one.

Owns the names of the arrays; `slots` says what stands where in them. In the interpreter they are
lists. Nothing is computed here.
"""

from typing import Any, NamedTuple


class Columns(NamedTuple):
    """The bars. Shapes: at_ns (T,); the others (A * T,), asset by asset, NaN for no bar."""

    at_ns: Any
    open: Any
    high: Any
    low: Any
    close: Any
    volume: Any


class Rows(NamedTuple):
    """What is written down: the codes and amounts of events and of trades, row after row."""

    event_codes: Any
    event_amounts: Any
    trade_codes: Any
    trade_amounts: Any


class Series(NamedTuple):
    """The account at each close. Shapes: (T,) each."""

    equity: Any
    exposure: Any
    held: Any


class Desk(NamedTuple):
    """One simulation.

    p        the models' numbers
    legs     the ladder: each leg's multiple, and the fraction sold when it is done
    keys     what each asset's name is for chance
    account  the account's floats, `count` its integers
    pos      each asset's floats, `num` its integers: those of asset a begin at a * SLOTS
    recent   the times of the last entries, as many as the throttle counts
    """

    bars: Columns
    p: Any
    legs: Any
    keys: Any
    seed: Any
    account: Any
    count: Any
    pos: Any
    num: Any
    recent: Any
    rows: Rows
    series: Series
