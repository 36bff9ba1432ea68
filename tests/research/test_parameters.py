"""Parameters: equal questions are written alike, and what cannot be is refused unrecorded."""

import json
import math
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.errors import BadInput, BadParameter, BrokenExperiment, UnknownParameter
from research.experiments.parameters import (
    apply_overrides,
    check_constraints,
    parse_assignment,
)

DEFAULTS = {
    "count": 20,
    "rate": 0.5,
    "label": "x",
    "is_on": True,
    "any": None,
    "costs": {"fee_bps": 1.0, "tiers": [1.0, 2.0], "deep": {"er": 1}},
    "ladder": [{"multiple": 1.05, "fraction": 0.5}, {"multiple": 1.1, "fraction": 0.5}],
    "mixed": [1, "a"],
    "empty": {},
    "legs": [],
}


def given_as(*texts):
    return apply_overrides("x", DEFAULTS, [parse_assignment(text) for text in texts])


def exact(value):
    """Tell 1 from 1.0 and True."""
    return json.dumps(value, sort_keys=True)


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("rate=1", ("rate",), 1.0),
        ("rate=1e3", ("rate",), 1000.0),
        ("rate=-0.0", ("rate",), -0.0),
        ("count=20.0", ("count",), 20),
        ("count=-3", ("count",), -3),
        ("count= 7 ", ("count",), 7),
        ("label=5", ("label",), "5"),
        ("label=1.10", ("label",), "1.10"),
        ("label=1e400", ("label",), "1e400"),
        ("label=true", ("label",), "true"),
        ('label="5"', ("label",), "5"),
        ("label=", ("label",), ""),
        ("label=a=b", ("label",), "a=b"),
        ("label=007", ("label",), "007"),
        ("is_on=false", ("is_on",), False),
        ("any=1.5", ("any",), 1.5),
        ("any=text", ("any",), "text"),
        ("any=24", ("any",), 24),
        ("any=24.0", ("any",), 24),
        ("any=-0.0", ("any",), 0),
        ("any=1e300", ("any",), 1e300),
        ("any=[24.0, 0.5]", ("any",), [24, 0.5]),
        ("legs=[]", ("legs",), []),
        ("legs[0]=5", ("legs",), [5]),
        ("legs[0].multiple=1.05", ("legs",), [{"multiple": 1.05}]),
        ("legs[0].a.b[0]=null", ("legs",), [{"a": {"b": [None]}}]),
        ('legs=[{"multiple": 2.0, "fraction": 1}]', ("legs",), [{"multiple": 2, "fraction": 1}]),
        ('any={"a": [1, 2.5, null]}', ("any",), {"a": [1, 2.5, None]}),
        ("costs.fee_bps=2", ("costs", "fee_bps"), 2.0),
        ("costs.tiers[1]=3", ("costs", "tiers", 1), 3.0),
        ("costs.tiers=[5]", ("costs", "tiers"), [5.0]),
        ("costs.tiers=[]", ("costs", "tiers"), []),
        ('costs={"fee_bps": 3}', ("costs",), {**DEFAULTS["costs"], "fee_bps": 3.0}),
        ("ladder[1].fraction=1", ("ladder", 1, "fraction"), 1.0),
        ('ladder=[{"multiple": 2}]', ("ladder",), [{"multiple": 2.0, "fraction": 0.5}]),
        ("mixed[0]=2.5", ("mixed", 0), None),
    ],
)
def test_a_value_takes_the_type_of_its_default(text, path, value):
    if value is None:
        with pytest.raises(BadParameter):
            given_as(text)
        return
    found = given_as(text)
    for step in path:
        found = found[step]

    assert exact(found) == exact(value)


def test_a_float_is_a_plain_one():
    found = given_as("rate=0.25", "any=0.5", "costs.tiers=[1.5]", "empty={}")

    assert [type(v) for v in (found["rate"], found["any"], found["costs"]["tiers"][0])] == [
        float
    ] * 3


