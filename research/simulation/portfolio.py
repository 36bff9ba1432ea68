"""Several assets in one simulation: one account, its cash and its limits shared.

Owns the common clock. Bars are put side by side by their times; where an asset has no bar, nothing
of it fills and its last close counts. Assets are taken in the order of their names, whatever order
they are given in; and no order decides who gets the cash (see `entries`).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from research.simulation import compiled
from research.simulation.costs import CostModel
from research.simulation.engine import result_of
from research.simulation.errors import InvalidSignals
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
from research.simulation.result import SimulationResult
from research.simulation.risk import RiskModel
from research.simulation.run_config import RunConfig
from research.simulation.session import ARRAYS, Session
from research.simulation.sizing import Sizing

SignalsByAsset = Mapping[str, Signals]


def simulate_portfolio(
    bars: Mapping[str, Bars],
    entries: SignalsByAsset,
    exits: SignalsByAsset,
    *,
    short_entries: SignalsByAsset | None = None,
    short_exits: SignalsByAsset | None = None,
    size: float | Sizing = 10.0,
    cash: float = 1_000_000.0,
    execution: ExecutionModel | Mapping[str, Any] = AT_THE_OPEN,
    costs: CostModel | Mapping[str, Any] = FREE,
    risk: RiskModel | Mapping[str, Any] = UNLIMITED,
    seed: int = 0,
    config: RunConfig | Mapping[str, Any] | None = None,
) -> SimulationResult:
    """Trade signals over the bars of several assets with one account.

    At one time exits fill before entries. Entries that the cash could pay one by one, and not
    together, are all made smaller by one factor. The series are over all times that any asset has;
    the bars in the tables count these times.

    Shapes: by asset: every column of its bars and its signals (T_a,), T_a >= 2.
    Units:  as `simulate` has them.
    Raises: InvalidBars, InvalidSignals, InvalidField, UnknownField, NonFiniteEquity, OrderRefused.
    """
    plan = planned("simulate_portfolio", size, cash, execution, costs, risk, seed, config)
    assets = sorted(bars)
    given = {
        "entries": entries,
        "exits": exits,
        "short_entries": short_entries or {},
        "short_exits": short_exits or {},
    }
    _check_assets(assets, given)
    is_compiled = compiled.is_worth_it(sum(bar_count_of(each) for each in bars.values()))
    for asset in assets:
        check_bars(bars[asset], plan.needs_volume, is_compiled=is_compiled, asset=asset)

    at_ns = np.unique(np.concatenate([bars[asset]["at_ns"] for asset in assets]))
    columns = [at_ns, *(_side_by_side(bars, assets, name, at_ns) for name in ARRAYS[1:])]
    signals = np.zeros(len(assets) * len(at_ns), np.int64)
    for number, asset in enumerate(assets):
        own = bars[asset]["at_ns"]
        bits = signal_bits(len(own), *(by_asset.get(asset) for by_asset in given.values()))
        signals[number * len(at_ns) + np.searchsorted(at_ns, own)] = bits

    session = Session(assets, columns, is_compiled=is_compiled)
    played = session.play(signals, plan)
    return result_of(at_ns, played, assets, is_compiled=is_compiled)


def _check_assets(assets: list[str], given: Mapping[str, SignalsByAsset]) -> None:
    """Refuse signals of assets without bars, and a portfolio of nothing.

    Raises: InvalidSignals.
    """
    if not assets:
        raise InvalidSignals("bars", "there is no asset")
    for name, by_asset in given.items():
        for asset in by_asset:
            if asset not in assets:
                raise InvalidSignals(name, f"{asset!r} has no bars; there are {', '.join(assets)}")


def _side_by_side(
    bars: Mapping[str, Bars], assets: list[str], name: str, at_ns: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return a column of all assets on the common clock; NaN where an asset has no bar.

    Shapes: at_ns (T,); returns (A * T,), asset by asset.
    """
    column = np.full(len(assets) * len(at_ns), np.nan)
    for number, asset in enumerate(assets):
        place = np.searchsorted(at_ns, bars[asset]["at_ns"])
        column[number * len(at_ns) + place] = bars[asset][name]
    return column
