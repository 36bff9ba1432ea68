"""A session: bars made ready once, over which any number of signals and models are played.

Owns the choice of speed, and the memory that the kernel writes into. It checks nothing: `engine`
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

_ROOM: Final = 64

ARRAYS: Final = ("at_ns", "open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What the kernel left: events and trades as codes and amounts, and the account at closes.

    Shapes: event_codes (E, 6), event_amounts (E, 7), trade_codes (N, 5), trade_amounts (N, 5);
            equity, exposure, held (T,).
    """

    event_codes: NDArray[np.int64]
    event_amounts: NDArray[np.float64]
    trade_codes: NDArray[np.int64]
    trade_amounts: NDArray[np.float64]
    equity: NDArray[np.float64]
    exposure: NDArray[np.float64]
    held: NDArray[np.int32]
    is_refused: bool
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
        self._bars = tuple(self._ready(column) for column in columns)

    def play(
        self, signals: NDArray[np.int64], numbers: Sequence[float], legs: Sequence[float], seed: int
    ) -> Played:
        """Play signals under the models' numbers.

        Shapes: signals (A * T,) of bits.
        """
        signal_count = int(np.count_nonzero(signals))
        events, trades = 4 * signal_count + _ROOM, signal_count + _ROOM
        while True:
            played, event_count, trade_count = self._play(
                signals, numbers, legs, seed, events, trades
            )
            if event_count <= events and trade_count <= trades:
                return played
            # More than was guessed (stops, legs, retries): once more, with as much room as it took.
            events, trades = max(events, event_count), max(trades, trade_count)

    def _play(
        self,
        signals: NDArray[np.int64],
        numbers: Sequence[float],
        legs: Sequence[float],
        seed: int,
        events: int,
        trades: int,
    ) -> tuple[Played, int, int]:
        asset_count = len(self.keys)
        count = np.zeros(slots.COUNT_SLOTS, np.int64)
        count[slots.EVENT_ROOM], count[slots.TRADE_ROOM] = events, trades
        window = numbers[slots.THROTTLE_TRADES]
        made = [
            np.zeros(slots.ACCOUNT_SLOTS),
            count,
            np.zeros(asset_count * slots.ASSET_SLOTS),
            np.zeros(asset_count * slots.NUMBER_SLOTS, np.int64),
            np.zeros(int(window) if window < np.inf else 1, np.int64),
        ]
        rows = (
            np.zeros(events * slots.EVENT_CODES, np.int64),
            np.zeros(events * slots.EVENT_AMOUNTS),
            np.zeros(trades * slots.TRADE_CODES, np.int64),
            np.zeros(trades * slots.TRADE_AMOUNTS),
        )
        series = (
            np.empty(self.bar_count),
            np.empty(self.bar_count),
            np.empty(self.bar_count, np.int32),
        )
        account, count_, pos, num, recent = (self._ready(each) for each in made)
        ready_rows = tuple(self._ready(each) for each in rows)
        ready_series = tuple(self._ready(each) for each in series)
        self._run(
            self._bars,
            self._ready(signals),
            self._ready(self.keys),
            seed,
            self._ready(np.array(numbers, np.float64)),
            self._ready(np.array(legs, np.float64)),
            account,
            count_,
            pos,
            num,
            recent,
            ready_rows,
            ready_series,
        )
        event_count, trade_count = count_[slots.EVENT_COUNT], count_[slots.TRADE_COUNT]
        is_refused = bool(count_[slots.STATUS] == slots.ORDER_REFUSED)
        played = _played(
            ready_rows, ready_series, min(event_count, events), trade_count, is_refused
        )
        return played, int(event_count), int(trade_count)

    def _ready(self, array: NDArray[Any]) -> Any:
        return array if self.is_compiled else array.tolist()


def asset_key(name: str) -> int:
    """Return the number that an asset's name is for chance: 32 bits of its hash."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "little")


def _played(rows: Any, series: Any, event_count: int, trade_count: int, is_refused: bool) -> Played:
    def table(part: Any, dtype: Any, width: int, count: int) -> NDArray[Any]:
        return np.asarray(part, dtype)[: count * width].reshape(-1, width)

    equity, exposure = (np.asarray(part, np.float64) for part in series[:2])
    return Played(
        event_codes=table(rows[0], np.int64, slots.EVENT_CODES, event_count),
        event_amounts=table(rows[1], np.float64, slots.EVENT_AMOUNTS, event_count),
        trade_codes=table(rows[2], np.int64, slots.TRADE_CODES, trade_count),
        trade_amounts=table(rows[3], np.float64, slots.TRADE_AMOUNTS, trade_count),
        equity=equity,
        exposure=exposure,
        held=np.asarray(series[2], np.int32),
        is_refused=is_refused,
    )
