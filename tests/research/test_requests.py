"""Requests: however they are spelled, equal ones are equal; what has no place is refused by name."""

import itertools
import json
import pickle
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research import CostModel, ExecutionModel, ParameterSweepRequest, RiskModel, SimulationRequest
from research.errors import BadInput, UnknownParameter
from research.experiments.builtin import call_ladder, gamma_signal_sanity, sma_crossover
from research.experiments.parameters import apply_overrides
from research.experiments.request_axes import to_sweep_request
from research.experiments.request_fields import field_path, parameter_path
from research.experiments.sweep_points import grid

SMA = sma_crossover.DEFAULT_SPEC.parameters
LADDER = call_ladder.DEFAULT_SPEC.parameters
GAMMA = gamma_signal_sanity.DEFAULT_SPEC.parameters

FULL = {
    "strategy": {"id": "sma_crossover", "parameters": {"fast": 10, "slow": 50}},
    "data_snapshot": "sp500-daily@1999-2018",
    "execution_model": {"slippage": {"base": 0.001, "volume_impact": 0.1}, "latency": {"p99": 9}},
    "cost_model": {"taker_fee_bps": 5.0, "priority_fee_max": 2.0},
    "risk_model": {
        "take_profit": [{"multiple": 1.05, "fraction": 0.5}, {"multiple": 1.1, "fraction": 0.25}],
        "stop_loss": {"initial": -0.03},
        "time_limit": {"bars": 30},
    },
    "sizing": {"kind": "cash", "value": 1000},
    "run_config": {"seed": 7},
}


def camel(value):
    """Spell all names of a document as JSON does; the strategy's own stay."""
    if isinstance(value, dict):
        return {
            name.split("_")[0] + "".join(w.capitalize() for w in name.split("_")[1:]): camel(each)
            for name, each in value.items()
        }
    return [camel(each) for each in value] if isinstance(value, list) else value


def shuffled(value, chance):
    if isinstance(value, dict):
        items = list(value.items())
        chance.shuffle(items)
        return {name: shuffled(each, chance) for name, each in items}
    return [shuffled(each, chance) for each in value] if isinstance(value, list) else value


def values_of(request, declared):
    asked = request.to_request(declared)
    return apply_overrides(asked.experiment_id, declared, asked.overrides)


def test_every_spelling_is_one_request():
    by_class = SimulationRequest(
        strategy="sma_crossover",
        cost_model=CostModel(taker_fee_bps=5.0),
        execution_model=ExecutionModel(slippage={"base": 0.001}),
        risk_model=RiskModel(take_profit=[{"multiple": 1.05, "fraction": 0.5}]),
    )
    by_mapping = SimulationRequest(
        strategy={"id": "sma_crossover"},
        risk_model={"take_profit": [{"fraction": 0.5, "multiple": 1.05}]},
        execution_model={"slippage": {"base": 0.001}},
        cost_model={"taker_fee_bps": 5},
    )
    by_json = SimulationRequest.from_json(
        {
            "costModel": {"takerFeeBps": 5},
            "riskModel": {"takeProfit": [{"multiple": 1.05, "fraction": 0.5}]},
            "executionModel": {"slippage": {"base": 0.001}},
            "strategy": "sma_crossover",
        }
    )

    assert by_class == by_mapping == by_json
    assert by_class.to_request(SMA) == by_mapping.to_request(SMA) == by_json.to_request(SMA)
    assert by_class.to_json() == by_json.to_json()


@given(st.integers())
def test_order_and_spelling_decide_nothing(seed):
    chance = random.Random(seed)
    plain = SimulationRequest(**FULL)
    document = shuffled({**camel(FULL), "strategy": FULL["strategy"]}, chance)

    assert SimulationRequest.from_json(document) == plain
    assert SimulationRequest(**shuffled(FULL, chance)).to_request(SMA) == plain.to_request(SMA)


def test_json_reads_back():
    request = SimulationRequest(**FULL)
    document = json.loads(json.dumps(request.to_json(), allow_nan=False))

    assert set(document) == {
        "dataSnapshot", "strategy", "executionModel", "costModel", "riskModel", "sizing",
        "runConfig",
    }  # fmt: skip
    assert document["costModel"]["takerFeeBps"] == 5.0
    assert document["riskModel"]["takeProfit"][1] == {"multiple": 1.1, "fraction": 0.25}
    assert SimulationRequest.from_json(document) == request
    assert pickle.loads(pickle.dumps(request)) == request
    assert SimulationRequest(strategy="x").to_json() == {"strategy": {"id": "x", "parameters": {}}}