@pytest.mark.parametrize(
    "text",
    [
        "count=2.5", "count=text", "count=true", "count=null", "count=[1]", "count=9223372036854775808",
        "count=1e400", "count=NaN", "count=1e30", "count=" + "9" * 5000, "rate=text", "rate=true",
        "rate=NaN", "rate=nan", "rate=Infinity", "rate=-Infinity", "rate=inf", "rate=1e400",
        "rate=" + "9" * 400, "rate=[1.0]", "is_on=1", "is_on=yes", "costs=5", "costs=[1]",
        'costs={"nonsense": 1}', 'costs={"deep": {"nonsense": 1}}', "costs.tiers=5",
        'costs.tiers=["a"]', "costs.tiers[0]=a", "any=NaN", "any=1e400", "any=99999999999999999999",
        'any={"a": [Infinity]}', 'any="\\ud800"', 'any={"\\ud800": 1}', 'label="\\ud800"',
        'ladder=[{"nonsense": 1}]', "ladder=[1]", "label=\udcff",
    ],
)  # fmt: skip
def test_an_ill_typed_value_is_refused_by_name(text):
    with pytest.raises(BadParameter) as caught:
        given_as(text)

    assert str(caught.value).startswith(f"parameter {caught.value.path}:")
    assert caught.value.path.startswith(text.partition("=")[0])


def test_what_is_nested_too_deeply_is_refused():
    with pytest.raises(BadInput, match="nested deeper than"):
        given_as("any=" + "[" * 900 + "]" * 900)
    with pytest.raises(BadInput, match="nested deeper than"):
        given_as("any=" + '[{"a":' * 50 + "1" + "}]" * 50)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("cuont=1", "count"),
        ("costs.fee=1", "costs.fee_bps"),
        ("fee_bps=1", "costs.fee_bps"),
        ("costs.tiers[9]=1", "costs.tiers[1]"),
        ("ladder[0].multipel=1", "ladder[0].multiple"),
        ("count.inner=1", "count"),
        ("count[0]=1", "count"),
        ("costs..fee_bps=1", "costs.fee_bps"),
        ("costs.tiers[-1]=1", "costs.tiers[0]"),
        ("empty.a=1", "count"),
        ("legs[1]=1", "legs[0]"),
        ("legs.a=1", "legs[0]"),
        ("any.a=1", "any"),
        ("any[0]=1", "any"),
        ("Rate=1", "rate"),
        (".=1", "count"),
    ],
)
def test_an_unknown_parameter_is_refused_with_the_nearest(text, near):
    with pytest.raises(UnknownParameter) as caught:
        given_as(text)

    assert near in caught.value.near
    assert near in caught.value.hint


def test_a_ladder_is_built_leg_by_leg_in_whatever_order():
    texts = (
        "legs[1].fraction=0.25",
        "legs[0].multiple=1.05",
        "legs[1].multiple=1.1",
        "legs[0].fraction=0.5",
    )
    for order in permutations(texts):
        legs = given_as(*order)["legs"]
        assert legs == [{"multiple": 1.05, "fraction": 0.5}, {"multiple": 1.1, "fraction": 0.25}]
        assert exact(legs) == exact(given_as(*texts)["legs"])
    assert DEFAULTS["legs"] == []


@pytest.mark.parametrize("text", ["legs[0]" + "[0]" * 32 + "=1", "legs[0]" + ".a" * 40 + "=1"])
def test_a_path_that_leads_too_deep_is_refused(text):
    with pytest.raises(BadInput, match="nested deeper than"):
        given_as(text)


@pytest.mark.parametrize("texts", [("legs=[]", "legs[0]=1"), ("legs[0]=1", "legs[0].a=1")])
def test_a_list_is_given_whole_or_in_parts(texts):
    for order in permutations(texts):
        with pytest.raises(BadInput, match="a part of the other"):
            given_as(*order)


@pytest.mark.parametrize("text", ["count", "=1", " =1", ""])
def test_what_is_no_assignment_is_refused(text):
    with pytest.raises(BadInput, match="K=V"):
        parse_assignment(text)


@pytest.mark.parametrize(
    "texts",
    [
        ("count=1", "count=1"),
        ("costs.tiers[0]=1", "costs.tiers[00]=2"),
        ('costs={"fee_bps": 1}', "costs.fee_bps=2"),
        ("ladder[0].fraction=1", "ladder=[]"),
        ("costs.deep.er=1", "costs={}"),
    ],
)
def test_no_order_decides_between_two_values_for_one(texts):
    for order in permutations(texts):
        with pytest.raises(BadInput, match=r"given twice|a part of the other"):
            given_as(*order)


