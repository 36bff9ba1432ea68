"""Tables: arrays in, the same arrays out, bit for bit; and one table for one meaning."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rosdb import errors
from rosdb.objects import Kind, Link, Record, decode_record, encode_record, id_of
from rosdb.tables import (
    UTF8,
    WIDTHS,
    Column,
    Table,
    array_column,
    check_column,
    column_array,
    table_record,
    text_values,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ROWS = st.shared(st.integers(0, 40), key="rows")


def dtypes() -> st.SearchStrategy:
    return st.sampled_from([name for name in WIDTHS if name != "bool"]).flatmap(
        lambda name: st.sampled_from([np.dtype(name), np.dtype(name).newbyteorder(">")])
    ) | st.just(np.dtype("bool"))


NUMBERS = dtypes().flatmap(lambda dtype: ROWS.flatmap(lambda rows: arrays.arrays(dtype, rows)))
WORDS = ROWS.flatmap(lambda rows: st.lists(TEXTS, min_size=rows, max_size=rows)).map(
    lambda texts: np.array(texts, np.object_)
)
MASKS = ROWS.flatmap(lambda rows: arrays.arrays(np.bool_, rows))
VALUES = NUMBERS | WORDS
COLUMNS = VALUES | st.builds(lambda values, mask: np.ma.array(values, mask=mask), VALUES, MASKS)


def record_of(values: object, unit: str = "") -> tuple[Record, dict[Link, bytes]]:
    record, blobs = table_record(len(values), [array_column("x", values, unit)])
    return decode_record(encode_record(record)), {id_of(Kind.BLOB, blob): blob for blob in blobs}


def there_and_back(values: object) -> np.ndarray:
    record, blobs = record_of(values)
    return Table(record, blobs.__getitem__)["x"]


def bits(values: object) -> list[object]:
    """Return what a column means: each value's bytes, one NaN, None where it is missing."""
    missing = np.ma.getmaskarray(values)
    plain = np.asarray(np.ma.getdata(values))
    if plain.dtype.kind == "f":
        plain = np.where(np.isnan(plain), plain.dtype.type(np.nan), plain)
    if plain.dtype.kind not in "UO":
        plain = plain.astype(plain.dtype.newbyteorder("<"))
    return [
        None if gone else value if isinstance(value, str) else value.tobytes()
        for value, gone in zip(list(plain), missing, strict=True)
    ]


@given(COLUMNS)
def test_a_column_comes_back_as_it_was(values):
    back = there_and_back(values)

    assert bits(back) == bits(values)
    assert np.ma.isMaskedArray(back) == bool(np.ma.getmaskarray(values).any())
    kind = np.ma.getdata(values).dtype
    assert back.dtype.kind in "UO" if kind.kind in "UO" else back.dtype == kind.newbyteorder("<")


@given(COLUMNS)
def test_one_meaning_has_one_record(values):
    """What a mask hides, the byte order, strides and the payload of a NaN mean nothing."""
    missing = np.ma.getmaskarray(values)
    plain = np.array(np.ma.getdata(values))
    if plain.dtype.kind == "f" and np.isnan(plain).any():
        other = plain.astype(plain.dtype.newbyteorder("<"))
        raw = other.view(f"<u{other.dtype.itemsize}")
        raw[np.isnan(other)] |= 5
        plain = other
    if plain.dtype.kind not in "UO":
        plain = np.repeat(plain.astype(plain.dtype.newbyteorder(">")), 2)[::2]
    hidden = plain[::-1].copy()
    plain = np.where(missing, hidden, plain).astype(plain.dtype)

    assert record_of(np.ma.array(plain, mask=missing)) == record_of(values)


@given(VALUES, MASKS)
def test_what_is_under_a_mask_is_zero(values, mask):
    column = array_column("x", np.ma.array(values, mask=mask))

    if column.dtype == UTF8:
        assert not any(np.array(text_values(column, len(values)), np.object_)[mask])
    else:
        rows = np.frombuffer(column.data, np.uint8).reshape(-1, WIDTHS[column.dtype])
        assert not rows[mask].any()


@pytest.mark.parametrize("count", [0, 1, 511, 512, 513, 4096, 4097])
def test_small_columns_are_carried_inside(count):
    values = np.ma.array(np.zeros(count), mask=np.arange(count) == 0)

    record, blobs = record_of(values)

    (column,) = record.fields["columns"]
    data_inside, mask_inside = count * 8 <= 4096, count <= 4096
    assert (column["data"] is not None) == data_inside
    assert (column["mask"] is not None) == (mask_inside and count > 0)
    assert record.links.keys() == {
        name for name, inside in (("x/data", data_inside), ("x/mask", mask_inside)) if not inside
    }
    assert len(blobs) == len(record.links)
    assert there_and_back(values).shape == (count,)


