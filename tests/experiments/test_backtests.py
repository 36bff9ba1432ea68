"""The experiments that trade: golden figures, every parameter within reach, replayed alike."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from research import CostModel, ExecutionModel, ParameterError, RiskModel, Sizing, workspace
from research.context import create_experiment_context
from research.experiments import replay, runs
from research.experiments import run as runner
from research.experiments.builtin import (
    backtest,
    breakout,
    call_ladder,
    rsi_reversion,
    sma_crossover,
)
from research.experiments.parameters import apply_overrides, check_constraints, parse_assignment
from research.experiments.recipe import Request

MODULES = {
    module.DEFAULT_SPEC.experiment_id: module
    for module in (sma_crossover, rsi_reversion, breakout, call_ladder)
}
every_experiment = pytest.mark.parametrize("name", MODULES)

# To the bit: sums in order, divisions and square roots are the same on every machine.
GOLDEN = {
    "rsi_reversion": {
        "total_return": 0.4366136322463672,
        "max_drawdown": 0.2371407695201872,
        "trade_count": 28,
        "fees": 62732.81968489319,
    },
    "breakout": {
        "total_return": -0.18214662324229847,
        "max_drawdown": 0.35243140272916557,
        "trade_count": 48,
        "fees": 76203.19872651358,
    },
    "call_ladder": {
        "total_return": -0.3096861663431937,
        "max_drawdown": 0.30968616634319374,
        "trade_count": 17,
        "fees": 25186.584966375583,
    },
}


def parameters_of(module, *texts):
    """Return an experiment's parameters under ``--param`` texts, checked as a run checks them."""
    spec = module.DEFAULT_SPEC
    overrides = [parse_assignment(text) for text in texts]
    found = apply_overrides(spec.experiment_id, spec.parameters, overrides)
    check_constraints(spec.experiment_id, spec.constraints, found)
    return found


