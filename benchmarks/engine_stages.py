"""Where the time of one simulation goes: checks, kernel, figures, tables.

Owns the split. Each stage is called by itself as `simulate` calls it.
"""

from collections.abc import Callable
from typing import Any

from benchmarks.engine_market import CASH, EVERY_MODEL, PLAIN, SIZE, Market
from benchmarks.instruments import seconds_each
from benchmarks.page import Table, number
from research.simulation.engine import result_of
from research.simulation.inputs import check_bars, planned, signal_bits
from research.simulation.metrics import measure as measure_metrics
from research.simulation.plan import Plan
from research.simulation.result import check_played, events_table, trades_table
from research.simulation.session import ARRAYS, Session


def measure(market: Market, rounds: int) -> Table:
    """Time the stages, warm and compiled, under the plain models and under all."""
    columns = [_stages(market, given, rounds) for given in (PLAIN, EVERY_MODEL)]
    rows = [[name, *(number(column[name] * 1000) for column in columns)] for name in columns[0]]
    return Table(
        title="Where ours spends its time, ms",
        header=["stage", "plain", "every model on"],
        rows=rows,
    )


def _stages(market: Market, given: dict[str, Any], rounds: int) -> dict[str, float]:
    bars, (entries, exits) = market.bars, market.signals[0]

    def models() -> Plan:
        risk = given.get("risk", {})
        return planned("simulate", SIZE, CASH, given["execution"], given["costs"], risk, 0, None)

    plan = models()
    signals = signal_bits(len(entries), entries, exits, None, None)
    session = Session(["asset"], [bars[name] for name in ARRAYS], is_compiled=True)
    played = session.play(signals, plan)
    at_ns = bars["at_ns"]
    stages: dict[str, Callable[[], object]] = {
        "models read": models,
        "bars checked": lambda: check_bars(bars, plan.needs_volume, is_compiled=True),
        "signals checked": lambda: signal_bits(len(entries), entries, exits, None, None),
        "kernel": lambda: session.play(signals, plan),
        "what was played checked": lambda: check_played(played),
        "tables": lambda: (trades_table(played), events_table(played, at_ns)),
        "figures and drawdown": lambda: measure_metrics(at_ns, played, is_compiled=True),
        "all of that together": lambda: result_of(at_ns, played, is_compiled=True),
    }
    return {
        name: min(seconds_each(rounds, lambda _, act=act: act()))  # type: ignore[misc]
        for name, act in stages.items()
    }
