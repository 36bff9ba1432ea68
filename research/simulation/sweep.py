"""Sweeps in one go: many sets of signals and models over the same bars.

Owns what is shared between the points of a sweep: the check of the bars and their memory. Each
point's result is what `simulate` gives for it alone, to the bit; its tables are made when they are
asked for. Points are spread over threads where the compiled kernel leaves the interpreter free.
"""

from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from research.simulation import compiled
from research.simulation.costs import CostModel
from research.simulation.engine import result_of
from research.simulation.errors import InvalidField
from research.simulation.execution import ExecutionModel
from research.simulation.inputs import (
    AT_THE_OPEN,
    FREE,
    UNLIMITED,
    Bars,
    Signals,
    bar_count_of,
    check_bars,
    check_volume,
    planned,
    signal_bits,
)
from research.simulation.metrics import measure
from research.simulation.result import SimulationResult, check_played
from research.simulation.risk import RiskModel
from research.simulation.run_config import RunConfig
from research.simulation.session import ARRAYS, Played, Session
from research.simulation.sizing import Sizing

_BATCH: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SweepPoint:
    """Hold one point of a sweep: what `simulate` takes beside the bars."""

    entries: Signals
    exits: Signals
    short_entries: Signals | None = None
    short_exits: Signals | None = None
    size: float | Sizing = 10.0
    cash: float = 1_000_000.0
    execution: ExecutionModel | Mapping[str, Any] = AT_THE_OPEN
    costs: CostModel | Mapping[str, Any] = FREE
    risk: RiskModel | Mapping[str, Any] = UNLIMITED
    seed: int = 0
    config: RunConfig | Mapping[str, Any] | None = None


class SweepResult:
    """The answer of one point: its metrics and equity at once, all else when it is asked for."""

    def __init__(self, at_ns: NDArray[np.int64], played: Played, *, is_compiled: bool) -> None:
        self._at_ns = at_ns
        self._played = played
        self._is_compiled = is_compiled
        check_played(played)
        played.equity.setflags(write=False)
        self.metrics: Mapping[str, float] = measure(at_ns, played, is_compiled=is_compiled)

    @property
    def equity(self) -> NDArray[np.float64]:
        """The account's worth at each close; read-only. Shapes: (T,)."""
        return self._played.equity

    @cached_property
    def result(self) -> SimulationResult:
        """The whole result, as `simulate` gives it."""
        return result_of(self._at_ns, self._played, is_compiled=self._is_compiled)


def simulate_many(
    bars: Bars, points: Iterable[SweepPoint], *, jobs: int = 1
) -> Iterator[SweepResult]:
    """Play each point over the bars; yield the results in the order of the points.

    With more than one job the points are played in threads, a batch at a time; what they give does
    not depend on it. Without numba threads are no help, and one is used.

    Shapes: every column of bars and every signal (T,), T >= 2.
    Units:  jobs a count, at least 1.
    Raises: InvalidField if jobs is no count; what `simulate` raises, at the point that it concerns.
    """
    if type(jobs) is not int or jobs < 1:
        raise InvalidField("simulate_many", "jobs", repr(jobs), "a whole number, at least 1")
    return _results(bars, points, jobs)


def _results(bars: Bars, points: Iterable[SweepPoint], jobs: int) -> Iterator[SweepResult]:
    session: Session | None = None
    for batch, point_count in _batches(points):
        is_compiled = session is not None and session.is_compiled
        if session is None or (not is_compiled and compiled.is_available()):
            is_compiled = compiled.is_worth_it(bar_count_of(bars) * point_count)
        if session is None:
            check_bars(bars, needs_volume=False, is_compiled=is_compiled)
        if session is None or session.is_compiled != is_compiled:
            columns = [bars[name] for name in ARRAYS]
            session = Session(["asset"], columns, is_compiled=is_compiled)
        play = partial(_play, bars, session)
        if jobs < 2 or not is_compiled:
            yield from map(play, batch)
            continue
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(jobs) as pool:
            yield from pool.map(play, batch)


def _batches(points: Iterable[SweepPoint]) -> Iterator[tuple[list[SweepPoint], int]]:
    """Give the points by batches, and how many are known of: all, or those so far."""
    waiting, seen = iter(points), 0
    total = len(points) if isinstance(points, Sized) else 0
    while batch := list(islice(waiting, _BATCH)):
        seen += len(batch)
        yield batch, max(seen, total)


def _play(bars: Bars, session: Session, point: SweepPoint) -> SweepResult:
    plan = planned(
        "SweepPoint", point.size, point.cash, point.execution, point.costs, point.risk,
        point.seed, point.config,
    )  # fmt: skip
    if plan.needs_volume:
        check_volume(bars)
    signals = signal_bits(
        session.bar_count, point.entries, point.exits, point.short_entries, point.short_exits
    )
    played = session.play(signals, plan)
    return SweepResult(bars["at_ns"], played, is_compiled=session.is_compiled)