def played(module, spec_over, bars, folder, *texts, seed=42):
    """Run an experiment; return its metrics and the bytes of everything that it wrote."""
    spec = spec_over(module, bars, seed, **parameters_of(module, *texts))
    metrics = module.run(spec, folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return metrics, {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_figures(sp500, spec_over, tmp_path, name):
    metrics, _ = played(MODULES[name], spec_over, sp500, tmp_path)
    assert {key: metrics[key] for key in GOLDEN[name]} == GOLDEN[name]
    assert metrics.keys() == set(MODULES[name].DEFAULT_SPEC.metrics)


@every_experiment
def test_defaults_hold_every_field_of_every_model(name):
    """Written out, so that they are read without being executed; so they are held together here."""
    parameters = MODULES[name].DEFAULT_SPEC.parameters
    for key, model in (
        ("execution", ExecutionModel),
        ("costs", CostModel),
        ("risk", RiskModel),
        ("size", Sizing),
    ):
        made = model.from_parameters(parameters[key])
        assert as_json(made.to_parameters()) == as_json(parameters[key])


def test_experiments_but_the_ladder_differ_from_the_models_defaults_in_two_figures():
    execution, costs = ExecutionModel().to_parameters(), CostModel().to_parameters()
    execution["slippage"]["base"], costs["taker_fee_bps"] = 0.0005, 10.0
    for module in (sma_crossover, rsi_reversion, breakout):
        parameters = module.DEFAULT_SPEC.parameters
        assert as_json(parameters["execution"]) == as_json(execution)
        assert as_json(parameters["costs"]) == as_json(costs)
        assert as_json(parameters["risk"]) == as_json(RiskModel().to_parameters())


def as_json(value):
    return json.dumps(value, sort_keys=True)


@every_experiment
def test_twice_the_same_bytes(sp500, spec_over, tmp_path, name):
    first = played(MODULES[name], spec_over, sp500, tmp_path / "first")
    assert first == played(MODULES[name], spec_over, sp500, tmp_path / "again")
    tables = {path.partition(".table")[0] for path in first[1]}
    events = set() if name == "sma_crossover" else {"events"}
    assert tables == {"trades", "equity"} | events


# Every parameter of the four models: what goes with it, and a value that changes the outcome.
NEEDED = ("direction=both",)
LADDER = ("risk.take_profit[0].multiple=1.03", "risk.take_profit[0].fraction=0.4")
FAILING = ("execution.failures.base_rate=0.4",)
LATE_MS = 3 * 86_400_000
EFFECTS = [
    ((), "cash=500000"),
    ((), "size.kind=cash"),
    ((), "size.value=0.5"),
    (
        ("execution.latency.p90=1e9", "execution.latency.p99=1e9"),
        f"execution.latency.p50={LATE_MS}",
    ),
    (("execution.latency.p99=1e9",), f"execution.latency.p90={LATE_MS}"),
    ((), f"execution.latency.p99={30 * LATE_MS}"),
    ((), f"execution.latency.jitter={2 * LATE_MS}"),
    ((), "execution.slippage.base=0.002"),
    ((), "execution.slippage.volume_impact=100"),
    (("execution.slippage.volume_impact=100",), "execution.slippage.max=0.0004"),
    (("execution.slippage.volume_impact=100",), "execution.slippage.kind=square_root"),
    (("execution.slippage.volume_impact=1e-6",), "execution.slippage.impact_of=units"),
    ((), "execution.failures.base_rate=0.4"),
    (FAILING, "execution.failures.congestion_multiplier=1e6"),
    (FAILING, "execution.failures.retries=3"),
    ((*FAILING, "execution.failures.retries=3"), "execution.failures.backoff_bars=7"),
    (("execution.partial_fills.fill_range=[0.5,0.9]",), "execution.partial_fills.probability=0.7"),
    (("execution.partial_fills.probability=0.7",), "execution.partial_fills.fill_range=[0.5,0.9]"),
    (("execution.partial_fills.probability=0.7",), "execution.partial_fills.fill_range[0]=0.5"),
    ((), "execution.partial_fills.volume_share=1e-8"),
    ((), "costs.taker_fee_bps=5"),
    (LADDER, "costs.maker_fee_bps=1.5"),
    ((), "costs.fixed_fee=20"),
    ((), "costs.minimum_fee=3000"),
    ((), "costs.priority_fee=5"),
    (("costs.priority_fee=5",), "costs.priority_fee_max=2"),
    ((), "costs.borrow_bps_per_year=50"),
    ((), "risk.stop_loss.initial=-0.02"),
    ((), "risk.stop_loss.trailing=-0.03"),
    (("risk.stop_loss.trailing=-0.03",), "risk.stop_loss.activation=0.03"),
    ((), 'risk.take_profit=[{"multiple": 1.04, "fraction": 0.3}]'),
    (LADDER[1:], "risk.take_profit[0].multiple=1.04"),
    (LADDER[:1], "risk.take_profit[0].fraction=0.45"),
    ((), "risk.time_limit.bars=5"),
    ((), "risk.time_limit.hours=100"),
    ((), "risk.max_drawdown=0.05"),
    ((), "risk.max_daily_loss=0.005"),
    ((), "risk.max_consecutive_losses=1"),
    ((), "risk.max_position=0.5"),
    ((), "risk.max_exposure=0.5"),
    (("risk.throttle.window_minutes=5000000",), "risk.throttle.max_trades=1"),
    (("risk.throttle.max_trades=1",), "risk.throttle.window_minutes=5000000"),
    ((), "risk.re_entry.cooldown_bars=200"),
    ((), "risk.re_entry.cooldown_after_loss_bars=200"),
    ((), "risk.re_entry.max_entries=3"),
]


def leaves(value, path=""):
    """Name every leaf; an empty list has the leaves of a leg."""
    if path == "risk.take_profit":
        return {"risk.take_profit[0].multiple", "risk.take_profit[0].fraction"}
    if isinstance(value, dict):
        return set().union(*(leaves(v, f"{path}.{k}" if path else k) for k, v in value.items()))
    return {path}


def test_the_list_of_parameters_is_whole():
    trees = {
        key: breakout.DEFAULT_SPEC.parameters[key]
        for key in ("cash", "size", "execution", "costs", "risk")
    }
    assert {text.partition("=")[0] for _, text in EFFECTS} >= leaves(trees)


def without_what_is_alone(name, texts):
    """Give what a parameter needs, as far as the experiment knows it."""
    known = MODULES[name].DEFAULT_SPEC.parameters
    return [text for text in texts if text.partition("=")[0] in known or "." in text]


@every_experiment
@pytest.mark.parametrize(("company", "text"), EFFECTS, ids=[text for _, text in EFFECTS])
def test_every_parameter_is_within_reach_and_acts(sp500, spec_over, tmp_path, name, company, text):
    company = without_what_is_alone(name, (*NEEDED, *company))
    module = MODULES[name]
    try:
        without = played(module, spec_over, sp500, tmp_path / "without", *company)
    except ParameterError:
        without = None  # half of a pair
    found = played(module, spec_over, sp500, tmp_path / "with", *company, text)
    # The calls are long, and borrow nothing.
    acts = not (name == "call_ladder" and text.startswith("costs.borrow"))
    assert (found != without) == acts


@every_experiment
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("risk.max_drawdown=much", "max_drawdown is 'much'"),
        ("risk.max_drawdown=2", "max_drawdown is 2"),
        ("risk.re_entry.max_entries=1.5", "max_entries is 1.5"),
        ("execution.latency.p50=5", "p90 is 0.0"),
        ("size.kind=lots", "kind is 'lots'"),
        ('risk.take_profit=[{"multiple": 1.1, "fraction": 2}]', "fraction is"),
    ],
)
def test_what_a_model_refuses_is_a_parameter_error(sp500, spec_over, tmp_path, name, text, words):
    with pytest.raises(ParameterError, match=words):
        played(MODULES[name], spec_over, sp500, tmp_path, text)


