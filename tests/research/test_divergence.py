"""Where two outcomes first differ: the place, both values, their distance, how many rows."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.experiments import divergence
from research.experiments.divergence import METRICS, first_divergence, ulps

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(FINITE, st.integers(0, 1000))
def test_so_many_steps_are_so_many_ulps(value, steps):
    reached = value
    for _ in range(steps):
        reached = math.nextafter(reached, math.inf)
    if math.isinf(reached):
        return

    assert ulps(value, reached) == ulps(reached, value) == steps


@given(FINITE, FINITE, FINITE)
def test_distances_add_up(a, b, c):
    low, middle, high = sorted([a, b, c])

    assert ulps(low, high) == ulps(low, middle) + ulps(middle, high)


@given(st.floats(width=32, allow_nan=False), st.integers(0, 50))
def test_a_float32_has_steps_of_its_own(value, steps):
    reached = np.float32(value)
    for _ in range(steps):
        reached = np.nextafter(reached, np.float32(np.inf))
    if np.isinf(reached):
        return

    assert ulps(value, float(reached), "float32") == steps


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (0.0, -0.0, 0),
        (0.0, 5e-324, 1),
        (-5e-324, 5e-324, 2),
        (1.0, math.nan, None),
        (math.nan, math.nan, None),
        (1.7976931348623157e308, math.inf, 1),
        (1, 2, None),
        (True, False, None),
        ("a", "b", None),
        (1.0, 1, None),
        (None, 1.0, None),
        (1.0, "no such row", None),
    ],
)
def test_distances_at_the_edges(ours, theirs, expected):
    assert ulps(ours, theirs) == expected


def test_one_step_of_the_bits_is_one_ulp():
    (next_up,) = struct.unpack(
        "<d", struct.pack("<q", struct.unpack("<q", struct.pack("<d", 0.1))[0] + 1)
    )

    assert ulps(0.1, next_up) == 1


@pytest.fixture
def compared(bench):
    """Give a function that compares what two bodies of ``run`` put out."""
    count = 0

    def compare(first, second):
        nonlocal count
        count += 1
        manifests = []
        for number, body in enumerate((first, second)):
            name = f"pair{count}{'ab'[number]}"
            bench.experiment(name, body, head="from research import save_table\nimport numpy as np")
            manifests.append(bench.run(name).manifest)
        return first_divergence(bench.store, *manifests)

    return compare


def extents(found):
    return {e.artifact: (e.kind, e.differing_count, e.row_count) for e in found.extents}


def test_every_artifact_that_differs_is_counted(compared):
    table = "save_table(output_dir, '{0}', {{'a': {1}, 'b': {2}}})"
    found = compared(
        "\n".join([
            table.format("t", [1.0, 2.0, 3.0, 4.0], [1, 2, 3, 4]),
            table.format("same", [1.0], [1]),
            table.format("u", ["x", "y"], [0, 0]),
            "(output_dir / 'f.txt').write_text('1')",
            "return {'m': 1.0, 'n': 2, 'o': 3}",
        ]),
        "\n".join([
            table.format("t", [1.0, 2.0000000000000004, 3.0, 4.5], [1, 9, 3, 4]),
            table.format("same", [1.0], [1]),
            table.format("u", ["x", "z", "w"], [0, 0, 0]),
            "(output_dir / 'f.txt').write_text('2')",
            "(output_dir / 'more.txt').write_text('2')",
            "return {'m': 1.5, 'n': 2, 'p': 3}",
        ]),
    )  # fmt: skip

    assert found.artifact == "f.txt"
    assert extents(found) == {
        "f.txt": ("file", None, None),
        "more.txt": ("file", None, None),
        "t": ("table", 2, 4),
        "u": ("table", 2, 3),
        METRICS: ("metrics", 3, 4),
    }


def test_the_first_row_decides_and_its_distance_is_told(compared):
    found = compared(
        "save_table(output_dir, 't', {'a': [1.0, 2.0, 3.0], 'b': [0.0, 1.0, 0.0]})\nreturn {}",
        "save_table(output_dir, 't', {'a': [1.0, 2.0, 3.5], 'b': [0.0, 1.0000000000000004, 0.0]})\nreturn {}",
    )

    assert (found.artifact, found.kind, found.column, found.row) == ("t", "table", "b", 1)
    assert (found.expected, found.actual, found.ulps) == (1.0, 1.0000000000000004, 2)
    assert extents(found) == {"t": ("table", 2, 3)}


def test_a_float32_column_is_measured_in_its_own_steps(compared):
    body = "save_table(output_dir, 't', {{'a': np.array([1.0, {}], np.float32)}})\nreturn {{}}"

    found = compared(body.format("1.0"), body.format("np.nextafter(np.float32(1), np.float32(2))"))

    assert (found.row, found.ulps) == (1, 1)


@pytest.mark.parametrize(
    ("first", "second", "count", "rows"),
    [
        ("[1, 2]", "[1.0, 2.0]", 2, 2),
        ("np.ma.array([1, 2, 3], mask=[0, 1, 0])", "np.ma.array([1, 0, 3])", 1, 3),
        ("[1, 2, 3]", "[1, 2]", 1, 3),
        ("[]", "[1.0]", 1, 1),
        ("['a', 'bc']", "['ab', 'c']", 2, 2),
        ("[True, False]", "[True, True]", 1, 2),
    ],
)
def test_rows_are_counted_whatever_their_type(compared, first, second, count, rows):
    body = "save_table(output_dir, 't', {{'a': {}}})\nreturn {{}}"

    found = compared(body.format(first), body.format(second))

    assert extents(found) == {"t": ("table", count, rows)}


def test_a_metric_is_measured_too(compared):
    found = compared("return {'m': 1.0, 'k': 'a'}", "return {'m': 1.0000000000000002, 'k': 'a'}")

    assert (found.artifact, found.kind, found.column, found.ulps) == (METRICS, "metrics", "m", 1)
    assert extents(found) == {METRICS: ("metrics", 1, 2)}


def test_a_table_against_a_file_of_its_name(compared):
    found = compared(
        "save_table(output_dir, 't', {'a': [1, 2]})\nreturn {}",
        "(output_dir / 't').write_text('x')\nreturn {}",
    )

    assert found.artifact == "t"
    assert extents(found) == {"t": ("table", 2, 2)}


@given(st.lists(st.integers(0, 3), max_size=30), st.lists(st.integers(0, 3), max_size=30))
def test_the_count_is_that_of_a_plain_loop(ours, theirs):
    marks = bytearray(min(len(ours), len(theirs)))
    pairs = [np.array(each, np.int64).tobytes() for each in (ours, theirs)]

    divergence._mark_bytes(marks, *pairs, 8)

    assert list(map(bool, marks)) == [a != b for a, b in zip(ours, theirs, strict=False)]
