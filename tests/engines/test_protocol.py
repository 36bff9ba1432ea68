"""An engine says what it can act on, and refuses the rest by name; ours is one of them."""

import pickle
import re
from importlib.util import find_spec

import numpy as np
import pytest

from research.simulation.engine import simulate
from research.simulation.engines.errors import CannotActOn, EngineMissing, UnknownEngine
from research.simulation.engines.native import NativeEngine
from research.simulation.engines.protocol import (
    engine_named,
    engine_names,
    identity,
    refuse_what_it_cannot,
    simulate_with,
)
from research.simulation.engines.question import asked
from research.simulation.errors import InvalidBars, InvalidSignals, SimulationError
from research.simulation.sizing import Sizing

EVERYTHING = {
    "size": Sizing(kind="cash", value=1_000.0),
    "execution": {
        "latency": {"p50": 1.0, "p90": 2.0, "p99": 3.0},
        "slippage": {"base": 0.001},
        "failures": {"base_rate": 0.1},
        "partial_fills": {"probability": 0.1, "fill_range": [0.5, 1.0]},
    },
    "costs": {"fixed_fee": 1.0, "borrow_bps_per_year": 50.0},
    "risk": {"stop_loss": {"initial": -0.03}, "max_drawdown": 0.2},
}


@pytest.fixture(scope="module")
def task(random_tasks):
    return random_tasks[2]


@pytest.mark.parametrize("options", [{}, EVERYTHING])
def test_our_own_engine_answers_as_simulate_does(task, options):
    arguments = (task.bars, task.entries, task.exits)
    ours = simulate(*arguments, **task.shorts, **options)
    same = simulate_with("native", *arguments, **task.shorts, **options)
    assert len(ours.trades["pnl"]) > 5
    assert same.metrics == ours.metrics
    for name, column in ours.events.items():
        np.testing.assert_array_equal(same.events[name], column)


def test_a_question_names_what_it_uses(task):
    plain = asked(task.bars, task.entries, task.exits)
    assert plain.parts() == ("sizing.units",)
    used = asked(task.bars, task.entries, task.exits, **task.shorts, **EVERYTHING).parts()
    assert set(used) == {
        "sizing.cash",
        "signals.short",
        "signals.reversal",
        "execution.latency.p50",
        "execution.latency.p90",
        "execution.latency.p99",
        "execution.slippage.base",
        "execution.failures.base_rate",
        "execution.partial_fills.probability",
        "execution.partial_fills.fill_range",
        "costs.fixed_fee",
        "costs.borrow_bps_per_year",
        "risk.stop_loss.initial",
        "risk.max_drawdown",
    }
    assert set(used) <= NativeEngine().acts_on


@pytest.mark.parametrize("name", ["raptorbt", "vectorbt"])
@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"execution": {"latency": {"p50": 1.0, "p90": 1.0, "p99": 1.0}}}, "execution.latency.p50"),
        ({"execution": {"slippage": {"volume_impact": 0.1}}}, "execution.slippage.volume_impact"),
        ({"execution": {"failures": {"base_rate": 0.1}}}, "execution.failures.base_rate"),
        ({"costs": {"priority_fee": 1.0}}, "costs.priority_fee"),
        ({"risk": {"max_drawdown": 0.1}}, "risk.max_drawdown"),
        ({"risk": {"time_limit": {"bars": 3}}}, "risk.time_limit.bars"),
    ],
)
def test_what_another_engine_cannot_act_on_is_refused_by_name(task, name, options, part):
    with pytest.raises(CannotActOn, match=re.escape(part)) as caught:
        simulate_with(name, task.bars, task.entries, task.exits, **options)
    assert part in caught.value.parts
    assert caught.value.engine == name


def test_the_refusals_of_raptorbt(task):
    shorts = asked(task.bars, task.entries, task.exits, **task.shorts, costs={"fixed_fee": 1.0})
    with pytest.raises(CannotActOn) as caught:
        refuse_what_it_cannot(engine_named("raptorbt"), shorts)
    assert caught.value.parts == ("signals.short", "signals.reversal", "costs.fixed_fee")


def test_a_ladder_is_refused_where_one_target_is_all_there_is(task):
    legs = [{"multiple": 1.02, "fraction": 0.5}, {"multiple": 1.05, "fraction": 0.5}]
    for name in ("raptorbt", "vectorbt"):
        with pytest.raises((CannotActOn, EngineMissing), match=f"{name}"):
            simulate_with(name, task.bars, task.entries, task.exits, risk={"take_profit": legs})


def test_bad_input_is_refused_before_an_engine_is_asked(task):
    with pytest.raises(InvalidSignals):
        simulate_with("vectorbt", task.bars, task.entries[1:], task.exits)
    bars = {**task.bars, "high": task.bars["low"] * 0.5}
    with pytest.raises(InvalidBars):
        simulate_with("raptorbt", bars, task.entries, task.exits)


def test_an_engine_is_data(task):
    assert engine_names() == ("native", "raptorbt", "vectorbt")
    found = identity(engine_named("native"))
    assert found["name"] == "native"
    assert re.fullmatch(r"[0-9a-f]{16}", found["version"])
    with pytest.raises(UnknownEngine, match="native, raptorbt, vectorbt"):
        engine_named("vectorbtpro")


@pytest.mark.parametrize("name", ["raptorbt", "vectorbt"])
def test_an_engine_that_is_not_installed_says_how_to_install_it(task, name):
    if find_spec(name) is not None:
        assert re.match(r"\d+\.\d+\.\d+", engine_named(name).version())
        return
    with pytest.raises(EngineMissing, match="pip install"):
        engine_named(name).version()
    with pytest.raises(EngineMissing, match="pip install"):
        simulate_with(name, task.bars, task.entries, task.exits)


@pytest.mark.parametrize(
    "error",
    [
        CannotActOn("raptorbt", ("risk",), "why"),
        EngineMissing("raptorbt", "research-os[raptorbt]"),
        UnknownEngine("other", ("native",)),
    ],
)
def test_a_refusal_survives_a_process_pool(error):
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(error, SimulationError)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