def test_models_become_the_parameters_of_the_experiment():
    values = values_of(SimulationRequest(**FULL), SMA)
    asked = SimulationRequest(**FULL).to_request(SMA)

    assert (asked.experiment_id, asked.dataset, asked.seed) == (
        "sma_crossover", "sp500-daily@1999-2018", 7,
    )  # fmt: skip
    assert (values["fast"], values["slow"], values["cash"]) == (10, 50, 1_000_000.0)
    assert values["execution"]["slippage"]["base"] == 0.001
    assert values["execution"]["latency"] == {"p50": 0.0, "p90": 0.0, "p99": 9.0, "jitter": 0.0}
    assert values["costs"]["taker_fee_bps"] == 5.0
    assert values["risk"]["take_profit"] == FULL["risk_model"]["take_profit"]
    assert values["size"] == {"kind": "cash", "value": 1000.0}


def test_a_model_is_the_whole_model_and_its_absence_the_experiments_own():
    given = SimulationRequest(strategy="sma_crossover", execution_model={"latency": {"p99": 1}})

    assert values_of(given, SMA)["execution"]["slippage"]["base"] == 0.0
    assert values_of(given, SMA)["costs"] == SMA["costs"]
    assert values_of(SimulationRequest(strategy="sma_crossover"), SMA) == SMA
    # Of a ladder too: the third leg of the experiment's own is gone.
    request = SimulationRequest(strategy="call_ladder", risk_model=FULL["risk_model"])
    assert values_of(request, LADDER)["risk"]["take_profit"] == FULL["risk_model"]["take_profit"]
    assert SimulationRequest(strategy="sma_crossover").to_request(SMA).seed is None


def test_a_limit_that_the_experiment_always_has_is_not_silently_kept():
    # The type of the default is the type: it has no None. Refused, where 60 bars would be a lie.
    request = SimulationRequest(
        strategy="call_ladder", risk_model={"stop_loss": {"initial": -0.03}}
    )

    with pytest.raises(BadInput, match=r"risk\.time_limit\.bars"):
        values_of(request, LADDER)


def test_an_experiment_that_declares_some_fields_is_asked_for_those():
    declared = {"costs": {"taker_fee_bps": 10.0}}
    fee = SimulationRequest(strategy="x", cost_model={"taker_fee_bps": 3})
    fixed = SimulationRequest(strategy="x", cost_model={"fixed_fee": 3})

    assert fee.to_request(declared).overrides == (("costs.taker_fee_bps", 3.0),)
    assert ("costs.fixed_fee", 3.0) in fixed.to_request(declared).overrides
    with pytest.raises(UnknownParameter):
        values_of(fixed, declared)


@pytest.mark.parametrize("name", ["execution_model", "cost_model", "risk_model", "sizing"])
def test_a_model_that_the_experiment_does_not_have_is_refused(name):
    request = SimulationRequest(strategy="gamma_signal_sanity", **{name: FULL[name]})

    with pytest.raises(UnknownParameter, match=f"gamma_signal_sanity has no parameter '{name}'"):
        request.to_request(GAMMA)


def test_a_run_config_that_nothing_obeys_is_refused():
    silent = SimulationRequest(strategy="gamma_signal_sanity", run_config={"seed": 1})
    loud = SimulationRequest(
        strategy="gamma_signal_sanity", run_config={"seed": 1, "errorMode": "fail_fast"}
    )

    assert silent.to_request(GAMMA).overrides == ()
    with pytest.raises(UnknownParameter, match=r"run_config\.error_mode"):
        values_of(loud, GAMMA)
    declared = {"run_config": {"error_mode": "fail_fast"}}
    assert values_of(silent, declared) == {"run_config": {"error_mode": "collect"}}


