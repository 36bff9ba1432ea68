"""The models: bounds, names, and the two spellings of their parameters."""

import dataclasses
import inspect
import json
import math
import pickle

import pytest

from research.simulation import errors
from research.simulation.errors import InvalidField, UnknownField
from research.simulation.models import CostModel, ExecutionModel, Sizing, Slippage
from research.simulation.parameters import camel_case

MODELS = [
    Slippage(),
    Slippage(base=0.001, max=0.01),
    ExecutionModel(),
    ExecutionModel(slippage={"base": 0.001}),
    CostModel(),
    CostModel(taker_fee_bps=10.0, fixed_fee=1.0, minimum_fee=2.5),
    Sizing(value=10.0),
    Sizing(kind="equity_fraction", value=1.0),
]


def test_parameters_are_the_fields_own_names():
    assert ExecutionModel(slippage=Slippage(base=0.5)).to_parameters() == {
        "slippage": {"base": 0.5, "max": None}
    }
    assert CostModel(taker_fee_bps=10.0).to_parameters() == {
        "taker_fee_bps": 10.0,
        "fixed_fee": 0.0,
        "minimum_fee": 0.0,
    }
    assert Sizing(value=2.0).to_parameters() == {"kind": "units", "value": 2.0}


def test_json_is_camel_case():
    assert CostModel(taker_fee_bps=10.0).to_json() == {
        "takerFeeBps": 10.0,
        "fixedFee": 0.0,
        "minimumFee": 0.0,
    }
    assert ExecutionModel().to_json() == {"slippage": {"base": 0.0, "max": None}}
    assert camel_case("taker_fee_bps") == "takerFeeBps"
    assert camel_case("max") == "max"


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_reads_what_it_writes(model):
    assert type(model).from_parameters(model.to_parameters()) == model
    assert type(model).from_json(json.loads(json.dumps(model.to_json()))) == model
    assert pickle.loads(pickle.dumps(model)) == model
    assert hash(dataclasses.replace(model)) == hash(model)


def test_what_is_not_given_has_its_default():
    assert CostModel.from_parameters({}) == CostModel()
    assert CostModel.from_json({"fixedFee": 1}) == CostModel(fixed_fee=1.0)
    assert ExecutionModel.from_parameters({}) == ExecutionModel()
    assert ExecutionModel.from_json({}) == ExecutionModel()
    assert ExecutionModel.from_parameters({"slippage": {}}) == ExecutionModel()
    assert Sizing.from_parameters({"value": 3}) == Sizing(kind="units", value=3.0)


def test_a_part_is_its_class_or_a_mapping():
    assert ExecutionModel(slippage={"base": 0.25}) == ExecutionModel(slippage=Slippage(base=0.25))


def test_numbers_become_floats():
    model = CostModel(taker_fee_bps=10, fixed_fee=-0.0)
    assert type(model.taker_fee_bps) is float
    assert math.copysign(1.0, model.fixed_fee) == 1.0


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_models_are_frozen_and_slotted(model):
    name = dataclasses.fields(model)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(model, name, None)
    assert not hasattr(model, "__dict__")


@pytest.mark.parametrize("bad", [-1e-9, 1.0, math.nan, math.inf, True, "0.1", None, [0.1]])
def test_slippage_is_a_fraction_below_one(bad):
    with pytest.raises(InvalidField) as caught:
        Slippage(base=bad)
    bound = "a finite number >= 0 and < 1"
    assert str(caught.value) == f"Slippage: base is {bad!r}; it must be {bound}"
    if bad is not None:
        with pytest.raises(InvalidField, match="Slippage: max"):
            Slippage(max=bad)


def test_cap_may_lie_below_the_base():
    assert Slippage(base=0.5, max=0.25).fraction == 0.25
    assert Slippage(base=0.125, max=0.25).fraction == 0.125
    assert Slippage(base=0.125, max=0.0).fraction == 0.0


@pytest.mark.parametrize("field", ["taker_fee_bps", "fixed_fee", "minimum_fee"])
@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf, False, "1"])
def test_costs_are_finite_and_not_negative(field, bad):
    with pytest.raises(InvalidField, match=f"CostModel: {field} is .*; it must be a finite number"):
        CostModel(**{field: bad})


def test_taker_fee_is_at_most_all_of_it():
    assert CostModel(taker_fee_bps=10_000.0).fee_rate == 1.0
    with pytest.raises(InvalidField, match="<= 10000"):
        CostModel(taker_fee_bps=10_000.1)


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
    ],
)
def test_size_is_positive_and_a_fraction_at_most_one(kind, value):
    with pytest.raises(InvalidField, match="Sizing: value is"):
        Sizing(kind=kind, value=value)


@pytest.mark.parametrize("kind", ["shares", None, ["units"]])
def test_kind_of_size_is_one_that_exists(kind):
    with pytest.raises(InvalidField, match="one of units, cash, equity_fraction"):
        Sizing(kind=kind, value=1.0)


def test_size_without_a_value():
    with pytest.raises(InvalidField, match="Sizing: value is missing"):
        Sizing.from_parameters({"kind": "cash"})
    with pytest.raises(InvalidField, match="Sizing: value is missing"):
        Sizing.from_json({})


@pytest.mark.parametrize(
    ("read", "given", "message"),
    [
        (
            ExecutionModel.from_parameters,
            {"latency": {"p50": 10}},
            "ExecutionModel has no field 'latency'; it has slippage",
        ),
        (
            ExecutionModel.from_parameters,
            {"slippage": {"volume_impact": 0.1}},
            "Slippage has no field 'volume_impact'; it has base, max",
        ),
        (
            ExecutionModel.from_json,
            {"slippage": {"kind": "linear"}},
            "Slippage has no field 'kind'; it has base, max",
        ),
        (
            CostModel.from_parameters,
            {"takerFeeBps": 10.0},
            "CostModel has no field 'takerFeeBps'; it has taker_fee_bps, fixed_fee, minimum_fee",
        ),
        (
            CostModel.from_json,
            {"taker_fee_bps": 10.0},
            "CostModel has no field 'taker_fee_bps'; it has takerFeeBps, fixedFee, minimumFee",
        ),
        (
            CostModel.from_parameters,
            {"maker_fee_bps": 0.0},
            "CostModel has no field 'maker_fee_bps'; it has taker_fee_bps, fixed_fee, minimum_fee",
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


@pytest.mark.parametrize("model", [ExecutionModel, CostModel])
def test_a_setting_that_is_not_acted_on_is_no_argument(model):
    with pytest.raises(TypeError, match="latency"):
        model(latency={"p50": 10})


@pytest.mark.parametrize("given", [None, 3.0, "base", [("base", 0.1)]])
def test_what_is_no_mapping(given):
    with pytest.raises(InvalidField, match="a mapping of its fields"):
        ExecutionModel(slippage=given)
    with pytest.raises(InvalidField, match="a mapping of its fields"):
        ExecutionModel.from_json({"slippage": given})
    with pytest.raises(InvalidField, match="a mapping of its fields"):
        CostModel.from_parameters(given)


ERRORS = [
    errors.InvalidBars("close", 3, "nan is not a finite price above zero"),
    errors.InvalidBars("close", -1, "missing"),
    errors.InvalidSignals("entries", "dtype is int64, not bool"),
    errors.InvalidField("CostModel", "fixed_fee", "-1.0", "a finite number >= 0"),
    errors.UnknownField("CostModel", "fee", ("taker_fee_bps", "fixed_fee")),
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
