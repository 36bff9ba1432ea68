"""The kernel as Python and compiled: the same bits, every model on."""

import dataclasses
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.bars import first_fault
from research.simulation import chance, compiled
from research.simulation.engine import simulate
from research.simulation.metrics import measure

pytestmark = pytest.mark.skipif(
    find_spec("numba") is None, reason="numba is not installed: there is only one speed"
)


def bits_of(played):
    """Return every bit of what was played, by the names of its parts."""
    found = {}
    for field in dataclasses.fields(played):
        value = getattr(played, field.name)
        is_array = isinstance(value, np.ndarray)
        found[field.name] = (str(value.dtype), value.shape, value.tobytes()) if is_array else value
    return found


@settings(max_examples=300)
@given(data=st.data())
def test_the_same_bits(any_market, data):
    market = data.draw(any_market)
    assert bits_of(market.play(is_compiled=False)) == bits_of(market.play(is_compiled=True))


@given(data=st.data())
def test_the_same_figures(any_market, data):
    market = data.draw(any_market)
    played = market.play(is_compiled=True)
    found = [measure(market.at_ns, played, is_compiled=flag) for flag in (False, True)]
    assert [(name, value.hex()) for name, value in floats(found[0])] == [
        (name, value.hex()) for name, value in floats(found[1])
    ]


def floats(metrics):
    return [(name, float(value)) for name, value in metrics.items()]


@given(data=st.data())
def test_without_events_the_same_trades(any_market, data):
    market = data.draw(any_market)
    silent = dataclasses.replace(market.config, event_log=False)
    for is_compiled in (False, True):
        full = bits_of(market.play(is_compiled=is_compiled))
        quiet = bits_of(dataclasses.replace(market, config=silent).play(is_compiled=is_compiled))
        assert quiet["event_codes"][1] == (0, 7)
        for name in ("trade_codes", "trade_amounts", "equity", "exposure", "held"):
            assert quiet[name] == full[name]


@given(
    seed=st.integers(0, 2**63 - 1),
    stream=st.integers(1, 5),
    asset=st.integers(0, 2**32 - 1),
    number=st.integers(0, 2**40),
    attempt=st.integers(0, 2**20),
)
def test_the_same_draws(seed, stream, asset, number, attempt):
    key = (seed, stream, asset, number, attempt)
    assert chance.uniform(*key) == compiled.functions().uniform(*key)


@given(data=st.data())
def test_bars_are_sound_for_both_or_looked_at_closely(any_market, data):
    """The quick check may send sound bars to the close one, never unsound bars past it."""
    market = data.draw(any_market)
    names = ("opens", "highs", "lows", "closes", "volumes")
    columns = {name: getattr(market, name)[0].copy() for name in names}
    row = data.draw(st.integers(0, len(market.at_ns) - 1))
    value = data.draw(st.sampled_from([np.nan, np.inf, -1.0, 0.0, 64.0, 1e6]))
    columns[data.draw(st.sampled_from(names))][row] = value
    bars = {name.removesuffix("s"): column for name, column in columns.items()}
    bars["at_ns"] = market.at_ns
    listed = tuple(bars[name] for name in ("open", "high", "low", "close", "volume"))
    if compiled.functions().is_sound(bars["at_ns"], listed):
        assert first_fault(bars) is None


def test_simulate_answers_alike_at_both_speeds(make_bars, monkeypatch):
    chance_of = np.random.default_rng(8)
    closes = 100.0 * np.cumprod(1.0 + chance_of.normal(0.0, 0.01, 2_000))
    bars = make_bars(np.concatenate(([100.0], closes[:-1])), closes)
    entries, exits = chance_of.random(2_000) < 0.05, chance_of.random(2_000) < 0.05
    found = []
    for is_compiled in (False, True):
        monkeypatch.setattr(compiled, "is_worth_it", lambda _, flag=is_compiled: flag)
        found.append(
            simulate(
                bars,
                entries,
                exits,
                costs={"taker_fee_bps": 5.0},
                execution={"slippage": {"base": 0.001}, "failures": {"base_rate": 0.1}},
                risk={"stop_loss": {"initial": -0.03, "trailing": -0.02}},
                seed=4,
            )
        )

    slow, fast = found

    assert dict(slow.metrics) == dict(fast.metrics)
    assert len(slow.trades["pnl"]) > 20
    for table in ("trades", "events"):
        for name, column in getattr(slow, table).items():
            np.testing.assert_array_equal(getattr(fast, table)[name], column)
    for name in ("equity", "exposure", "drawdown"):
        assert getattr(slow, name).tobytes() == getattr(fast, name).tobytes()


def test_the_engine_can_be_compiled_ahead(tmp_path):
    """In a process of its own: here it is compiled already."""
    code = (
        "from research import compile_engine\n"
        "from research.simulation import compiled\n"
        "assert not compiled.is_worth_it(10)\n"
        "compile_engine()\n"
        "assert compiled.is_worth_it(10)\n"
        "print('compiled')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "compiled\n"