def test_a_leg_with_a_field_of_another_name(sp500, spec_over, tmp_path):
    with pytest.raises(ParameterError, match="no field 'multipel'"):
        played(breakout, spec_over, sp500, tmp_path, "risk.take_profit[0].multipel=1.1")


@pytest.mark.parametrize(
    ("name", "window"),
    [("rsi_reversion", "window"), ("breakout", "entry_window"), ("breakout", "exit_window")],
)
def test_windows_must_be_shorter_than_the_data(sp500, spec_over, tmp_path, name, window):
    bars = {column: values[:100] for column, values in sp500.items()}
    with pytest.raises(ParameterError, match=f"{window} is 100; .* 100"):
        played(MODULES[name], spec_over, bars, tmp_path, f"{window}=100")


def test_seed_decides_where_there_is_chance_and_nowhere_else(sp500, spec_over, tmp_path):
    for text, is_same in (("cash=1e6", True), ("execution.failures.base_rate=0.3", False)):
        found = [
            played(breakout, spec_over, sp500, tmp_path / f"{text}{seed}", text, seed=seed)
            for seed in (1, 2)
        ]
        assert (found[0] == found[1]) == is_same


def test_ladder_sells_in_steps_what_the_calls_bought(sp500, spec_over, tmp_path, monkeypatch):
    tables = {}
    monkeypatch.setattr(
        backtest, "save_table", lambda _, name, columns, units: tables.update({name: columns})
    )
    call_ladder.run(spec_over(call_ladder, sp500), tmp_path)
    trades, events = tables["trades"], tables["events"]
    calls = sp500["at_ns"][trades["entry_bar"] - 1].astype("datetime64[ns]").astype("datetime64[D]")
    lines = Path(call_ladder.__file__).with_name("rate_cuts.csv").read_text("utf-8").split()
    assert {line.partition(",")[0] for line in lines} >= set(calls.astype(str).tolist())
    assert set(trades["exit_reason"].tolist()) == {"stop_loss", "take_profit", "time_limit"}

    # Of each trade the ladder sells a half, a quarter and a quarter at most, each once.
    entered = dict(zip(trades["trade_id"].tolist(), trades["quantity"].tolist(), strict=True))
    is_step = (events["reason"] == "take_profit") & np.isin(events["kind"], ["fill", "partial"])
    steps = {}
    for trade_id, quantity in zip(
        events["trade_id"][is_step].tolist(), events["quantity"][is_step].tolist(), strict=True
    ):
        steps.setdefault(trade_id, []).append(quantity / entered[trade_id])
    assert len(steps) > 3
    for parts in steps.values():
        assert parts == pytest.approx([0.5, 0.25, 0.25][: len(parts)])


# --- In a workspace -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backtests") / "workspace"
    workspace.init(folder, bare=False)
    made = create_experiment_context(folder)
    yield made
    made.store.close()


def recorded(context, name, *texts):
    overrides = [parse_assignment(text) for text in texts]
    request = Request(experiment_id=name, overrides=overrides, dataset=None, seed=None)
    return runner.run(context, request).manifest


@every_experiment
def test_a_run_is_replayed_identically_and_costs_change_its_outcome(context, name):
    outcomes = []
    for slippage, fee in product((0.0005, 0.001), (5, 10)):
        manifest = recorded(
            context, name, f"execution.slippage.base={slippage}", f"costs.taker_fee_bps={fee}"
        )
        outcomes.append(manifest.outcome_id)
        if len(outcomes) == 1:
            assert replay.replay(context, manifest.run_id).verdict == "identical"
    assert len(set(outcomes)) == 4


def test_default_outcome_of_the_crossover_is_the_one_it_has_always_been(context):
    """Recorded by the first version of the engine, before most of the models were there."""
    outcome = str(recorded(context, "sma_crossover").outcome_id)
    assert outcome == "8a64300f49319c8cdc7840d3ea567c9f5abcf78bdd4a0a98eb2dea323b552c4a"


def test_calls_are_a_part_of_the_code_that_the_fingerprint_holds(context):
    recipe = runs.read_run(context.store, recorded(context, "call_ladder").run_id).recipe
    link = recipe.links["code"]
    for name in ("research", "experiments", "builtin", "rate_cuts.csv"):
        link = context.store.get_tree(link)[name].link
    shipped = Path(call_ladder.__file__).with_name("rate_cuts.csv")
    assert context.store.get_blob(link) == shipped.read_bytes()