@pytest.mark.parametrize(
    ("field", "given", "said", "near"),
    [
        ("cost_model", {"takerFeeBp": 1}, "takerFeeBp", "takerFeeBps"),
        ("cost_model", {"taker_fee_bp": 1}, "taker_fee_bp", "taker_fee_bps"),
        ("execution_model", {"slippage": {"bas": 1}}, "bas", "base"),
        ("risk_model", {"take_profit": [{"multipel": 2}]}, "multipel", "multiple"),
        ("strategy", {"id": "x", "params": {}}, "params", "parameters"),
        ("run_config", {"seeds": 1}, "seeds", "seed"),
        ("sizing", {"value": 1, "kinds": 1}, "kinds", "kind"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(field, given, said, near):
    with pytest.raises(UnknownParameter) as caught:
        SimulationRequest(**{"strategy": "x", field: given})

    assert caught.value.path == said
    assert caught.value.near[0] == near
    assert caught.value.experiment.startswith(field)


@pytest.mark.parametrize(
    "given",
    [
        {"strategy": ""},
        {"strategy": 5},
        {"strategy": {"parameters": {}}},
        {"strategy": {"id": "x", "parameters": [1]}},
        {"strategy": "x", "data_snapshot": 5},
        {"strategy": "x", "data_snapshot": ""},
        {"strategy": "x", "cost_model": 5},
        {"strategy": "x", "cost_model": {"taker_fee_bps": -1}},
        {"strategy": "x", "cost_model": {"taker_fee_bps": "5"}},
        {"strategy": "x", "cost_model": {"taker_fee_bps": 5, "takerFeeBps": 5}},
        {"strategy": "x", "execution_model": {"slippage": 0.1}},
        {"strategy": "x", "risk_model": {"take_profit": {"multiple": 2}}},
        {"strategy": "x", "sizing": {"kind": "cash"}},
        {"strategy": "x", "run_config": {"seed": -1}},
    ],
)
def test_what_cannot_be_is_refused(given):
    with pytest.raises(BadInput):
        SimulationRequest(**given)


@pytest.mark.parametrize("document", [{}, [], None, {"strategy": None}, {"strategi": "x"}])
def test_a_document_that_is_no_request_is_refused(document):
    with pytest.raises(BadInput):
        SimulationRequest.from_json(document)


def test_numbers_of_numpy_are_numbers():
    request = SimulationRequest(
        strategy={"id": "sma_crossover", "parameters": {"fast": np.int64(10), "slow": 50}},
        cost_model={"taker_fee_bps": np.float64(5)},
        run_config={"seed": 7},
    )
    asked = ParameterSweepRequest(
        base_request=request,
        parameters=[
            {"path": "strategy.parameters.fast", "values": range(5, 7)},
            {"path": "costModel.fixedFee", "values": np.linspace(0, 1, 3)},
        ],
    )

    assert values_of(request, SMA)["fast"] == 10
    assert [type(each) for each in asked.parameters[0].values] == [float] * 3
    assert asked.parameters[1].values == (5, 6)
    assert json.loads(json.dumps(asked.to_json()))["parameters"][0]["values"] == [0.0, 0.5, 1.0]


FRACTION = st.floats(0.0, 0.9)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "execution_model": st.fixed_dictionaries(
                {},
                optional={
                    "slippage": st.fixed_dictionaries(
                        {}, optional={"base": FRACTION, "max": st.none() | FRACTION}
                    ),
                    "failures": st.fixed_dictionaries({"retries": st.integers(0, 9)}),
                    "partial_fills": st.fixed_dictionaries({"fill_range": st.just([0.5, 1])}),
                },
            ),
            "cost_model": st.fixed_dictionaries(
                {}, optional={"taker_fee_bps": st.integers(0, 99) | st.floats(0, 99)}
            ),
            "risk_model": st.fixed_dictionaries(
                {},
                optional={
                    "max_position": st.none() | st.integers(1, 3) | st.floats(0.1, 3.0),
                    "take_profit": st.sampled_from(
                        [[], [{"multiple": 2, "fraction": 1}], FULL["risk_model"]["take_profit"]]
                    ),
                },
            ),
            "run_config": st.fixed_dictionaries({"seed": st.integers(0, 2**63 - 1)}),
        },
    )
)
def test_what_an_experiment_gets_are_the_models_that_were_asked_for(models):
    request = SimulationRequest(strategy="sma_crossover", **models)
    values = values_of(request, SMA)

    for name, parameter, model in (
        ("execution_model", "execution", ExecutionModel),
        ("cost_model", "costs", CostModel),
        ("risk_model", "risk", RiskModel),
    ):
        found = model.from_parameters(values[parameter])
        given = getattr(request, name)
        assert found == (model.from_parameters(SMA[parameter]) if given is None else given)
    assert SimulationRequest.from_json(json.loads(json.dumps(request.to_json()))) == request


