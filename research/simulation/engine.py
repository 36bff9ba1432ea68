"""The simulation: signals over the bars of one asset, and what came of them.

Owns the order of the rooms: `inputs` checks what comes in, `plan` turns models into numbers,
`session` plays them, `result` and `metrics` say what happened. What the kernel does at each bar is
told in `docs/metrics.md`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from research.simulation import compiled
from research.simulation.costs import CostModel
from research.simulation.execution import ExecutionModel
from research.simulation.inputs import (
    AT_THE_OPEN,
    FREE,
    UNLIMITED,
    Bars,
    Signals,
    bar_count_of,
    check_bars,
    planned,
    signal_bits,
)
from research.simulation.metrics import measure
from research.simulation.result import (
    SimulationResult,
    check_played,
    events_table,
    trades_table,
)
from research.simulation.risk import RiskModel
from research.simulation.run_config import RunConfig
from research.simulation.session import ARRAYS, Played, Session
from research.simulation.sizing import Sizing

_ASSET: Final = "asset"


def simulate(
    bars: Bars,
    entries: Signals,
    exits: Signals,
    *,
    short_entries: Signals | None = None,
    short_exits: Signals | None = None,
    size: float | Sizing = 10.0,
    cash: float = 1_000_000.0,
    execution: ExecutionModel | Mapping[str, Any] = AT_THE_OPEN,
    costs: CostModel | Mapping[str, Any] = FREE,
    risk: RiskModel | Mapping[str, Any] = UNLIMITED,
    seed: int = 0,
    config: RunConfig | Mapping[str, Any] | None = None,
) -> SimulationResult:
    """Trade signals over bars and return what came of it.

    A signal is known at the close of its bar and fills at the next open, or later where the
    execution says so. An entry acts only while flat, an exit only in its own kind of position. An
    exit and the opposite entry on one bar turn the position around at one open.

    Shapes: every column of bars, entries and exits (T,), T >= 2.
    Units:  size in units unless it is a Sizing; cash in money, above 0.
    Raises: InvalidBars, InvalidSignals, InvalidField, UnknownField, NonFiniteEquity; OrderRefused
            if the config says to stop at the first.
    """
    plan = planned("simulate", size, cash, execution, costs, risk, seed, config)
    is_compiled = compiled.is_worth_it(bar_count_of(bars))
    check_bars(bars, plan.needs_volume, is_compiled=is_compiled)
    signals = signal_bits(len(bars["at_ns"]), entries, exits, short_entries, short_exits)
    session = Session([_ASSET], [bars[name] for name in ARRAYS], is_compiled=is_compiled)
    played = session.play(signals, plan)
    return result_of(bars["at_ns"], played, is_compiled=is_compiled)


def compile_engine() -> None:
    """Compile the engine now, or load it from numba's cache, instead of when it is worth it.

    From then on this process plays everything compiled; other processes find the cache warm.
    Raises: ImportError if numba is not installed.
    """
    compiled.functions()
    prices = np.array([1.0, 1.0, 1.0])
    bars = dict.fromkeys(ARRAYS, prices) | {"at_ns": np.arange(3, dtype=np.int64)}
    simulate(bars, [True, False, False], [False, True, False], size=1.0)


def result_of(
    at_ns: NDArray[np.int64], played: Played, assets: Sequence[str] = (), *, is_compiled: bool
) -> SimulationResult:
    """Return the tables, series and figures of what was played.

    Raises: OrderRefused, NonFiniteEquity.
    """
    check_played(played)
    drawdown = np.empty(len(played.equity))
    metrics = measure(at_ns, played, is_compiled=is_compiled, drawdown=drawdown)
    for series in (played.equity, played.exposure, drawdown):
        series.setflags(write=False)
    return SimulationResult(
        trades=trades_table(played, assets),
        events=events_table(played, at_ns, assets),
        equity=played.equity,
        exposure=played.exposure,
        drawdown=drawdown,
        metrics=metrics,
    )
