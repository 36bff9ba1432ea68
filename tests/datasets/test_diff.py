"""Two snapshots beside each other: files, columns, rows."""

import numpy as np
import pytest

from research import workspace
from research.context import create_experiment_context
from research.datasets import file_table
from research.datasets.diff import diff_snapshots
from research.datasets.snapshot import add_snapshot
from research.errors import BadInput
from research.table_diff import Tolerance

BARS = """\
date,open,high,low,close,volume
2020-01-02,10,11,9,10.5,100
2020-01-03,10.5,12,10,11.5,200
2020-01-06,11.5,12,11,11,300
"""


@pytest.fixture
def diff(tmp_path):
    """Give a function that adds two sets of files and compares them."""
    workspace.init(tmp_path / "w", bare=True)
    context = create_experiment_context(tmp_path / "w")

    def compare(before, after, **options):
        snapshots = []
        for version, files in (("1", before), ("2", after)):
            folder = tmp_path / version
            folder.mkdir()
            for name, content in files.items():
                path = folder / name
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
            added = add_snapshot(context, folder, name="d", version=version)
            snapshots.append(added.snapshot)
        return diff_snapshots(context.store, *snapshots, **options)

    yield compare
    context.store.close()


def test_bars_are_matched_by_time(diff):
    after = BARS.replace("11.5,200", "11.75,200") + "2020-01-07,11,12,10,11,400\n"

    found = diff({"bars.csv": BARS}, {"bars.csv": after})

    assert found.bars is not None
    assert found.bars.key == ("at_ns",)
    (row,) = found.bars.changed
    assert (row.row_a, row.cells) == (1, {"close": (11.5, 11.75)})
    assert (found.bars.only_a_count, found.bars.only_b_count) == (0, 1)
    assert not found.bars.is_restated
    (file,) = found.files
    assert (file.path, file.state, file.are_bars) == ("bars.csv", "changed", True)
    assert file.rows is found.bars


def test_a_column_beside_the_bars_is_compared_in_the_file(diff):
    wide = "\n".join(line + ",adj" if not n else line + ",1.5"
                     for n, line in enumerate(BARS.splitlines()))  # fmt: skip
    after = wide.replace("300,1.5", "300,2.5")

    found = diff({"bars.csv": wide}, {"bars.csv": after})

    assert found.bars is None  # what a run is given is the same
    (file,) = found.files
    assert file.rows is not None
    assert file.rows.key == ("date",)
    assert file.rows.changed[0].cells == {"adj": (1.5, 2.5)}


def test_a_column_beside_bars_that_differ_is_compared_too(diff):
    wide = "\n".join(line + (",1.5" if n else ",adj") for n, line in enumerate(BARS.splitlines()))
    after = wide.replace("10.5,100,1.5", "10.75,100,9.5")

    found = diff({"bars.csv": wide}, {"bars.csv": after})

    (file,) = found.files
    assert file.rows is not None
    assert file.rows.changed[0].cells == {"close": (10.5, 10.75), "adj": (1.5, 9.5)}
    assert found.bars is not None
    assert found.bars.changed[0].cells == {"close": (10.5, 10.75)}


def test_files_that_are_there_once_and_files_that_are_the_same(diff):
    found = diff(
        {"a.txt": "1", "same.txt": "=", "old.bin": b"\0"},
        {"a.txt": "2", "same.txt": "=", "sub/new.bin": b"\1"},
    )

    assert [(f.path, f.state, f.rows) for f in found.files] == [
        ("a.txt", "changed", None), ("old.bin", "removed", None), ("sub/new.bin", "added", None),
    ]  # fmt: skip
    assert not found.is_same_data


def test_the_same_data_under_other_versions(diff):
    found = diff({"a.csv": "k,v\n1,2\n"}, {"a.csv": "k,v\n1,2\n"})

    assert found.is_same_data
    assert found.files == ()


def test_a_table_is_matched_by_the_key_that_is_named(diff):
    before = "name,place,v\nx,1,10\nx,2,20\ny,1,30\n"
    after = "name,place,v\ny,1,31\nx,1,10\nx,3,20\n"

    found = diff({"t.csv": before}, {"t.csv": after}, key=["name", "place"])

    rows = found.files[0].rows
    assert rows is not None
    assert [row.key for row in rows.only_a] == [("x", 2)]
    assert [row.key for row in rows.only_b] == [("x", 3)]
    assert [(row.key, row.cells) for row in rows.changed] == [(("y", 1), {"v": (30, 31)})]