# --- Sweeps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spelled", "field", "parameter"),
    [
        ("execution_model.slippage.base", "execution_model.slippage.base", "execution.slippage.base"),
        ("executionModel.slippage.base", "execution_model.slippage.base", "execution.slippage.base"),
        ("executionModel.partialFills.fillRange[1]", "execution_model.partial_fills.fill_range[1]", "execution.partial_fills.fill_range[1]"),
        ("costModel.takerFeeBps", "cost_model.taker_fee_bps", "costs.taker_fee_bps"),
        ("cost_model.taker_fee_bps", "cost_model.taker_fee_bps", "costs.taker_fee_bps"),
        ("riskModel.takeProfit[0].multiple", "risk_model.take_profit[0].multiple", "risk.take_profit[0].multiple"),
        ("risk_model", "risk_model", "risk"),
        ("sizing.value", "sizing.value", "size.value"),
        ("runConfig.errorMode", "run_config.error_mode", "run_config.error_mode"),
        ("strategy.parameters.fast", "strategy.parameters.fast", "fast"),
        ("strategy.parameters.someThing[2].leftAsItIs", "strategy.parameters.someThing[2].leftAsItIs", "someThing[2].leftAsItIs"),
    ],
)  # fmt: skip
def test_a_path_of_the_request_is_a_parameter(spelled, field, parameter):
    assert field_path(spelled) == field
    assert parameter_path(field) == parameter


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("executionModel.slipage.base", "executionModel.slippage.base"),
        ("execution_model.slipage.base", "execution_model.slippage.base"),
        ("execution.slippage.base", "execution_model.slippage.base"),
        ("costModel.baseFee", "costModel.fixedFee"),
        ("riskModel.takeProfit.multiple", "riskModel.takeProfit[0].multiple"),
        ("risk_model.take_profit[0].multiple.x", "risk_model.take_profit[0].multiple"),
        ("cost_model.taker_fee_bps[0]", "cost_model.taker_fee_bps"),
        ("cost_model[0]", None),
        ("fast", None),
    ],
)
def test_an_unknown_path_is_refused_with_the_nearest(path, near):
    with pytest.raises(UnknownParameter) as caught:
        ParameterSweepRequest(
            base_request=SimulationRequest(strategy="x"),
            parameters=[{"path": path, "values": [1]}],
        )

    assert caught.value.path == path
    assert near is None or near in caught.value.near


@pytest.mark.parametrize(
    "parameters",
    [
        [],
        {},
        [{"path": "cost_model.fixed_fee"}],
        [{"path": "cost_model.fixed_fee", "values": []}],
        [{"path": "cost_model.fixed_fee", "values": 5}],
        [{"path": "", "values": [1]}],
        [{"path": 5, "values": [1]}],
        [{"path": "runConfig.seed", "values": [1]}],
        [{"path": "strategy.id", "values": ["x"]}],
        [{"path": "strategy.parameters", "values": [{}]}],
        [{"path": "data_snapshot", "values": ["x"]}],
        [
            {"path": "costModel.fixedFee", "values": [1]},
            {"path": "cost_model.fixed_fee", "values": [2]},
        ],
    ],
)
def test_a_sweep_that_cannot_be_is_refused(parameters):
    with pytest.raises(BadInput):
        ParameterSweepRequest(
            base_request=SimulationRequest(strategy="sma_crossover"), parameters=parameters
        )


@pytest.mark.parametrize("count", [0, -1, True, 1.5, "2"])
def test_no_concurrency_is_refused(count):
    with pytest.raises(BadInput):
        ParameterSweepRequest(
            base_request=SimulationRequest(strategy="sma_crossover"),
            parameters=[{"path": "costModel.fixedFee", "values": [1]}],
            max_concurrency=count,
        )


def swept(base, *parameters, declared=SMA):
    """Return the parameters of every point of a sweep, as its runs have them."""
    asked = to_sweep_request(
        ParameterSweepRequest(
            base_request=base, parameters=[{"path": p, "values": v} for p, v in parameters]
        ),
        declared,
    )
    overrides = asked.request.overrides
    return [
        apply_overrides(asked.request.experiment_id, declared, [*overrides, *point])
        for point in grid(asked.axes)
    ]