@pytest.mark.parametrize("dtype", WIDTHS)
def test_the_bytes_of_a_type(dtype):
    column = array_column("x", np.array([1, 0, 1]).astype(dtype), "USD")

    assert column.dtype == dtype
    assert column.unit == "USD"
    assert len(column.data) == 3 * WIDTHS[dtype]
    one = np.frombuffer(column.data[: WIDTHS[dtype]], np.dtype(dtype).newbyteorder("<"))
    assert one[0] == np.ones(1).astype(dtype)[0]


def test_the_bytes_of_text():
    column = array_column("x", np.array(["é", "", "abc"]))

    assert column.data == struct.pack("<4q", 0, 2, 2, 5) + "éabc".encode()
    assert text_values(column, 3) == ["é", "", "abc"]


def test_there_is_one_nan():
    odd = np.frombuffer(struct.pack("<3Q", 0x7FF8000000000001, 0xFFF8 << 48, 0x7FF0000000000001))
    column = array_column("x", odd.view("<f8"))
    small = array_column("x", np.array([-np.nan], np.float32))

    assert column.data == struct.pack("<Q", 0x7FF8000000000000) * 3
    assert small.data == struct.pack("<I", 0x7FC00000)
    assert array_column("x", np.array([-0.0])).data == struct.pack("<d", -0.0)


def test_arrays_that_come_in_are_left_alone():
    values = np.ma.array([1.0, np.nan, 3.0], mask=[True, False, False])
    before = values.data.tobytes()

    array_column("x", values)

    assert values.data.tobytes() == before


@pytest.mark.parametrize(
    "values", [np.arange(3), np.array(["a"]), np.ma.array([1, 2], mask=[0, 1])], ids=repr
)
def test_arrays_that_go_out_are_read_only(values):
    back = there_and_back(values)

    with pytest.raises(ValueError, match="read-only"):
        back[0] = back[0]


@given(st.lists(st.text("ab ~\t", max_size=6) | st.text(max_size=3), max_size=8))
def test_text_is_cut_alike_into_an_array_and_into_a_list(texts):
    """Plain ASCII goes a quicker way: to the same texts, in an array of the same kind."""
    column = array_column("x", np.array(texts, np.object_))

    back = column_array(column, len(texts))

    assert back.tolist() == text_values(column, len(texts)) == texts
    assert back.dtype.kind == ("O" if any(text.endswith("\0") for text in texts) else "U")
    assert not back.flags.writeable


def test_text_keeps_its_nuls():
    texts = ["a\0", "\0", "", "a"]

    assert list(there_and_back(np.array(texts, np.object_))) == texts


def test_one_long_text_among_many_takes_no_memory_for_the_others():
    texts = np.array(["x" * 100_000] + ["y"] * 10_000, np.object_)

    back = there_and_back(texts)

    assert back.nbytes < 10_000_000
    assert list(back) == list(texts)


def test_plain_lists_are_columns_too():
    assert there_and_back([1, 2]).dtype == np.int64
    assert there_and_back([1.0, 2]).dtype == np.float64
    assert list(there_and_back(["a", "bc"])) == ["a", "bc"]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.zeros((2, 2)), r"an array of shape \(2, 2\) is no column"),
        (np.array(1.0), "is no column"),
        (1.0, "is no column"),
        (None, "is no column"),
        (np.zeros(2, np.complex128), "type complex128 cannot be stored"),
        (np.zeros(2, np.float16), "type float16 cannot be stored"),
        (np.zeros(2, np.longdouble), "cannot be stored"),
        (np.zeros(2, "datetime64[s]"), r"type datetime64\[s\] cannot be stored"),
        (np.zeros(2, "timedelta64[ns]"), r"type timedelta64\[ns\] cannot be stored"),
        (np.zeros(2, "S3"), "cannot be stored"),
        (np.zeros(2, [("a", "f8")]), "cannot be stored"),
        (np.array(["a", 1], np.object_), "row 1 holds int where text belongs"),
        (np.array(["a", None], np.object_), "row 1 holds NoneType where text belongs"),
        (np.array(["a", "\ud800"], np.object_), "row 1 is not valid UTF-8"),
    ],
    ids=str,
)
def test_a_column_that_cannot_be_stored_is_refused(store, values, reason):
    with pytest.raises(errors.BadTable, match=reason) as caught:
        store.put_table({"good": [1, 2], "bad": values})

    assert caught.value.column == "bad"


@pytest.mark.parametrize("name", ["", "a/b", "/"])
def test_a_column_s_name_may_hold_no_slash(store, name):
    with pytest.raises(errors.BadTable, match="is not empty and has no slash"):
        store.put_table({name: [1]})


