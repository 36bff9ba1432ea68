"""Calls as data: reading them, refusing them, and where they enter."""

import pickle

import numpy as np
import pytest

from research.simulation.calls import CallEntries, Calls
from research.simulation.engine import simulate
from research.simulation.errors import InvalidCalls, InvalidField
from research.simulation.view import Indicators

DAY_NS = 86_400 * 10**9
FIRST_NS = 915_408_000 * 10**9  # 1999-01-04, the first bar of `make_bars`


def entered(bars, calls, asset="A"):
    signals = CallEntries(calls=calls, asset=asset).signals(Indicators(bars))
    assert not signals.exits.any()
    assert not signals.short_exits.any()
    return [np.flatnonzero(s).tolist() for s in (signals.entries, signals.short_entries)]


def test_text_by_hand():
    calls = Calls.from_csv(
        "at,asset,side\n"
        "1999-01-04,A,long\n"
        "\n"
        "1999-01-04T12:30:00+02:00 , B ,short\n"
        "1999-01-05 00:00:00.000001,A,short\n"
    )
    assert (calls.at_ns - FIRST_NS).tolist() == [0, 37_800 * 10**9, DAY_NS + 1000]
    assert calls.assets == ("A", "B", "A")
    assert calls.is_short.tolist() == [False, True, True]


@pytest.mark.parametrize(
    "text",
    [
        f"asset,at_ns\nA,{FIRST_NS}\n",
        "at,asset\n1999-01-04,A",
        "\ufeffat,asset,side\r\n1999-01-04T00:00Z,A,long\r\n",
        "side,at,asset\nlong,19990104,A\n",
    ],
)
def test_one_call_in_several_spellings(text):
    calls = Calls.from_csv(text)
    assert calls.at_ns.tolist() == [FIRST_NS]
    assert (calls.assets, calls.is_short.tolist()) == (("A",), [False])


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 1, "needs the columns"),
        ("at\n1999-01-04", 1, "needs the columns"),
        ("asset\nA", 1, "needs the columns"),
        ("at,at_ns,asset\n1,1,A", 1, "needs the columns"),
        ("at,asset,price\n1999-01-04,A,5", 1, "'price'"),
        ("at,asset,at\n1999-01-04,A,1999-01-04", 1, "'at'"),
        ("at,asset\n1999-01-04,A\nyesterday,A", 3, "yesterday"),
        ("at,asset\n\n1999-02-30,A", 3, "1999-02-30"),
        ("at,asset\n1999-01-04", 2, "1 fields, not 2"),
        ("at,asset\n1999-01-04,A,long", 2, "3 fields, not 2"),
        ("at,asset\n1999-01-04,", 2, "asset is ''"),
        ("at,asset,side\n1999-01-04,A,buy", 2, "'buy'"),
        ("at,asset,side\n1999-01-04,A,", 2, "''"),
        ("at_ns,asset\n1.5,A", 2, "1.5"),
        (f"at_ns,asset\n{2**63},A", 2, "64 bits"),
        ("at,asset\n9999-01-01,A", 2, "64 bits"),
    ],
)
def test_what_is_no_call_is_refused_with_its_line(text, line, reason):
    with pytest.raises(InvalidCalls, match=reason) as caught:
        Calls.from_csv(text)
    assert caught.value.line == line
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_table_is_the_same_as_text():
    columns = {
        "at_ns": np.array([FIRST_NS, FIRST_NS + DAY_NS]),
        "asset": np.array(["A", "B"]),
        "side": ["short", "long"],
    }
    table = Calls.from_table(columns)
    text = Calls.from_csv("at,asset,side\n1999-01-04,A,short\n1999-01-05,B,long\n")
    for name in ("at_ns", "is_short"):
        assert getattr(table, name).tolist() == getattr(text, name).tolist()
    assert table.assets == text.assets


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"asset": ["A"]}, "no column at_ns"),
        ({"at_ns": np.array([1])}, "no column asset"),
        ({"at_ns": np.array([1.0]), "asset": ["A"]}, "float64"),
        ({"at_ns": np.array([[1]]), "asset": ["A"]}, "2 dimensions"),
        ({"at_ns": np.array([1]), "asset": ["A", "B"]}, "asset has 2 rows"),
        ({"at_ns": np.array([1]), "asset": ["A"], "side": []}, "side has 0 rows"),
        ({"at_ns": np.array([1]), "asset": ["A"], "side": ["up"]}, "line 2: side is 'up'"),
        ({"at_ns": np.array([1]), "asset": [5]}, "line 2: asset is 5"),
    ],
)
def test_table_that_holds_no_calls(columns, reason):
    with pytest.raises(InvalidCalls, match=reason):
        Calls.from_table(columns)


def test_call_enters_at_the_first_bar_at_or_after_it(make_bars):
    bars = make_bars([1.0] * 4)
    at = {
        FIRST_NS - 1: [],  # before the first bar: stale
        FIRST_NS: [0],
        FIRST_NS + 1: [1],
        FIRST_NS + DAY_NS: [1],
        FIRST_NS + 3 * DAY_NS: [3],
        FIRST_NS + 3 * DAY_NS + 1: [],  # not come yet
    }
    for at_ns, expected in at.items():
        calls = Calls.from_table({"at_ns": np.array([at_ns]), "asset": ["A"]})
        assert entered(bars, calls) == [expected, []]


def test_order_of_calls_does_not_decide(make_bars):
    bars = make_bars([1.0] * 6)
    text = (
        "at,asset,side\n1999-01-08,A,short\n1999-01-05,A,long\n1999-01-05,B,long\n1999-01-05,A,long"
    )
    assert entered(bars, Calls.from_csv(text)) == [[1], [4]]


def test_ladder_closes_what_a_call_opened(make_bars):
    bars = make_bars([100.0, 100.0, 104.0, 106.0, 112.0, 112.0])
    calls = Calls.from_csv("at,asset\n1999-01-04,A\n")
    signals = CallEntries(calls=calls, asset="A").signals(Indicators(bars))
    ladder = [{"multiple": 1.05, "fraction": 0.5}, {"multiple": 1.1, "fraction": 0.5}]
    result = simulate(bars, signals.entries, signals.exits, size=10.0, risk={"take_profit": ladder})
    (trade,) = zip(
        *(result.trades[n] for n in ("entry_bar", "exit_bar", "exit_reason")), strict=True
    )
    assert trade == (1, 4, "take_profit")
    # Half at an open of 106, above 105; half at one of 112, above 110.
    assert result.trades["pnl"].tolist() == [5 * 6.0 + 5 * 12.0]


def test_an_asset_that_no_call_names_is_refused_by_name():
    calls = Calls.from_csv("at,asset\n1999-01-04,GSPC\n1999-01-05,DJI\n")
    with pytest.raises(InvalidField, match="asset is 'SPX'; .* names: DJI, GSPC"):
        CallEntries(calls=calls, asset="SPX")
    with pytest.raises(InvalidField, match="there is no call"):
        CallEntries(calls=Calls.from_csv("at,asset\n"), asset="SPX")
