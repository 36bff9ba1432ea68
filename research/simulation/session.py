"""A session: bars made ready once, over which any number of signals and models are played.

Owns the choice of speed, and the memory that the kernel writes into. It checks nothing: `inputs`
has seen the bars and the signals. In Python the kernel reads lists, whose elements cost a third of
an array's; compiled, it reads arrays.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from research.simulation import compiled, kernel, slots
from research.simulation.desk import Columns, Desk, Rows, Series
from research.simulation.plan import Plan

_ROOM: Final = 4096
_BARS_A_ROW: Final = 16
"""Rows at first: some thousands, and one for so many bars. Most simulations write fewer."""

ARRAYS: Final = ("at_ns", "open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What the kernel left: events and trades as codes and amounts, and the account at closes.

    Shapes: event_codes (E, 7), event_amounts (E, 6), trade_codes (N, 5), trade_amounts (N, 5);
            equity, exposure, held (T,).
    """

    event_codes: NDArray[np.int64]
    event_amounts: NDArray[np.float64]
    trade_codes: NDArray[np.int64]
    trade_amounts: NDArray[np.float64]
    equity: NDArray[np.float64]
    exposure: NDArray[np.float64]
    held: NDArray[np.int32]
    refused_bar: int = slots.NONE
    refused_reason: int = slots.NONE
    """The models said to stop at the first order that nothing came of, and there was one."""


class Session:
    """Bars of one or several assets, ready for the kernel."""

    def __init__(
        self, assets: Sequence[str], columns: Sequence[NDArray[Any]], *, is_compiled: bool
    ) -> None:
        """Take the columns: at_ns (T,), the others (A * T,), asset by asset."""
        self.is_compiled = is_compiled
        self.keys = np.array([asset_key(name) for name in assets], np.int64)
        self.bar_count = len(columns[0])
        self._run = compiled.functions().run if is_compiled else kernel.run
        self._bars = Columns(*(self._ready(unwritable(column)) for column in columns))

    def play(self, signals: NDArray[np.int64], plan: Plan) -> Played:
        """Play signals by a plan.

        Shapes: signals (A * T,) of bits.
        """
        events = trades = _ROOM + self.bar_count // _BARS_A_ROW
        while True:
            desk = self._desk(plan, events, trades)
            self._run(desk, self._ready(unwritable(signals)))
            played = _played(desk)
            event_count, trade_count = desk.count[slots.EVENT_COUNT], desk.count[slots.TRADE_COUNT]
            if event_count <= events and trade_count <= trades:
                return played
            # Once more, with as much room as it took: the kernel has counted what it did not write.
            events, trades = max(events, int(event_count)), max(trades, int(trade_count))

    def _desk(self, plan: Plan, events: int, trades: int) -> Desk:
        asset_count = len(self.keys)
        count = self._integers(slots.COUNT_SLOTS)
        count[slots.EVENT_ROOM], count[slots.TRADE_ROOM] = events, trades
        window = plan.numbers[slots.THROTTLE_TRADES]
        ready, floats, integers = self._ready, self._floats, self._integers
        return Desk(
            bars=self._bars,
            p=ready(np.array(plan.numbers, np.float64)),
            legs=ready(np.array(plan.legs, np.float64)),
            keys=ready(self.keys),
            seed=plan.seed,
            account=floats(slots.ACCOUNT_SLOTS),
            count=count,
            pos=floats(asset_count * slots.ASSET_SLOTS),
            num=integers(asset_count * slots.NUMBER_SLOTS),
            recent=integers(int(window) if window < np.inf else 1),
            rows=Rows(
                event_codes=integers(events * slots.EVENT_CODES),
                event_amounts=floats(events * slots.EVENT_AMOUNTS),
                trade_codes=integers(trades * slots.TRADE_CODES),
                trade_amounts=floats(trades * slots.TRADE_AMOUNTS),
            ),
            series=Series(
                equity=self._series(np.float64),
                exposure=self._series(np.float64),
                held=self._series(np.int32),
            ),
        )

    def _ready(self, array: NDArray[Any]) -> Any:
        return array if self.is_compiled else array.tolist()

    def _series(self, dtype: Any) -> Any:
        """Return room for one number at each bar, none of which is read before it is written."""
        return np.empty(self.bar_count, dtype) if self.is_compiled else [0] * self.bar_count

    def _floats(self, count: int) -> Any:
        return np.zeros(count) if self.is_compiled else [0.0] * count

    def _integers(self, count: int) -> Any:
        return np.zeros(count, np.int64) if self.is_compiled else [0] * count


def unwritable(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view that cannot be written: of both sorts of array the kernel compiles one."""
    view = array.view()
    view.setflags(write=False)
    return view


def asset_key(name: str) -> int:
    """Return the number that an asset's name is for chance: 32 bits of its hash."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "little")


def _played(desk: Desk) -> Played:
    def table(part: Any, dtype: Any, width: int, room: int, count: int) -> NDArray[Any]:
        rows = np.asarray(part, dtype)[: min(room, count) * width]
        return rows.reshape(-1, width)

    count, rows, series = desk.count, desk.rows, desk.series
    events = (count[slots.EVENT_ROOM], count[slots.EVENT_COUNT])
    trades = (count[slots.TRADE_ROOM], count[slots.TRADE_COUNT])
    return Played(
        event_codes=table(rows.event_codes, np.int64, slots.EVENT_CODES, *events),
        event_amounts=table(rows.event_amounts, np.float64, slots.EVENT_AMOUNTS, *events),
        trade_codes=table(rows.trade_codes, np.int64, slots.TRADE_CODES, *trades),
        trade_amounts=table(rows.trade_amounts, np.float64, slots.TRADE_AMOUNTS, *trades),
        equity=np.asarray(series.equity, np.float64),
        exposure=np.asarray(series.exposure, np.float64),
        held=np.asarray(series.held, np.int32),
        refused_bar=int(count[slots.REFUSED_BAR]),
        refused_reason=int(count[slots.REFUSED_REASON]),
    )