def test_columns_have_one_length(store):
    with pytest.raises(errors.BadTable, match="3 rows where the first column has another count"):
        store.put_table({"a": [1, 2], "b": [1, 2, 3]})


def test_a_unit_needs_its_column(store):
    with pytest.raises(errors.BadTable, match="it has a unit and is no column"):
        store.put_table({"a": [1, 2]}, {"b": "USD"})
    with pytest.raises(errors.BadTable, match="its unit is NoneType, not text"):
        store.put_table({"a": [1, 2]}, {"a": None})


def test_a_name_stands_once():
    column = Column(name="x", dtype="int8", data=b"\1")

    with pytest.raises(errors.BadTable, match="the name stands twice"):
        table_record(1, [column, column])


TEXT = struct.pack("<3q", 0, 1, 3) + b"abc"
BAD_COLUMNS = {
    "a byte short": Column(name="x", dtype="float64", data=bytes(15)),
    "a byte long": Column(name="x", dtype="float64", data=bytes(17)),
    "an unknown type": Column(name="x", dtype="decimal", data=bytes(16)),
    "a type of another spelling": Column(name="x", dtype="<f8", data=bytes(16)),
    "a bool of 2": Column(name="x", dtype="bool", data=b"\0\2"),
    "a mask that is short": Column(name="x", dtype="int8", data=b"\0\0", mask=b"\1"),
    "a mask of 2": Column(name="x", dtype="int8", data=b"\0\0", mask=b"\2\1"),
    "a mask of nothing": Column(name="x", dtype="int8", data=b"\0\0", mask=b"\0\0"),
    "text without offsets": Column(name="x", dtype=UTF8, data=b"abc"),
    "text cut short": Column(name="x", dtype=UTF8, data=TEXT[:-1]),
    "text left over": Column(name="x", dtype=UTF8, data=TEXT + b"d"),
    "offsets that go back": Column(name="x", dtype=UTF8, data=struct.pack("<3q", 0, 4, 3) + b"abc"),
    "offsets that start late": Column(
        name="x", dtype=UTF8, data=struct.pack("<3q", 1, 2, 3) + b"abc"
    ),
    "offsets below nothing": Column(
        name="x", dtype=UTF8, data=struct.pack("<3q", 0, -1, 3) + b"abc"
    ),
    "text that is not UTF-8": Column(
        name="x", dtype=UTF8, data=struct.pack("<3q", 0, 1, 2) + b"a\xff"
    ),
    "a letter cut in two": Column(
        name="x", dtype=UTF8, data=struct.pack("<3q", 0, 1, 2) + "é".encode()
    ),
}


@pytest.mark.parametrize("column", BAD_COLUMNS.values(), ids=BAD_COLUMNS.keys())
def test_bytes_that_are_no_column_are_refused_going_in_and_out(column):
    with pytest.raises(errors.BadTable):
        check_column(column, 2)
    with pytest.raises(errors.BadTable):
        table_record(2, [column])
    described = {
        "name": "x", "dtype": column.dtype, "unit": "", "data": column.data, "mask": column.mask
    }  # fmt: skip
    foreign = Table(Record("table/v1", {"rows": 2, "columns": [described]}), lambda link: b"")
    with pytest.raises(errors.BadTable):
        foreign["x"]


GOOD = {"name": "x", "dtype": "int8", "unit": "", "data": b"\0\0", "mask": None}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"rows": 2},
        {"columns": []},
        {"rows": 2.0, "columns": []},
        {"rows": True, "columns": []},
        {"rows": -1, "columns": []},
        {"rows": 2, "columns": [GOOD, GOOD]},
        {"rows": 2, "columns": [GOOD | {"name": 1}]},
        {"rows": 2, "columns": [GOOD | {"unit": None}]},
        {"rows": 2, "columns": [GOOD | {"dtype": 1}]},
        {"rows": 2, "columns": [GOOD | {"data": "text"}]},
        {"rows": 2, "columns": [{k: v for k, v in GOOD.items() if k != "mask"}]},
        {"rows": 2, "columns": ["x"]},
        {"rows": 2, "columns": None},
    ],
    ids=repr,
)
def test_a_record_that_is_no_table_is_refused(fields):
    with pytest.raises(errors.NotCanonical):
        Table(Record("table/v1", fields), lambda link: b"")


def test_a_record_of_another_schema_is_no_table(store):
    link = store.put_record("tree/v1", {"entries": {}})

    with pytest.raises(errors.NotCanonical, match="tree/v1 where a table/v1 belongs"):
        store.get_table(link)


