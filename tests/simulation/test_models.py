"""The models: bounds, names, and the two spellings of their parameters."""

import dataclasses
import inspect
import json
import math
import pickle

import pytest

from research.simulation import errors
from research.simulation.costs import CostModel
from research.simulation.errors import InvalidField, UnknownField
from research.simulation.execution import (
    ExecutionModel,
    Failures,
    Latency,
    PartialFills,
    Slippage,
)
from research.simulation.parameters import camel_case
from research.simulation.risk import (
    ReEntry,
    RiskModel,
    StopLoss,
    TakeProfitLeg,
    Throttle,
    TimeLimit,
)
from research.simulation.run_config import RunConfig
from research.simulation.sizing import Sizing

WHOLE_EXECUTION = {
    "latency": {"p50": 250.0, "p90": 400.0, "p99": 2000.0, "jitter": 10.0},
    "slippage": {
        "base": 0.001,
        "volume_impact": 0.1,
        "max": 0.05,
        "kind": "square_root",
        "impact_of": "units",
    },
    "failures": {
        "base_rate": 0.1,
        "congestion_multiplier": 2.0,
        "retries": 3,
        "backoff_bars": 2,
    },
    "partial_fills": {"probability": 0.25, "fill_range": (0.5, 0.75), "volume_share": 0.1},
}
WHOLE_RISK = {
    "stop_loss": {"initial": -0.03, "trailing": -0.05, "activation": 0.02},
    "take_profit": [{"multiple": 1.05, "fraction": 0.5}, {"multiple": 1.1, "fraction": 0.5}],
    "time_limit": {"bars": 5, "hours": 48.0},
    "max_drawdown": 0.2,
    "max_daily_loss": 0.05,
    "max_consecutive_losses": 3,
    "max_position": 0.5,
    "max_exposure": 1.5,
    "throttle": {"max_trades": 4, "window_minutes": 60.0},
    "re_entry": {"cooldown_bars": 1, "cooldown_after_loss_bars": 3, "max_entries": 10},
}
WHOLE_COSTS = {
    "taker_fee_bps": 10.0,
    "maker_fee_bps": 2.0,
    "fixed_fee": 1.0,
    "minimum_fee": 2.5,
    "priority_fee": 0.25,
    "priority_fee_max": 4.0,
    "borrow_bps_per_year": 50.0,
}
MODELS = [
    ExecutionModel(),
    ExecutionModel(slippage={"base": 0.001}),
    ExecutionModel(**WHOLE_EXECUTION),
    CostModel(),
    CostModel(**WHOLE_COSTS),
    RiskModel(),
    RiskModel(**WHOLE_RISK),
    Sizing(value=10.0),
    Sizing(kind="equity_fraction", value=1.0),
    RunConfig(),
    RunConfig(seed=2**63 - 1, error_mode="fail_fast", event_log=False),
]
PARTS = [
    Latency(),
    Slippage(),
    Slippage(base=0.001, max=0.01),
    Failures(),
    PartialFills(),
    StopLoss(),
    TakeProfitLeg(multiple=1.5, fraction=0.5),
    TimeLimit(),
    Throttle(),
    ReEntry(),
]


def test_parameters_are_the_fields_own_names():
    listed = json.loads(json.dumps(ExecutionModel(**WHOLE_EXECUTION).to_parameters()))
    assert listed == json.loads(json.dumps(WHOLE_EXECUTION))
    assert CostModel(**WHOLE_COSTS).to_parameters() == WHOLE_COSTS
    assert RiskModel(**WHOLE_RISK).to_parameters() == WHOLE_RISK
    assert Sizing(value=2.0).to_parameters() == {"kind": "units", "value": 2.0}
    assert RunConfig(seed=7).to_parameters() == {
        "seed": 7,
        "error_mode": "collect",
        "event_log": True,
    }


def test_every_part_has_a_default_that_does_nothing():
    assert json.loads(json.dumps(ExecutionModel().to_parameters())) == {
        "latency": {"p50": 0.0, "p90": 0.0, "p99": 0.0, "jitter": 0.0},
        "slippage": {
            "base": 0.0,
            "volume_impact": 0.0,
            "max": None,
            "kind": "linear",
            "impact_of": "volume_share",
        },
        "failures": {
            "base_rate": 0.0,
            "congestion_multiplier": 1.0,
            "retries": 0,
            "backoff_bars": 1,
        },
        "partial_fills": {"probability": 0.0, "fill_range": [1.0, 1.0], "volume_share": None},
    }
    nothing = CostModel().to_parameters()
    assert nothing.pop("priority_fee_max") is None
    assert set(nothing.values()) == {0.0}
    assert RiskModel().to_parameters() == {
        "stop_loss": {"initial": None, "trailing": None, "activation": None},
        "take_profit": [],
        "time_limit": {"bars": None, "hours": None},
        "max_drawdown": None,
        "max_daily_loss": None,
        "max_consecutive_losses": None,
        "max_position": None,
        "max_exposure": None,
        "throttle": {"max_trades": None, "window_minutes": None},
        "re_entry": {"cooldown_bars": 0, "cooldown_after_loss_bars": None, "max_entries": None},
    }


