"""The whole diff of two runs, by what was edited: parameters, code, environment, artifacts."""

import re
from pathlib import Path

import pytest

from research.errors import BadInput
from research.experiments import environment
from research.experiments.diff import diff
from research.experiments.metric_directions import DIRECTIONS, better_side
from research.table_diff import Tolerance

METRICS = Path(__file__).parents[2] / "docs" / "metrics.md"
TABLES = """
import numpy as np
from research import save_table
"""


def compare(bench, a, b, **options):
    return diff(bench.context, a.manifest.run_id, b.manifest.run_id, **options)


def test_every_metric_of_the_page_has_a_direction():
    page = METRICS.read_text("utf-8")
    defined = set(re.findall(r"^## ([a-z0-9_]+)$", page, re.MULTILINE))
    own = page[page.index("# What gamma_signal_sanity reports") :]
    defined |= set(re.findall(r"^\| `(\w+)` \|", own, re.MULTILINE))

    assert set(DIRECTIONS) == defined


@pytest.mark.parametrize(
    ("name", "a", "b", "side"),
    [
        ("sharpe", 1.0, 2.0, "b"),
        ("sharpe", -1.0, -2.0, "a"),
        ("max_drawdown", 0.1, 0.2, "a"),
        ("average_loss", -5.0, -3.0, "b"),
        ("sharpe", 1.0, 1.0, None),
        ("sharpe", float("nan"), 1.0, "b"),
        ("max_drawdown", 0.3, float("nan"), "a"),
        ("sharpe", float("nan"), float("nan"), None),
        ("sharpe", None, 1.0, None),
        ("trade_count", 1, 2, None),
        ("own", 1, 2, None),
        ("sharpe", True, 2.0, None),
    ],
)
def test_the_better_one(name, a, b, side):
    assert better_side(name, a, b) == side


def test_a_run_beside_itself(bench):
    bench.experiment("e", 'return {"m": 1.0}')
    a = bench.run("e")

    found = compare(bench, a, a)

    assert found.identical
    assert (found.inputs.parameters, found.inputs.code, found.inputs.environment) == ({}, (), ())


def test_the_environment_is_compared_by_distribution(bench, monkeypatch):
    bench.experiment("e", "return {}")
    a = bench.run("e")
    real = environment.describe

    def other(foreign):
        made = real(foreign)
        pkg = {"pkg": {"version": "2.0", "record_hash": "x"}}
        return {**made, "distributions": {**made["distributions"], **pkg}}

    monkeypatch.setattr(environment, "describe", other)
    b = bench.run("e", force=True)

    (change,) = compare(bench, a, b).inputs.environment

    assert (change.name, change.then, change.now) == ("pkg", None, "2.0")


def test_code_is_compared_by_file_and_counted_by_line(bench):
    bench.write("helper.py", "A = 1\nB = 2\n")
    bench.experiment("e", 'return {"m": helper.A}', "import helper")
    a = bench.run("e")
    bench.write("helper.py", "A = 5\nB = 2\nC = 3\n")
    b = bench.run("e")

    (file,) = compare(bench, a, b).inputs.code

    assert (file.path, file.state, file.lines_added, file.lines_removed) == (
        "helper.py", "changed", 2, 1,
    )  # fmt: skip


def test_artifacts_of_every_kind(bench):
    run = """
    n = spec.parameters["n"]
    at = np.arange(5)
    save_table(output_dir, "t", {"at_ns": at, "v": at + np.where(at == 3, n, 0.0)})
    save_table(output_dir, "same", {"v": at})
    (output_dir / "text.txt").write_text(f"one\\n{n}\\n")
    (output_dir / "binary").write_bytes(bytes([n, 0, 255]))
    if n:
        (output_dir / "new").write_text("")
    else:
        (output_dir / "kind").write_text("")
    return {}
    """
    bench.experiment("e", run, TABLES, 'parameters={"n": 0}')
    a, b = bench.run("e"), bench.run("e", parameters={"n": 7})

    found = {each.name: each for each in compare(bench, a, b).outputs.artifacts}

    assert {name: each.state for name, each in found.items()} == {
        "t": "changed", "same": "identical", "text.txt": "changed", "binary": "changed",
        "new": "only in b", "kind": "only in a",
    }  # fmt: skip
    (row,) = found["t"].table.changed
    assert (row.key, row.cells) == ((3,), {"v": (3.0, 10.0)})
    assert (found["t"].first.column, found["t"].first.row) == ("v", 3)
    assert found["text.txt"].text.splitlines()[-2:] == ["-0", "+7"]
    assert found["binary"].text == ""
    assert found["same"].table is None
    near = compare(bench, a, b, tolerance=Tolerance(absolute=8.0))
    assert [each.state for each in near.outputs.artifacts if each.name == "t"] == ["close"]


def test_a_key_for_tables_that_have_it(bench):
    run = """
    n = spec.parameters["n"]
    save_table(output_dir, "t", {"k": np.roll(np.arange(4), n), "v": np.roll(np.arange(4), n)})
    save_table(output_dir, "u", {"v": np.arange(4) + n})
    return {}
    """
    bench.experiment("e", run, TABLES, 'parameters={"n": 0}')
    a, b = bench.run("e"), bench.run("e", parameters={"n": 1})

    t, u = compare(bench, a, b, key=["k"]).outputs.artifacts

    assert (t.table.changed_count, t.table.moved_count) == (0, 1)
    assert u.table.key == ()
    with pytest.raises(BadInput, match="nosuch"):
        compare(bench, a, b, key=["nosuch"])


def test_runs_without_trades_beside_runs_with_some(bench):
    run = """
    n = spec.parameters["n"]
    sides = ["long"] * n
    save_table(output_dir, "trades", {"entry_bar": list(range(n)), "side": sides, "pnl": [1.0] * n})
    return {}
    """
    bench.experiment("e", run, TABLES, 'parameters={"n": 0}')
    a, b = bench.run("e"), bench.run("e", parameters={"n": 2})

    trades = compare(bench, a, b).outputs.trades

    assert (trades.only_a_count, trades.only_b_count) == (0, 2)
    assert (trades.first.a, trades.first.b["entry_bar"]) == (None, 0)


def test_a_run_that_failed_has_inputs_to_compare(bench):
    bench.experiment("e", "if spec.parameters['n']: raise ValueError('no')\nreturn {'m': 1.0}",
                     spec='parameters={"n": 0}')  # fmt: skip
    a = bench.run("e")
    failed = bench.failure("e", parameters={"n": 1})

    found = diff(bench.context, a.manifest.run_id, failed.run_id)

    assert found.inputs.parameters["n"].b == 1
    assert found.metrics["m"].b is None
    assert not found.same_outcome