@pytest.mark.parametrize(
    ("key", "reason"), [("name", "more than one row"), ("nosuch", "no table that differs")]
)
def test_a_key_that_is_none_is_refused(diff, key, reason):
    with pytest.raises(BadInput, match=reason):
        diff({"t.csv": "name,v\nx,1\nx,2\n"}, {"t.csv": "name,v\nx,1\nx,3\n"}, key=[key])


def test_columns_that_came_went_and_changed_their_type(diff):
    found = diff({"t.csv": "id,a,n\n1,x,1\n2,y,2\n"}, {"t.csv": "id,b,n\n1,x,1\n2,y,2.5\n"})

    rows = found.files[0].rows
    assert rows is not None
    assert [(c.name, c.state, c.a, c.b) for c in rows.column_changes] == [
        ("a", "removed", "utf8", None), ("n", "type", "int64", "float64"),
        ("b", "added", None, "utf8"),
    ]  # fmt: skip
    assert [row.cells for row in rows.changed] == [{"n": (2, 2.5)}]


def test_numbers_are_compared_as_numbers_and_within_a_tolerance(diff):
    options = {"tolerance": Tolerance(absolute=0.01)}
    found = diff({"t.csv": "id,v\n1,1.50\n2,3.0\n"}, {"t.csv": "id,v\n1,1.5\n2,3.001\n"}, **options)

    rows = found.files[0].rows
    assert rows is not None
    assert rows.is_identical


def test_parquet_is_read_where_pyarrow_is(diff):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    def written(values):
        sink = pyarrow.BufferOutputStream()
        times = pyarrow.array([1, 2, 3], pyarrow.timestamp("us"))
        parquet.write_table(pyarrow.table({"at": times, "v": values, "w": ["a", None, "c"]}), sink)
        return sink.getvalue().to_pybytes()

    found = diff({"t.parquet": written([1.0, None, 3.0])}, {"t.parquet": written([1.0, 2.0, 3.0])})

    rows = found.files[0].rows
    assert rows is not None
    assert rows.key == ("at",)
    assert [(row.key, row.cells) for row in rows.changed] == [((2000,), {"v": (None, 2.0)})]


@pytest.mark.parametrize(
    ("text", "dtypes"),
    [
        ("a,b,c\n1,1.5,x\n-2,nan,\n", {"a": "int64", "b": "float64", "c": "utf8"}),
        ("zip\n007\n", {"zip": "utf8"}),  # a code is no number
        ("n\n123456789012345678901\n", {"n": "float64"}),
        ("n\n1_000\n", {"n": "utf8"}),
        ("n,m\n,1\n5,\n", {"n": "int64", "m": "int64"}),
        ("n\n", {"n": "utf8"}),
    ],
)
def test_a_columns_type_is_the_narrowest_that_holds_its_fields(text, dtypes):
    found = file_table.read_table("t.csv", text.encode())

    assert found is not None
    assert dict(found.dtypes) == dtypes


def test_a_column_may_turn_out_to_be_something_else_late():
    """Far down, behind batches that were read as whole numbers."""
    count = 70_000
    lines = ["a,b,c,d", *("1,2,3," for _ in range(count)), "1,2.5,007,x"]

    found = file_table.read_table("t.csv", "\n".join(lines).encode())

    assert found is not None
    assert found.rows == count + 1
    assert dict(found.dtypes) == {"a": "int64", "b": "float64", "c": "utf8", "d": "utf8"}
    assert [found[name][-1] for name in "abcd"] == [1, 2.5, "007", "x"]
    assert [found[name][0] for name in "abcd"] == [1, 2.0, "3", ""]


def test_an_empty_field_among_numbers_is_missing():
    found = file_table.read_table("t.csv", b'n\n1\n" "\n3\n')

    assert found is not None
    assert np.ma.getmaskarray(found["n"]).tolist() == [False, True, False]


@pytest.mark.parametrize(
    "content", [b"", b"a,a\n1,2\n", b"a,b\n1\n", b'a\n"1\n', b"a\n\xff\n", b",b\n1,2\n"]
)
def test_what_is_no_table_is_none(content):
    assert file_table.read_table("t.csv", content) is None
    assert file_table.read_table("t.parquet", content) is None