def test_json_is_camel_case():
    assert CostModel(**WHOLE_COSTS).to_json() == {
        "takerFeeBps": 10.0,
        "makerFeeBps": 2.0,
        "fixedFee": 1.0,
        "minimumFee": 2.5,
        "priorityFee": 0.25,
        "priorityFeeMax": 4.0,
        "borrowBpsPerYear": 50.0,
    }
    execution = ExecutionModel(**WHOLE_EXECUTION).to_json()
    assert list(execution) == ["latency", "slippage", "failures", "partialFills"]
    assert list(execution["slippage"]) == ["base", "volumeImpact", "max", "kind", "impactOf"]
    risk = RiskModel(**WHOLE_RISK).to_json()
    assert risk["stopLoss"] == WHOLE_RISK["stop_loss"]
    assert risk["takeProfit"] == WHOLE_RISK["take_profit"]
    assert risk["throttle"] == {"maxTrades": 4, "windowMinutes": 60.0}
    assert camel_case("taker_fee_bps") == "takerFeeBps"
    assert camel_case("max") == "max"


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_reads_what_it_writes(model):
    assert type(model).from_parameters(model.to_parameters()) == model
    assert type(model).from_json(json.loads(json.dumps(model.to_json()))) == model
    assert pickle.loads(pickle.dumps(model)) == model
    assert hash(dataclasses.replace(model)) == hash(model)


@pytest.mark.parametrize("model", PARTS, ids=lambda model: type(model).__name__)
def test_a_part_is_a_value(model):
    assert pickle.loads(pickle.dumps(model)) == model
    assert hash(dataclasses.replace(model)) == hash(model)


def test_what_is_not_given_has_its_default():
    assert CostModel.from_parameters({}) == CostModel()
    assert CostModel.from_json({"fixedFee": 1}) == CostModel(fixed_fee=1.0)
    assert ExecutionModel.from_parameters({}) == ExecutionModel()
    assert ExecutionModel.from_json({}) == ExecutionModel()
    assert ExecutionModel.from_parameters({"slippage": {}}) == ExecutionModel()
    assert RiskModel.from_json({"stopLoss": {"initial": -0.5}}) == RiskModel(
        stop_loss=StopLoss(initial=-0.5)
    )
    assert Sizing.from_parameters({"value": 3}) == Sizing(kind="units", value=3.0)
    assert RunConfig.from_json({"eventLog": False}) == RunConfig(event_log=False)


def test_a_part_is_its_class_or_a_mapping():
    assert ExecutionModel(slippage={"base": 0.25}) == ExecutionModel(slippage=Slippage(base=0.25))
    mapping, leg = {"multiple": 2.0, "fraction": 1.0}, TakeProfitLeg(multiple=2.0, fraction=1.0)
    assert RiskModel(take_profit=[mapping]) == RiskModel(take_profit=(leg,))


def test_numbers_become_floats_and_counts_whole_numbers():
    model = CostModel(taker_fee_bps=10, fixed_fee=-0.0)
    assert type(model.taker_fee_bps) is float
    assert math.copysign(1.0, model.fixed_fee) == 1.0
    assert type(Failures(retries=2.0, backoff_bars=3.0).backoff_bars) is int
    assert type(Throttle(max_trades=2.0, window_minutes=1).max_trades) is int


@pytest.mark.parametrize("model", [*MODELS, *PARTS], ids=lambda model: type(model).__name__)
def test_models_are_frozen_and_slotted(model):
    name = dataclasses.fields(model)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(model, name, None)
    assert not hasattr(model, "__dict__")


@pytest.mark.parametrize("bad", [-1e-9, 1.0, math.nan, math.inf, True, "0.1", [0.1]])
def test_slippage_is_a_fraction_below_one(bad):
    with pytest.raises(InvalidField) as caught:
        Slippage(base=bad)
    bound = "a finite number >= 0 and < 1"
    assert str(caught.value) == f"Slippage: base is {bad!r}; it must be {bound}"
    with pytest.raises(InvalidField, match="Slippage: max"):
        Slippage(max=bad)


@pytest.mark.parametrize(
    ("model", "field"),
    [
        (model, field.name)
        for model in (*PARTS, CostModel(), Sizing(value=1.0))
        for field in dataclasses.fields(model)
        if field.default is not None and type(getattr(model, field.name)) in (int, float)
    ],
)
def test_none_is_no_number_where_a_field_has_one(model, field):
    with pytest.raises(InvalidField, match=f"{type(model).__name__}: {field} is "):
        dataclasses.replace(model, **{field: None})


@pytest.mark.parametrize("field", list(WHOLE_COSTS))
@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf, False, "1"])
def test_costs_are_finite_and_not_negative(field, bad):
    with pytest.raises(InvalidField, match=f"CostModel: {field} is .*; it must be a finite number"):
        CostModel(**{field: bad})


