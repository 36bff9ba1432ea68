"""Sweeps: every point once, resumed by the same command, whatever stops it."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from research.errors import BadInput, UnknownParameter
from research.experiments import executors
from research.experiments.executors import Means
from research.experiments.recipe import Request
from research.experiments.sweep import SweepRequest, sweep
from research.experiments.sweep_points import Axis
from research.experiments.sweep_record import find_sweep, read_sweep
from rosdb import RUNS

ROOT = Path(__file__).parents[2]
ADDS = """\
save = spec.parameters
return {"sum": save["a"] + save["b"], "seed": spec.seed % 1000003}
"""


@pytest.fixture
def adds(bench):
    bench.experiment("adds", ADDS, spec="parameters={'a': 0, 'b': 0, 'unused': 0}")
    return bench


def asked(*axes, experiment="adds", seed=None, overrides=(), jobs=1, **options):
    request = Request(experiment_id=experiment, overrides=list(overrides), seed=seed)
    found = [Axis(path=path, values=values) for path, values in axes]
    return SweepRequest(request=request, axes=found, means=Means(jobs=jobs), **options)


def sums(swept):
    return [(dict(each.overrides), each.manifest.metrics["sum"]) for each in swept.points]


def test_every_point_is_a_run_of_its_own(adds):
    swept = sweep(adds.context, asked(("a", (2, 1)), ("b", (10, 20)), jobs=2))

    assert sums(swept) == [
        ({"a": 1, "b": 10}, 11),
        ({"a": 1, "b": 20}, 21),
        ({"a": 2, "b": 10}, 12),
        ({"a": 2, "b": 20}, 22),
    ]
    assert (swept.executed, swept.cached, swept.failed) == (4, 0, 0)
    assert len({each.manifest.seed for each in swept.points}) == 4
    for each in swept.points:
        assert adds.statuses(each.manifest.run_id) == ["pending", "running", "completed"]
        assert each.manifest.seconds > 0
    record = adds.store.get_record(swept.record)
    assert [str(link) for _, link in sorted(record.links.items())] == [
        str(each.manifest.run_id) for each in swept.points
    ]
    assert adds.store.ref(f"sweeps/{swept.record}") == swept.record
    assert adds.store.check().ok


def test_a_longer_grid_runs_what_is_new(adds):
    first = sweep(adds.context, asked(("a", (1, 2))))
    second = sweep(adds.context, asked(("a", (1, 2, 3)), ("b", (0, 5))))

    assert (second.executed, second.cached) == (4, 2)
    shared = {str(each.manifest.run_id) for each in second.points if each.is_cached}
    assert shared == {str(each.manifest.run_id) for each in first.points}
    again = sweep(adds.context, asked(("b", (5, 0)), ("a", (3.0, 2, 1.0))))
    assert (again.executed, again.cached) == (0, 6)


def test_a_point_and_a_run_of_its_parameters_and_seed_are_one_question(adds):
    swept = sweep(adds.context, asked(("a", (7,))))
    (point,) = swept.points

    assert adds.run("adds", parameters={"a": 7}, seed=point.manifest.seed).is_cached
    common = sweep(adds.context, asked(("a", (7,)), has_common_seed=True, seed=5))
    assert common.points[0].manifest.seed == 5


def test_a_failed_point_is_a_failed_run_and_the_others_go_on(bench):
    bench.experiment(
        "odd", "return {'q': 1 // (spec.parameters['a'] % 2)}", spec="parameters={'a': 1}"
    )

    swept = sweep(bench.context, asked(("a", (1, 2, 3, 4)), experiment="odd", jobs=2))

    assert [each.manifest.status for each in swept.points] == ["completed", "failed"] * 2
    assert (swept.executed, swept.failed) == (4, 2)
    assert swept.points[1].manifest.error["kind"] == "ZeroDivisionError"
    again = sweep(bench.context, asked(("a", (1, 2, 3, 4)), experiment="odd"))
    assert (again.executed, again.cached) == (2, 2)  # what failed is asked again


def test_points_that_break_a_constraint_are_skipped(bench):
    spec = "parameters={'a': 0, 'b': 5}, constraints=['a < b']"
    bench.experiment("needs", "return {'q': spec.parameters['a']}", spec=spec)
    axes = (("a", (1, 6, 3)), ("b", (2, 5)))

    swept = sweep(bench.context, asked(*axes, experiment="needs"))

    statuses = {tuple(point.overrides.values()): point.status for point in swept.points}
    assert statuses == {
        (1, 2): "completed",
        (1, 5): "completed",
        (3, 2): "skipped",
        (3, 5): "completed",
        (6, 2): "skipped",
        (6, 5): "skipped",
    }
    assert (swept.executed, swept.skipped, swept.failed, swept.stopped) == (3, 3, 0, None)
    assert swept.refusal == "needs needs a < b; a is 3, b is 2"
    assert read_sweep(bench.store, swept.record).points == tuple(
        replace(point, is_cached=False) for point in swept.points
    )
    with pytest.raises(BadInput, match="needs a < b; a is 7, b is 5"):
        sweep(bench.context, asked(("a", (7, 8)), experiment="needs"))


@pytest.mark.parametrize("values", [(1, 2, "text"), (1, 2.5)])
def test_a_value_that_cannot_be_is_refused_before_a_worker_starts(adds, monkeypatch, values):
    def start(*arguments, **options):
        raise AssertionError("a worker was started")

    monkeypatch.setattr(executors, "open_local", start)

    with pytest.raises(BadInput):
        sweep(adds.context, asked(("a", values)))


def test_the_record_of_a_sweep_says_what_was_asked(adds):
    found = sweep(
        adds.context,
        asked(("a", (1, 2, 3)), overrides=[("b", 4)], seed=6, early_stop="sum < 99 after 2"),
    )

    fields = adds.store.get_record(found.record).fields
    assert fields["overrides"] == [["b", 4]]
    assert (fields["seed"], fields["stopped"]) == (6, "sum < 99 after 2")
    assert find_sweep(adds.store, str(found.record)[:6]) == found.record
    assert find_sweep(adds.store, "0" * 64) is None
    assert [point.status for point in read_sweep(adds.store, found.record).points] == [
        "completed",
        "completed",
        "not_run",
    ]


def test_fail_fast_begins_nothing_more(bench):
    bench.experiment("bad", "raise ValueError('no')", spec="parameters={'a': 1}")

    swept = sweep(
        bench.context, asked(("a", tuple(range(20))), experiment="bad", is_fail_fast=True)
    )

    assert swept.executed == 1
    assert "failed" in swept.stopped
    assert swept.points[-1].manifest is None


def test_an_early_stop_ends_a_sweep_that_leads_nowhere(adds):
    swept = sweep(adds.context, asked(("a", tuple(range(20))), early_stop="sum < 100 after 3"))

    assert swept.executed == 3
    assert swept.stopped == "sum < 100 after 3"
    whole = sweep(adds.context, asked(("a", tuple(range(20))), early_stop="sum < 2 after 3"))
    assert whole.stopped is None
    assert len([each for each in whole.points if each.manifest]) == 20


def test_an_axis_that_changes_nothing_is_inert(adds):
    bench = adds
    bench.experiment(
        "flat", "return {'x': spec.parameters['a']}", spec="parameters={'a': 0, 'b': 0}"
    )

    swept = sweep(bench.context, asked(("a", (1, 2)), ("b", (1, 2)), experiment="flat"))

    assert swept.inert == ("b",)
    assert sweep(bench.context, asked(("a", (1,)), experiment="flat")).inert == ()


@pytest.mark.parametrize("means", [{"jobs": 0}, {"jobs": -1}, {"executor": "dask"}])
def test_means_that_cannot_be_are_refused(means):
    with pytest.raises(BadInput, match=f"--{next(iter(means))}"):
        Means(**means)


def test_what_cannot_be_asked_is_refused_before_anything_runs(adds):
    before = len(list(adds.store.journal()))
    for wrong in (
        asked(("nothing", (1, 2))),
        asked(("a", (1, "text"))),
        asked(("a", (1, 2)), overrides=[("a", 3)]),
        asked(("a", (1, 2)), early_stop="sum is small"),
        asked(experiment="adds"),
    ):
        with pytest.raises((BadInput, UnknownParameter)):
            sweep(adds.context, wrong)
    assert len(list(adds.store.journal())) == before


def test_draws_are_runs_like_others(adds):
    axes = [(name, tuple(range(50))) for name in ("a", "b")]

    drawn = sweep(adds.context, asked(*axes, random_count=5))

    assert len(drawn.points) == drawn.executed == 5
    more = sweep(adds.context, asked(*axes, random_count=8))
    assert more.executed == 3


SWEEPER = """\
import sys
from pathlib import Path
from research.context import create_experiment_context
from research.experiments.recipe import Request
from research.experiments.executors import Means
from research.experiments.sweep import SweepRequest, sweep
from research.experiments.sweep_points import Axis