@pytest.mark.parametrize("rows", [4096, 4097])
def test_bytes_in_the_wrong_place_are_refused(rows):
    """The rule of 4,096 decides ids, so a table that breaks it is another table's double."""
    content = bytes(rows)
    link = id_of(Kind.BLOB, content)
    inside = Table(
        Record("table/v1", {"rows": rows, "columns": [GOOD | {"data": content}]}), lambda link: b""
    )
    outside = Table(
        Record("table/v1", {"rows": rows, "columns": [GOOD | {"data": None}]}, {"x/data": link}),
        lambda link: content,
    )
    both = Table(
        Record("table/v1", {"rows": rows, "columns": [GOOD | {"data": b""}]}, {"x/data": link}),
        lambda link: content,
    )
    right, wrong = (inside, outside) if rows <= 4096 else (outside, inside)

    assert len(right["x"]) == rows
    for table in (wrong, both):
        with pytest.raises(errors.BadTable, match="stands in the wrong place"):
            table["x"]


def test_a_column_without_bytes_is_refused():
    table = Table(
        Record("table/v1", {"rows": 0, "columns": [GOOD | {"data": None}]}), lambda link: b""
    )

    with pytest.raises(errors.BadTable, match="it has no bytes"):
        table["x"]


# --- In a store ---------------------------------------------------------------------------------


def test_a_table_is_a_mapping(store):
    link = store.put_table({"b": [1.0, 2.0], "a": ["x", "y"]}, {"b": "USD"})

    table = store.get_table(link)

    assert list(table) == ["b", "a"]
    assert len(table) == 2
    assert table.rows == 2
    assert table.units == {"b": "USD", "a": ""}
    assert table.dtypes == {"b": "float64", "a": "utf8"}
    assert "c" not in table
    with pytest.raises(KeyError):
        table["c"]
    assert repr(table) == "Table(2 rows: b, a)"


def test_the_order_and_the_units_of_columns_are_part_of_a_table(store):
    a, b = np.arange(3), np.arange(3.0)

    links = {
        store.put_table({"a": a, "b": b}),
        store.put_table({"b": b, "a": a}),
        store.put_table({"a": a, "b": b}, {"a": "USD"}),
        store.put_table({"a": a, "c": b}),
    }

    assert len(links) == 4


def test_a_table_of_nothing(store):
    empty = store.get_table(store.put_table({}))
    no_rows = store.get_table(store.put_table({"a": np.array([], np.float64), "b": []}))

    assert (len(empty), empty.rows) == (0, 0)
    assert (len(no_rows), no_rows.rows) == (2, 0)
    assert no_rows["a"].dtype == np.float64


def test_a_shared_column_is_stored_once(store, fate):
    time = np.arange(10_000)
    store.put_table({"at": time, "x": [0.0] * 10_000})
    before = sum(map(len, fate.copies(store).values()))

    store.put_table({"at": time, "y": np.arange(10_000.0)})

    assert sum(map(len, fate.copies(store).values())) == before + 2  # the table and y


def test_a_column_is_read_when_it_is_asked_for(store, fate):
    link = store.put_table({"a": np.arange(10_000), "b": np.arange(10_000) * 2})
    table = store.get_table(link)
    lost = table.parts("b")[0]
    fate.lose(store, lost)

    assert table["a"][-1] == 9_999
    with pytest.raises(errors.ObjectMissing):
        table["b"]


def test_equal_parts_are_equal_values(store):
    a = store.get_table(store.put_table({"x": np.arange(10_000), "y": [1.0] * 10_000}))
    b = store.get_table(store.put_table({"x": np.arange(10_000), "y": [2.0] * 10_000}))

    assert a.parts("x") == b.parts("x")
    assert a.parts("y") != b.parts("y")


def test_exports(store):
    table = store.get_table(
        store.put_table(
            {
                "at": np.array([0, 10**9], "datetime64[ns]"),
                "price": np.ma.array([1.5, 2.5], mask=[False, True]),
                "side": np.array(["buy", "sell"]),
                "open": np.array([True, False]),
            }
        )
    )

    pandas = pytest.importorskip("pandas")
    frame = table.to_pandas()
    assert list(frame.columns) == ["at", "price", "side", "open"]
    assert frame["at"][1] == pandas.Timestamp("1970-01-01T00:00:01")
    assert frame["price"].isna().tolist() == [False, True]
    pytest.importorskip("pyarrow")
    arrow = table.to_arrow()
    assert arrow.column("price").to_pylist() == [1.5, None]
    assert arrow.column("side").to_pylist() == ["buy", "sell"]
    pytest.importorskip("polars")
    assert table.to_polars()["open"].to_list() == [True, False]
