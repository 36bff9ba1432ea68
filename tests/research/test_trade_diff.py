"""Trades of two runs: how they pair, which differs first, and why."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.experiments.trade_diff import diff_trades
from research.row_match import NoKey
from research.table_diff import Tolerance

DTYPES = {"side": "utf8", "exit_reason": "utf8", "asset": "utf8", "trade_id": "int64",
          "entry_bar": "int64", "exit_bar": "int64"}  # fmt: skip


class Trades:
    """A table of trades in memory."""

    def __init__(self, rows, **more):
        names = list(rows[0]) if rows else ["side", "entry_bar", "pnl"]
        self.columns = {name: np.array([row[name] for row in rows]) for name in names} | more
        self.rows = len(rows)
        self.dtypes = {name: DTYPES.get(name, "float64") for name in self.columns}
        self.units = dict.fromkeys(self.columns, "")

    def parts(self, name):
        return id(self.columns[name])

    def __getitem__(self, name):
        return self.columns[name]


def trade(entry, *, side="long", exit=None, **changes):
    return {
        "entry_bar": entry,
        "exit_bar": entry + 5 if exit is None else exit,
        "side": side,
        "quantity": 10.0,
        "entry_price": 100.0 + entry,
        "exit_price": 101.0 + entry,
        "exit_reason": "signal",
        "pnl": 10.0,
        **changes,
    }


THREE = [trade(3), trade(10, side="short"), trade(20)]


def edited(number, **changes):
    return [{**row, **changes} if n == number else row for n, row in enumerate(THREE)]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"quantity": 5.0, "pnl": 5.0}, ("size", "pnl")),
        ({"entry_price": 111.0, "pnl": 9.0}, ("entry price", "pnl")),
        ({"exit_bar": 16, "exit_price": 120.0, "exit_reason": "stop_loss"},
         ("exit", "exit price", "reason")),
        ({"exit_reason": "stop_loss"}, ("reason",)),
    ],
)  # fmt: skip
def test_the_first_that_differs_and_why(changes, why):
    found = diff_trades(Trades(THREE), Trades(edited(1, **changes)))

    assert (found.same_count, found.changed_count) == (2, 1)
    assert found.first is not None
    assert found.first.why == why
    assert found.first.a == THREE[1]
    assert found.first.b == {**THREE[1], **changes}


def test_a_trade_that_one_run_alone_has():
    found = diff_trades(Trades(THREE), Trades(THREE[:1] + THREE[2:]))

    assert (found.same_count, found.only_a_count, found.only_b_count) == (2, 1, 0)
    assert found.first is not None
    assert (found.first.why, found.first.a, found.first.b) == (("entry",), THREE[1], None)


def test_a_trade_on_the_other_side_is_another_trade():
    found = diff_trades(Trades(THREE), Trades(edited(1, side="long")))

    assert (found.only_a_count, found.only_b_count, found.changed_count) == (1, 1, 0)
    assert found.first is not None
    assert (found.first.a, found.first.b) == (THREE[1], {**THREE[1], "side": "long"})


def test_an_entry_that_moved_is_shown_from_both_sides():
    moved = trade(11, side="short")
    found = diff_trades(Trades(THREE), Trades([THREE[0], moved, THREE[2]]))

    assert found.first is not None
    assert (found.first.a, found.first.b) == (THREE[1], moved)
    # One that comes after the next shared trade is another story.
    late = trade(21, side="short")
    found = diff_trades(Trades(THREE), Trades([THREE[0], THREE[2], late]))
    assert found.first is not None
    assert (found.first.a, found.first.b) == (THREE[1], None)


def test_a_change_before_a_lone_trade_comes_first():
    theirs = [{**THREE[0], "pnl": 11.0}, THREE[2]]

    found = diff_trades(Trades(THREE), Trades(theirs))

    assert found.first is not None
    assert found.first.why == ("pnl",)


def test_trades_pair_by_time_where_the_data_begin_elsewhere():
    """A dataset with two bars more in front moves every bar, and no trade."""
    at_ns = np.arange(40, dtype=np.int64) * 10**9
    later = [{**row, "entry_bar": row["entry_bar"] + 2, "exit_bar": row["exit_bar"] + 2}
             for row in THREE]  # fmt: skip
    times = (at_ns, np.concatenate([[-2 * 10**9, -(10**9)], at_ns]))

    assert diff_trades(Trades(THREE), Trades(later), at_ns=times).same_count == 3
    assert diff_trades(Trades(THREE), Trades(later)).same_count == 0
    # Bars beyond the known times: then it is bars.
    short = (at_ns[:5], times[1])
    assert diff_trades(Trades(THREE), Trades(THREE), at_ns=short).paired_by == ("side", "entry_bar")


def test_an_open_trade_has_no_exit():
    at_ns = np.arange(40, dtype=np.int64)
    is_open = {"exit_bar": -1, "exit_price": float("nan"), "exit_reason": "open"}

    found = diff_trades(
        Trades(THREE), Trades(edited(2, **is_open)), at_ns=(at_ns, at_ns), samples=5
    )

    (changed,) = found.changed
    assert changed.cells["exit_at_ns"] == (25, None)
    assert found.first is not None
    assert found.first.why == ("exit", "exit price", "reason")


def test_trades_entered_alike_pair_by_their_order():
    twice = [trade(3), trade(3, pnl=1.0), trade(3, pnl=2.0)]

    found = diff_trades(Trades(twice), Trades(twice[:2]))

    assert (found.same_count, found.only_a_count) == (2, 1)
    assert found.paired_by == ("side", "entry_bar")
    assert found.first is not None
    assert found.first.a == twice[2]


def test_a_tolerance_holds_for_trades():
    theirs = Trades(edited(0, pnl=10.0 + 1e-12))

    assert diff_trades(Trades(THREE), theirs).changed_count == 1
    close = diff_trades(Trades(THREE), theirs, tolerance=Tolerance(relative=1e-9))
    assert (close.changed_count, close.first) == (0, None)


def test_without_an_entry_nothing_pairs():
    with pytest.raises(NoKey):
        diff_trades(
            Trades([{"entry_bar": float("nan"), "pnl": 1.0}]),
            Trades([{"entry_bar": 1.0, "pnl": 1.0}]),
        )


@given(st.data())
def test_the_diff_names_just_the_edit_of_trades(data):
    entries = sorted(data.draw(st.sets(st.integers(0, 60), min_size=1, max_size=12)))
    sides = {e: data.draw(st.sampled_from(["long", "short"])) for e in entries}
    before = [trade(e, side=sides[e]) for e in entries]
    gone = data.draw(st.sets(st.sampled_from(entries)))
    changed = data.draw(st.sets(st.sampled_from(entries))) - gone
    new = sorted(data.draw(st.sets(st.integers(0, 60), max_size=3)) - set(entries))
    after = [{**row, **({"pnl": -1.0} if row["entry_bar"] in changed else {})}
             for row in before if row["entry_bar"] not in gone]  # fmt: skip
    after = sorted([*after, *map(trade, new)], key=lambda row: row["entry_bar"])

    found = diff_trades(Trades(before), Trades(after), samples=100)

    assert {row.values["entry_bar"] for row in found.only_a} == gone
    assert [row.values["entry_bar"] for row in found.only_b] == new
    assert {row.key[-1] for row in found.changed} == changed
    assert found.same_count == len(entries) - len(gone) - len(changed)
    places = [*gone, *changed, *new]
    if not places:
        assert found.first is None
        return
    assert found.first is not None
    sides_of = [row for row in (found.first.a, found.first.b) if row is not None]
    assert min(row["entry_bar"] for row in sides_of) == min(places)