context = create_experiment_context(Path(sys.argv[1]))
asked = SweepRequest(
    request=Request(experiment_id="adds"),
    axes=[Axis(path="a", values=tuple(range(int(sys.argv[2]))))],
    means=Means(jobs=2),
)
print("asked", flush=True)
found = sweep(context, asked)
print(found.executed, found.cached, flush=True)
"""


def sweeper(bench, count):
    return subprocess.Popen(
        [sys.executable, "-c", SWEEPER, str(bench.folder), str(count)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def wait_for_moves(bench, count, process):
    """Wait until the journal has grown so many times: the next thing is what comes after a move."""
    journal, deadline = bench.store.path / "journal", time.monotonic() + 20
    size = journal.stat().st_size
    while count and process.poll() is None and time.monotonic() < deadline:
        if journal.stat().st_size != size:
            size, count = journal.stat().st_size, count - 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_sweep_that_is_stopped_again_and_again_ends_with_every_point_once(adds, number):
    count = 500
    chance = random.Random(int(number))
    stops = 0
    for turn in range(40):
        process = sweeper(adds, count)
        assert process.stdout.readline() == "asked\n"
        if turn < 6:
            if turn % 2:
                time.sleep(chance.uniform(0.1, 1.2))
            else:
                wait_for_moves(adds, chance.randint(1, 6), process)
            process.send_signal(number)
        text, complaints = process.communicate(timeout=120)
        assert process.returncode in (0, -number), complaints
        stops += process.returncode != 0
        if process.returncode == 0:
            break

    assert stops >= 2
    found = sweep(adds.context, asked(("a", tuple(range(count)))))
    assert (found.executed, found.cached) == (0, count)
    wanted = {"status": "completed", "experiment": "adds"}
    completed = list(adds.store.runs(conditions=wanted))
    assert len({row.recipe for row in completed}) == len(completed) == count
    assert adds.store.check().ok
    for name, _ in adds.store.refs(RUNS):
        status = adds.manifest(adds.store.resolve(name.removeprefix(RUNS))).status
        assert status in ("completed", "failed")