OVERRIDES = {
    "count": st.integers(-(2**63), 2**63 - 1),
    "rate": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-1000, 1000),
    "label": st.text(),
    "is_on": st.booleans(),
    "any": st.none() | st.booleans() | st.text() | st.integers(-5, 5),
    "costs.fee_bps": st.floats(allow_nan=False, allow_infinity=False),
    "costs.tiers[0]": st.integers(-5, 5),
    "costs.deep": st.fixed_dictionaries({"er": st.integers(-5, 5)}),
    "ladder[1].multiple": st.floats(0, 5),
}


@given(
    chosen=st.fixed_dictionaries({}, optional=OVERRIDES), order=st.randoms(use_true_random=False)
)
def test_the_order_in_which_they_are_given_does_not_matter(chosen, order):
    shuffled = list(chosen.items())
    order.shuffle(shuffled)

    there = apply_overrides("x", DEFAULTS, shuffled)

    assert exact(there) == exact(apply_overrides("x", DEFAULTS, list(chosen.items())))
    # What was coerced once stays as it is, and the defaults are nobody's to change.
    assert exact(apply_overrides("x", there, shuffled)) == exact(there)
    assert DEFAULTS["costs"]["tiers"] == [1.0, 2.0]


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_arrives_to_the_bit(value):
    found = given_as(f"rate={value!r}", f"any={value!r}")

    assert (found["rate"], math.copysign(1, found["rate"])) == (value, math.copysign(1, value))
    assert found["any"] == value


@pytest.mark.parametrize(
    ("constraint", "holds"),
    [
        ("count > 1", True),
        ("1 <= count < 20", False),
        ("costs.fee_bps * 2 + 1 == 3", True),
        ("-count < 0", True),
        ("count / 0.5 != 40", False),
        ("count > 1 and rate > 1", False),
        ("count > 1 or rate > 1", True),
        ("label == 'x'", True),
    ],
)
def test_a_constraint_is_a_comparison(constraint, holds):
    if holds:
        check_constraints("x", [constraint], DEFAULTS)
        return
    with pytest.raises(BadInput, match="x needs") as caught:
        check_constraints("x", [constraint], DEFAULTS)
    assert "count is 20" in str(caught.value)


@pytest.mark.parametrize(
    "constraint",
    ["nonsense > 1", "count >", "__import__('os')", "count.real > 1", "[1] < [2]", "count in [1]",
     "label > 1", "count / 0 > 1", "(lambda: 1)() > 0", "count if 1 else 2", "costs.nothing > 1"],
)  # fmt: skip
def test_a_constraint_that_is_none_is_the_experiments_fault(constraint):
    with pytest.raises(BrokenExperiment, match="constraint"):
        check_constraints("x", [constraint], DEFAULTS)


@pytest.mark.parametrize(
    ("experiment", "texts"),
    [
        ("gamma_signal_sanity", ["ma_window=0"]),
        ("gamma_signal_sanity", ["n_days=1"]),
        ("gamma_signal_sanity", ["n_days=20", "ma_window=20"]),
        ("gamma_signal_sanity", ["vol=-0.1"]),
        ("gamma_signal_sanity", ["vol=NaN"]),
        ("gamma_signal_sanity", ["start_price=inf"]),
        ("gamma_signal_sanity", ["n_days=99999999999999999999"]),
        ("sma_crossover", ["fast=100", "slow=100"]),
        ("sma_crossover", ["fast=0"]),
        ("sma_crossover", ["costs.taker_fee_bps=1e400"]),
        ("sma_crossover", ["costs.nonsense=1"]),
        ("sma_crossover", ["fast=10", "fast=10"]),
        ("momentum_example", ["lookback=0"]),
    ],
)
def test_what_is_refused_is_not_recorded(bench, experiment, texts):
    from research.experiments import run
    from research.experiments.recipe import Request

    request = Request(
        experiment_id=experiment, overrides=[parse_assignment(text) for text in texts]
    )
    with pytest.raises(BadInput):
        run.run(bench.context, request)

    assert not list(bench.store.runs())
    assert not list(bench.store.refs("runs/"))


def test_what_only_the_data_can_refuse_is_a_failed_run_and_bad_input(bench):
    with pytest.raises(BadInput, match="it must be below the number of bars, 5031"):
        bench.run("sma_crossover", parameters={"slow": 6000})

    assert [row.status for row in bench.store.runs()] == ["failed"]


@pytest.mark.parametrize("seed", [2**63, -(2**63) - 1])
def test_a_seed_that_no_record_could_hold_is_refused(bench, seed):
    with pytest.raises(BadInput, match="64 bits"):
        bench.run("gamma_signal_sanity", seed=seed)
