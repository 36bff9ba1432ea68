"""Limits of a run: watched from outside, and felt by nobody."""

import os
import signal
import subprocess
import sys

import pytest

from research.errors import BadInput, RunFailed
from research.experiments import run as runner
from research.experiments import runs
from research.experiments.limits import Limits, memory_of, parse_limits, watch

MEGABYTE = 1_000_000


def limited(bench, name, limits):
    with pytest.raises(RunFailed) as caught:
        runner.run(bench.context, bench.request(name), limits=limits)
    return runs.read_run(bench.store, bench.store.resolve(caught.value.run_id))


@pytest.mark.parametrize(
    ("timeout", "memory", "found"),
    [
        (None, None, Limits()),
        ("90", None, Limits(seconds=90.0)),
        ("1.5m", None, Limits(seconds=90.0)),
        ("250ms", None, Limits(seconds=0.25)),
        ("2 h", None, Limits(seconds=7200.0)),
        (None, "500MB", Limits(memory_bytes=500_000_000)),
        (None, "2GiB", Limits(memory_bytes=2 * 1024**3)),
        (None, "1.5g", Limits(memory_bytes=1_500_000_000)),
        ("1s", "1000000", Limits(seconds=1.0, memory_bytes=1_000_000)),
    ],
)
def test_limits_are_read_as_people_write_them(timeout, memory, found):
    assert parse_limits(timeout, memory) == found


@pytest.mark.parametrize("text", ["", "s", "1x", "-1", "0", "1e3", "inf", "1 2", "0.0h"])
def test_what_is_no_limit_is_refused(text):
    with pytest.raises(BadInput, match="--timeout"):
        parse_limits(text, None)
    with pytest.raises(BadInput, match="--memory"):
        parse_limits(None, text)


def test_a_run_that_takes_too_long_is_ended_and_recorded(bench):
    bench.experiment("slow", "while True:\n    pass", head="print('begun', flush=True)")

    failed = limited(bench, "slow", Limits(seconds=0.7))

    assert failed.error == {
        "kind": "TimedOut",
        "message": "it took longer than 0.7 s, the limit that it was given",
        "where": "",
    }
    assert 0.7 <= failed.seconds < 10
    assert bench.statuses(failed.run_id) == ["pending", "running", "failed"]
    assert b"begun" in bench.store.get_blob(failed.log)


def test_a_run_that_uses_too_much_memory_is_ended_and_recorded(bench):
    body = "held = bytearray(600_000_000)\ntime.sleep(60)\nreturn {}"
    bench.experiment("large", body, head="import time")

    failed = limited(bench, "large", Limits(memory_bytes=200 * MEGABYTE))

    assert failed.error["kind"] == "OutOfMemory"
    assert "more than 200 MB" in failed.error["message"]


def test_nobody_feels_a_limit(bench):
    """Law 1: what stands in no recipe may change no answer, as a caught MemoryError would."""
    body = """
    try:
        held = b"1" * 600_000_000
    except MemoryError:
        return {"caught": True}
    time.sleep(0.5)
    return {"caught": False}
    """
    bench.experiment("catches", body, head="import time")

    failed = limited(bench, "catches", Limits(memory_bytes=200 * MEGABYTE))

    assert failed.error["kind"] == "OutOfMemory"
    assert bench.run("catches").manifest.metrics == {"caught": False}


def test_within_its_limits_a_run_is_as_any_other(bench):
    bench.experiment("quick", "return {'a': 1}")
    limits = Limits(seconds=60, memory_bytes=2000 * MEGABYTE)
    first = runner.run(bench.context, bench.request("quick"), limits=limits).manifest
    again = bench.run("quick", force=True).manifest

    assert (first.recipe_id, first.outcome_id) == (again.recipe_id, again.outcome_id)
    assert bench.run("quick").is_cached


def test_what_a_failed_run_left_is_run_again(bench):
    bench.experiment("slow", "time.sleep(2)\nreturn {'a': 1}", head="import time")
    limited(bench, "slow", Limits(seconds=0.4))

    assert bench.run("slow").manifest.metrics == {"a": 1}


def test_what_a_child_starts_counts_too():
    holds = "held = bytearray(150_000_000)\nprint(1, flush=True)\nimport time; time.sleep(60)"
    starts = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {holds!r}], stdout=sys.stdout)\n"
        "import time; time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", starts], stdout=subprocess.PIPE, start_new_session=True
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"1\n"
            assert memory_of(child.pid) > 150 * MEGABYTE
            assert watch(child, Limits(memory_bytes=100 * MEGABYTE)) == "OutOfMemory"
        finally:
            os.killpg(child.pid, signal.SIGKILL)


def test_of_two_limits_the_first_that_is_reached_counts():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        try:
            limits = Limits(seconds=0.3, memory_bytes=10_000 * MEGABYTE)
            assert watch(child, limits) == "TimedOut"
            assert watch(child, Limits(seconds=9, memory_bytes=1)) == "OutOfMemory"
        finally:
            child.kill()
    assert watch(child, Limits(seconds=1)) is None