def test_equal_sweeps_are_equal_and_read_back():
    parameters = [
        {"path": "executionModel.slippage.base", "values": [0.1, 0.2]},
        {"path": "strategy.parameters.fast", "values": (5, 6)},
    ]
    base = SimulationRequest(**FULL)
    one = ParameterSweepRequest(base_request=base, parameters=parameters, max_concurrency=2)
    other = ParameterSweepRequest(
        base_request=FULL,
        parameters=[
            {"path": "strategy.parameters.fast", "values": [5, 6]},
            {"path": "execution_model.slippage.base", "values": [0.1, 0.2]},
        ],
        max_concurrency=2,
    )

    assert one == other
    document = json.loads(json.dumps(one.to_json()))
    assert document["parameters"][0]["path"] == "executionModel.slippage.base"
    assert ParameterSweepRequest.from_json(document) == one


def test_an_axis_decides_over_the_base_request():
    base = SimulationRequest(
        strategy={"id": "sma_crossover", "parameters": {"fast": 10, "costs": {"fixed_fee": 3}}},
        execution_model={"slippage": {"base": 0.5, "volume_impact": 0.25}},
    )

    points = swept(
        base,
        ("executionModel.slippage.base", [0.1, 0.2]),
        ("strategy.parameters.fast", [5]),
        ("cost_model.taker_fee_bps", [1, 2]),
    )

    found = [
        (
            p["fast"], p["execution"]["slippage"]["base"], p["costs"]["taker_fee_bps"],
            p["costs"]["fixed_fee"], p["execution"]["slippage"]["volume_impact"],
        )
        for p in points
    ]  # fmt: skip
    assert sorted(found) == [
        (5, s, f, 3.0, 0.25) for s, f in itertools.product((0.1, 0.2), (1.0, 2.0))
    ]


@pytest.mark.parametrize("declared", [SMA, LADDER], ids=["no ladder", "three legs"])
def test_a_leg_of_the_requests_own_ladder_is_varied_within_it(declared):
    base = SimulationRequest(strategy="x", risk_model=FULL["risk_model"])

    points = swept(
        base,
        ("riskModel.takeProfit[0].multiple", [1.02, 1.03]),
        ("risk_model.take_profit[1].fraction", [0.1, 0.2]),
        declared=declared,
    )

    assert [p["risk"]["take_profit"] for p in points] == [
        [{"multiple": m, "fraction": 0.5}, {"multiple": 1.1, "fraction": f}]
        for m, f in itertools.product((1.02, 1.03), (0.1, 0.2))
    ]
    assert all(p["risk"]["stop_loss"]["initial"] == -0.03 for p in points)


def test_a_leg_that_the_ladder_does_not_have_is_refused():
    base = SimulationRequest(strategy="x", risk_model=FULL["risk_model"])

    with pytest.raises(BadInput, match=r"risk\.take_profit\[2\]"):
        swept(base, ("riskModel.takeProfit[2].multiple", [1.5]))


def test_a_leg_of_the_experiments_ladder_is_varied_in_place():
    points = swept(
        SimulationRequest(strategy="x"),
        ("riskModel.takeProfit[2].multiple", [1.2]),
        declared=LADDER,
    )

    assert [leg["multiple"] for leg in points[0]["risk"]["take_profit"]] == [1.02, 1.05, 1.2]


def test_whole_parts_are_axes_too():
    points = swept(
        SimulationRequest(strategy="x", execution_model={"latency": {"p99": 5}}),
        ("executionModel.slippage", [{"base": 0.1}, {"volumeImpact": 0.5}]),
        ("risk_model.take_profit", [[], [{"multiple": 2, "fraction": 1}]]),
        ("cost_model", [{"takerFeeBps": 7}]),
    )

    assert len(points) == 4
    assert {p["execution"]["slippage"]["volume_impact"] for p in points} == {0.0, 0.5}
    assert all(p["execution"]["latency"]["p99"] == 5.0 for p in points)
    assert all(p["costs"]["taker_fee_bps"] == 7.0 for p in points)
    assert sorted(len(p["risk"]["take_profit"]) for p in points) == [0, 0, 1, 1]


def test_axes_within_each_other_are_refused():
    with pytest.raises(BadInput, match="one lies within the other"):
        swept(
            SimulationRequest(strategy="sma_crossover"),
            ("execution_model.slippage", [{"base": 0.1}]),
            ("executionModel.slippage.base", [0.1]),
        )


def test_an_axis_over_a_model_that_is_not_there_is_refused():
    with pytest.raises(UnknownParameter, match="gamma_signal_sanity has no parameter"):
        swept(
            SimulationRequest(strategy="gamma_signal_sanity"),
            ("costModel.takerFeeBps", [1]),
            declared=GAMMA,
        )
