"""The diff of two tables: a table, an edit of it, and the diff that names just that edit."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from research.row_match import NoKey
from research.table_diff import Tolerance, diff_tables
from rosdb import Link, Table
from rosdb.tables import array_column, table_record

DAY_NS = 86_400 * 10**9


def table(columns, units=None):
    """Make a table as the store gives it."""
    made = [array_column(n, np.asanyarray(v), (units or {}).get(n, "")) for n, v in columns.items()]
    rows = len(next(iter(columns.values()))) if columns else 0
    record, blobs = table_record(rows, made)
    by_id = dict(zip(record.links.values(), blobs, strict=True))

    def load(link: Link) -> bytes:
        return by_id[link]

    return Table(record, load)


def bars(count=6):
    return {
        "at_ns": np.arange(count, dtype=np.int64) * DAY_NS,
        "close": np.arange(count, dtype=np.float64) + 100,
        "side": np.array(["long", "short"] * count)[:count],
    }


def edited(columns, **changes):
    return {**columns, **changes}


# --- by hypothesis --------------------------------------------------------------------------------

VALUES = {
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float64": st.floats(),
    "utf8": st.text(max_size=3),
    "bool": st.booleans(),
}


def array(dtype, values):
    if dtype == "utf8":
        made = np.empty(len(values), object)
        made[:] = values
        return made
    return np.array(values, dtype=dtype)


def same(a, b):
    """Compare as the store does: to the bit, any NaN being the one NaN."""
    if isinstance(a, float) and isinstance(b, float):
        if math.isnan(a) or math.isnan(b):
            return math.isnan(a) and math.isnan(b)
        return a == b and math.copysign(1, a) == math.copysign(1, b)
    return type(a) is type(b) and a == b


@st.composite
def tables(draw):
    """Draw a table as a list of rows by key, and the types of its columns."""
    dtypes = draw(
        st.dictionaries(
            st.sampled_from("pqrs"), st.sampled_from(sorted(VALUES)), min_size=1, max_size=3
        )
    )
    keys = sorted(draw(st.sets(st.integers(-50, 50), min_size=1, max_size=12)))
    rows = {k: {n: draw(VALUES[d]) for n, d in dtypes.items()} for k in keys}
    return dtypes, rows


def built(dtypes, rows):
    columns = {"at_ns": np.array(list(rows), np.int64)}
    for name, dtype in dtypes.items():
        columns[name] = array(dtype, [row[name] for row in rows.values()])
    return table(columns)


@given(tables(), st.data())
def test_the_diff_names_just_the_edit_of_rows(made, data):
    dtypes, before = made
    removed = data.draw(st.sets(st.sampled_from(sorted(before)), max_size=len(before)))
    added = sorted(data.draw(st.sets(st.integers(51, 60), max_size=4)))
    kept = [key for key in before if key not in removed]
    after = {key: dict(before[key]) for key in kept}
    changed = {}
    for key in data.draw(st.sets(st.sampled_from(kept), max_size=3)) if kept else ():
        name = data.draw(st.sampled_from(sorted(dtypes)))
        value = data.draw(VALUES[dtypes[name]])
        if not same(value, before[key][name]):
            after[key][name] = value
            changed[key] = name
    for key in added:
        after[key] = {name: data.draw(VALUES[dtype]) for name, dtype in dtypes.items()}

    found = diff_tables(built(dtypes, before), built(dtypes, after), samples=100)

    assert found.key == ("at_ns",)
    assert [row.key for row in found.only_a] == [(key,) for key in sorted(removed)]
    assert [row.key for row in found.only_b] == [(key,) for key in added]
    assert (found.only_a_count, found.only_b_count) == (len(removed), len(added))
    assert {row.key[0]: set(row.cells) for row in found.changed} == {
        key: {name} for key, name in changed.items()
    }
    for row in found.changed:
        ((name, (a, b)),) = row.cells.items()
        assert same(a, before[row.key[0]][name])
        assert same(b, after[row.key[0]][name])
    assert found.changed_count == len(changed)
    assert {each.name: each.changed_count for each in found.columns} == {
        name: list(changed.values()).count(name) for name in set(changed.values())
    }
    for each in found.columns:
        assert each.first.key[0] == min(key for key, name in changed.items() if name == each.name)
    assert found.moved_count == 0
    assert found.column_changes == ()
    assert found.is_identical == (not (removed or added or changed))
    assert found.is_restated == (bool(changed) and not (removed or added))


@given(tables(), st.data())
def test_the_diff_names_just_the_rows_that_moved(made, data):
    dtypes, before = made
    keys = list(before)
    moved = data.draw(st.sampled_from(keys))
    place = data.draw(st.integers(0, len(keys) - 1))
    after = [key for key in keys if key != moved]
    after.insert(place, moved)

    found = diff_tables(built(dtypes, before), built(dtypes, {key: before[key] for key in after}))

    assert found.moved_count == (after != keys)
    assert found.only_a_count == found.only_b_count == found.changed_count == 0


@given(tables(), st.data())
def test_the_diff_names_just_the_edit_of_columns(made, data):
    dtypes, rows = made
    name = data.draw(st.sampled_from(sorted(dtypes)))
    edit = data.draw(st.sampled_from(["remove", "add", "type"]))
    columns = {"at_ns": np.array(list(rows), np.int64)}
    for each, dtype in dtypes.items():
        columns[each] = array(dtype, [row[each] for row in rows.values()])
    after = dict(columns)
    if edit == "remove":
        del after[name]
        expected = (name, "removed", dtypes[name], None)
    elif edit == "add":
        after["new"] = np.zeros(len(rows))
        expected = ("new", "added", None, "float64")
    else:
        other = "utf8" if dtypes[name] != "utf8" else "bool"
        after[name] = array(other, ["" if other == "utf8" else True] * len(rows))
        expected = (name, "type", dtypes[name], other)

    found = diff_tables(table(columns), table(after))

    (change,) = found.column_changes
    assert (change.name, change.state, change.a, change.b) == expected
    assert found.changed_count == found.moved_count == found.only_a_count == found.only_b_count == 0
    assert not found.is_identical


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-9, 9), min_size=1), st.data())
def test_numbers_of_another_type_are_compared_by_value(values, data):
    """An integer of 63 bits is not the float next to it."""
    floats = [float(value) for value in values]
    equal = [int(f) == value for f, value in zip(floats, values, strict=True)]

    found = diff_tables(
        table({"v": np.array(values, np.int64)}), table({"v": np.array(floats, np.float64)})
    )

    assert found.changed_count == equal.count(False)
    assert [change.state for change in found.column_changes] == ["type"]


@given(
    st.lists(st.tuples(st.floats(), st.floats()), min_size=1, max_size=8),
    st.sampled_from([0.0, 1e-9, 1.0]),
    st.sampled_from([0.0, 1e-6, 0.5]),
)
@example([(math.inf, 1.0), (math.inf, math.inf), (-math.inf, math.inf)], 1.0, 0.5)
@example([(1.0, 2.0), (1.0, 2.0 + 2**-40), (0.0, -1.0), (0.0, -0.0)], 1.0, 0.0)
def test_a_tolerance_is_that_of_isclose(pairs, absolute, relative):
    a, b = (np.array(side) for side in zip(*pairs, strict=True))

    found = diff_tables(
        table({"v": a}),
        table({"v": b}),
        tolerance=Tolerance(absolute=absolute, relative=relative),
    )

    if absolute or relative:
        close = [
            math.isclose(x, y, rel_tol=relative, abs_tol=absolute)
            or (math.isnan(x) and math.isnan(y))
            for x, y in pairs
        ]
    else:
        close = [same(x, y) for x, y in pairs]
    assert found.changed_count == close.count(False)


@given(st.lists(st.integers(0, 3), max_size=9), st.integers(0, 9), st.lists(st.integers(4, 5)))
def test_rows_put_in_at_one_place_are_found_without_a_key(values, place, new):
    place = min(place, len(values))
    after = values[:place] + new + values[place:]

    found = diff_tables(
        table({"v": np.array(values, np.int64)}),
        table({"v": np.array(after, np.int64)}),
        samples=100,
    )

    assert found.key == ()
    assert [row.values["v"] for row in found.only_b] == new
    assert found.only_a_count == found.changed_count == 0


# --- by hand --------------------------------------------------------------------------------------


def test_the_first_and_the_largest_difference_are_told():
    close = bars()["close"].copy()
    close[[1, 4]] = [101.5, 90.0]

    found = diff_tables(table(bars()), table(edited(bars(), close=close)))

    (column,) = found.columns
    assert (column.name, column.changed_count) == ("close", 2)
    assert (column.first.row_a, column.first.a, column.first.b) == (1, 101.0, 101.5)
    assert column.largest is not None
    assert (column.largest.row_a, column.largest.difference) == (4, -14.0)
    assert column.largest.key == (4 * DAY_NS,)


def test_a_difference_that_is_no_number_is_never_the_largest():
    a = table({"v": np.array([1.0, np.nan, 3.0]), "w": np.array([np.nan, 1.0, 1.0])})
    b = table({"v": np.array([1.5, 2.0, np.nan]), "w": np.array([0.0, 1.0, 1.0])})

    v, w = diff_tables(a, b).columns

    assert v.changed_count == 3
    assert v.largest is not None
    assert v.largest.row_a == 0
    assert w.largest is None


def test_the_sign_of_zero_is_a_bit_and_nan_is_itself():
    a = table({"v": np.array([0.0, np.nan, 1.0]), "w": np.array([1, 2, 3], np.float32)})
    b = table({"v": np.array([-0.0, np.nan, 1.0]), "w": np.array([1, 2, 3], np.float32)})

    (row,) = diff_tables(a, b).changed

    assert (row.row_a, list(row.cells)) == (0, ["v"])


def test_a_part_of_a_key_that_ascends_is_not_the_whole_of_it():
    a = table({"day": np.arange(3), "asset": np.array(["x", "y", "z"]), "v": np.arange(3)})
    b = table({"day": np.arange(3), "asset": np.array(["x", "q", "z"]), "v": np.arange(3)})

    found = diff_tables(a, b, key=["asset", "day"])

    assert [row.key for row in found.only_a] == [("y", 1)]
    assert [row.key for row in found.only_b] == [("q", 1)]
    assert found.changed_count == 0


def test_missing_values_are_values_of_their_own():
    a = table({"v": np.ma.array([1.0, 0.0, 3.0], mask=[False, True, False])})
    b = table({"v": np.ma.array([1.0, 0.0, 3.0], mask=[False, False, True])})

    found = diff_tables(a, b)

    assert [row.cells["v"] for row in found.changed] == [(None, 0.0), (3.0, None)]
    assert diff_tables(a, a).is_identical


def test_a_column_that_both_share_is_not_read():
    long = np.arange(2000, dtype=np.int64)
    a = table({"at_ns": long, "v": long * 2.0, "w": long * 3.0})
    w = long * 3.0
    w[7] = -1
    b = table({"at_ns": long, "v": long * 2.0, "w": w})
    read = []
    for each in (a, b):
        load = each._load_blob
        each._load_blob = lambda link, load=load: (read.append(link), load(link))[1]

    found = diff_tables(a, b)

    assert found.changed_count == 1
    shared = a.parts("v")[0]
    assert shared == b.parts("v")[0]
    assert shared not in read
    assert len(read) == len(set(read)) + 1  # the shared key is read for either table


@pytest.mark.parametrize(
    ("columns", "key"),
    [
        ({"at_ns": [1, 2], "v": [5, 5]}, ("at_ns",)),
        ({"trade_id": [0, 1], "entry_bar": [3, 9]}, ("entry_bar",)),
        ({"trade_id": [0, 1], "entry_bar": [3, 3]}, ("trade_id",)),
        ({"asset": ["a", "b"], "at_ns": [1, 1]}, ("asset", "at_ns")),
        ({"id": ["x", "y"], "v": [1.0, 2.0]}, ("id",)),
        ({"v": [1, 2], "w": [1.0, 2.0]}, ()),
        ({"id": ["y", "x"]}, ()),
    ],
)
def test_a_key_is_found_by_its_name_and_its_values(columns, key):
    a = table({name: np.array(values) for name, values in columns.items()})

    assert diff_tables(a, a).key == key


def test_a_key_that_is_named_has_to_be_one():
    a = table({"k": np.array([1, 1]), "n": np.array([np.nan, 1.0]), "ok": np.array(["b", "a"])})
    b = table({"k": np.array([1, 2]), "n": np.array([0.0, 1.0]), "ok": np.array([1, 2])})

    for key, reason in [
        ("k", "more than one row"),
        ("n", "NaN"),
        ("x", "no column"),
        ("ok", "type"),
    ]:
        with pytest.raises(NoKey) as caught:
            diff_tables(a, b, key=[key])
        assert reason in caught.value.reason
    assert diff_tables(a, a, key=["ok"]).is_identical


def test_rows_are_matched_by_several_columns():
    a = table({"asset": np.array(["x", "y", "x"]), "day": np.array([1, 1, 2]), "v": np.arange(3)})
    b = table({"asset": np.array(["y", "x", "z"]), "day": np.array([1, 2, 2]), "v": np.arange(3)})

    found = diff_tables(a, b, key=["asset", "day"])

    assert [row.key for row in found.only_a] == [("x", 1)]
    assert [row.key for row in found.only_b] == [("z", 2)]
    assert [(row.key, row.cells) for row in found.changed] == [
        (("y", 1), {"v": (1, 0)}),
        (("x", 2), {"v": (2, 1)}),
    ]


def test_a_unit_is_part_of_what_a_column_says():
    (change,) = diff_tables(
        table(bars(), {"close": "USD"}), table(bars(), {"close": "EUR"})
    ).column_changes

    assert (change.name, change.state, change.a, change.b) == ("close", "unit", "USD", "EUR")


def test_tables_without_rows_or_columns():
    assert diff_tables(table({}), table({})).is_identical
    empty = {"at_ns": np.array([], np.int64)}
    found = diff_tables(table(empty), table({"at_ns": np.array([3], np.int64)}))
    assert (found.only_b_count, found.only_a_count) == (1, 0)