@pytest.mark.parametrize("field", ["taker_fee_bps", "maker_fee_bps"])
def test_rate_is_at_most_all_of_it(field):
    assert CostModel(taker_fee_bps=10_000.0).fee_rate == 1.0
    with pytest.raises(InvalidField, match="<= 10000"):
        CostModel(**{field: 10_000.1})


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("units", 0.0),
        ("units", -1.0),
        ("units", math.nan),
        ("cash", 0.0),
        ("cash", math.inf),
        ("equity_fraction", 0.0),
        ("equity_fraction", 1.0000001),
        ("risk", 0.0),
        ("risk", 1.0000001),
    ],
)
def test_size_is_positive_and_a_fraction_at_most_one(kind, value):
    with pytest.raises(InvalidField, match="Sizing: value is"):
        Sizing(kind=kind, value=value)


@pytest.mark.parametrize("kind", ["shares", None, ["units"]])
def test_kind_of_size_is_one_that_exists(kind):
    with pytest.raises(InvalidField, match="one of units, cash, equity_fraction, risk"):
        Sizing(kind=kind, value=1.0)


def test_size_without_a_value():
    with pytest.raises(InvalidField, match="Sizing: value is missing"):
        Sizing.from_parameters({"kind": "cash"})
    with pytest.raises(InvalidField, match="Sizing: value is missing"):
        Sizing.from_json({})


COSTS_HAVE = (
    "taker_fee_bps, maker_fee_bps, fixed_fee, minimum_fee, priority_fee, priority_fee_max, "
    "borrow_bps_per_year"
)
COSTS_HAVE_IN_JSON = (
    "takerFeeBps, makerFeeBps, fixedFee, minimumFee, priorityFee, priorityFeeMax, borrowBpsPerYear"
)


@pytest.mark.parametrize(
    ("read", "given", "message"),
    [
        (
            ExecutionModel.from_parameters,
            {"spread": {"base": 10}},
            "ExecutionModel has no field 'spread'; "
            "it has latency, slippage, failures, partial_fills",
        ),
        (
            ExecutionModel.from_parameters,
            {"slippage": {"volumeImpact": 0.1}},
            "Slippage has no field 'volumeImpact'; "
            "it has base, volume_impact, max, kind, impact_of",
        ),
        (
            ExecutionModel.from_json,
            {"slippage": {"volume_impact": 0.1}},
            "Slippage has no field 'volume_impact'; it has base, volumeImpact, max, kind, impactOf",
        ),
        (
            CostModel.from_parameters,
            {"takerFeeBps": 10.0},
            f"CostModel has no field 'takerFeeBps'; it has {COSTS_HAVE}",
        ),
        (
            CostModel.from_json,
            {"taker_fee_bps": 10.0},
            f"CostModel has no field 'taker_fee_bps'; it has {COSTS_HAVE_IN_JSON}",
        ),
        (
            RiskModel.from_parameters,
            {"take_profit": [{"multiple": 1.5, "share": 0.5}]},
            "TakeProfitLeg has no field 'share'; it has multiple, fraction",
        ),
        (
            Sizing.from_parameters,
            {1: 2.0},
            "Sizing has no field '1'; it has kind, value",
        ),
    ],
)
def test_a_name_that_does_not_exist_is_refused_with_those_that_do(read, given, message):
    with pytest.raises(UnknownField) as caught:
        read(given)
    assert str(caught.value) == message


@pytest.mark.parametrize("model", [ExecutionModel, CostModel, RiskModel, RunConfig])
def test_a_setting_that_is_not_acted_on_is_no_argument(model):
    with pytest.raises(TypeError, match="spread"):
        model(spread=10)


@pytest.mark.parametrize("given", [None, 3.0, "base", [("base", 0.1)]])
def test_what_is_no_mapping(given):
    with pytest.raises(InvalidField, match="a mapping of its fields"):
        ExecutionModel(slippage=given)
    with pytest.raises(InvalidField, match="a mapping of its fields"):
        ExecutionModel.from_json({"slippage": given})
    with pytest.raises(InvalidField, match="a mapping of its fields"):
        CostModel.from_parameters(given)
    with pytest.raises(InvalidField, match="RiskModel: take_profit is .*a list|a mapping of its"):
        RiskModel(take_profit=given)


ERRORS = [
    errors.InvalidBars("close", 3, "nan is not a finite price above zero"),
    errors.InvalidBars("close", -1, "missing", "GSPC"),
    errors.InvalidSignals("entries", "dtype is int64, not bool"),
    errors.InvalidField("CostModel", "fixed_fee", "-1.0", "a finite number >= 0"),
    errors.UnknownField("CostModel", "fee", ("taker_fee_bps", "fixed_fee")),
    errors.InvalidCalls(3, "no time"),
    errors.LookAhead("close", 7, 8),
    errors.OrderRefused(7, "insufficient_cash"),
    errors.NonFiniteEquity(7),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_survive_a_process_pool(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert vars(again) == vars(error)
    assert str(again) == str(error)


def test_every_error_is_tried_and_drawn():
    classes = {
        each
        for _, each in inspect.getmembers(errors, inspect.isclass)
        if each is not errors.SimulationError
    }
    assert classes == {type(error) for error in ERRORS}
    assert all(each.__name__ in (errors.__doc__ or "") for each in classes)
