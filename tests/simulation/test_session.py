"""The memory of a session: what is written takes room, not what might be."""

import tracemalloc

import numpy as np
import pytest

from research.simulation import compiled, slots
from research.simulation.engine import simulate

COUNT = 30_000


@pytest.fixture
def slow(monkeypatch):
    monkeypatch.setattr(compiled, "is_worth_it", lambda bar_count: False)


def level_bars(make_bars, count):
    return make_bars([64.0] * count, step_ns=60 * 10**9)


def test_level_signals_take_little_memory(make_bars, slow):
    """An entry at every close, and never an exit: one order is filled, and all else is ignored."""
    bars = level_bars(make_bars, COUNT)
    every, never = np.ones(COUNT, np.bool_), np.zeros(COUNT, np.bool_)
    tracemalloc.start()
    try:
        result = simulate(bars, every, never, size=1.0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(result.events["kind"]) == 2
    # Bars, signals and series as lists; rows for four events a signal would be 400 bytes a bar more.
    assert peak < COUNT * 450


@pytest.mark.parametrize("is_compiled", [False, True])
def test_more_rows_than_there_was_room_for_at_first(make_bars, monkeypatch, is_compiled):
    if is_compiled and not compiled.is_available():
        pytest.skip("numba is not installed")
    monkeypatch.setattr(compiled, "is_worth_it", lambda bar_count: is_compiled)
    bars = level_bars(make_bars, COUNT)
    every = np.ones(COUNT, np.bool_)
    result = simulate(bars, every, every, size=1.0)
    # In at the open of every odd bar, out at that of every even one; each an order and a fill.
    trades, events = result.trades, result.events
    assert len(trades["trade_id"]) == COUNT // 2
    assert trades["entry_bar"].tolist() == list(range(1, COUNT, 2))
    assert len(events["kind"]) == 2 * COUNT
    assert events["kind"].tolist().count("fill") == COUNT - 1
    assert (trades["trade_id"] == np.arange(COUNT // 2)).all()
    assert slots.NONE not in trades["exit_bar"][:-1]
