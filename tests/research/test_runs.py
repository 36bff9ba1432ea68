"""The life of a run: pending, running, completed or failed, each a move; a failure is a run too."""

import contextlib
from dataclasses import replace

import pytest

from research.errors import RunFailed
from research.experiments import answer, log, runs
from research.experiments import run as runner
from rosdb import errors


def logged(context, **asked):
    """List runs by their manifests; one whose records are damaged by its row."""
    found = log.log(context, **asked)
    return [each.row if each.manifest is None else each.manifest for each in found]


def test_a_run_moves_from_pending_to_completed(finished):
    run_id = finished.store.resolve("sma")

    assert finished.statuses(run_id) == ["pending", "running", "completed"]
    assert finished.manifest(run_id).seconds > 0


def test_a_failure_keeps_its_error_and_its_log(bench):
    bench.experiment("bad", "print('before')\nraise ValueError('it is bad')")

    failed = bench.failure("bad")

    assert bench.statuses(failed.run_id) == ["pending", "running", "failed"]
    assert failed.error == {
        "kind": "ValueError", "message": "it is bad", "where": "bad.py, line 8",
    }  # fmt: skip
    text = bench.store.get_blob(failed.log).decode()
    assert text.startswith("before\nTraceback")
    assert failed.outcome is None
    assert failed.metrics == {}
    assert runs.artifacts(bench.store, failed) == {}


def test_a_failed_run_is_no_answer(bench):
    # It wrote a valid-looking result before it failed, and one that another time would be fine.
    body = "(output_dir / 'result.json').write_text('{}')\nraise ValueError('too late')"
    bench.experiment("bad", body)
    first = bench.failure("bad")

    second = bench.failure("bad")

    assert second.run_id != first.run_id
    assert runs.find_completed(bench.store, first.recipe_id) is None


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ("raise SystemExit", "SystemExit", "it called exit(None)"),
        ("import sys\nsys.exit('words')", "SystemExit", "it called exit('words')"),
        ("exit(0)", "SystemExit", "it called exit(0)"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", "KeyboardInterrupt"),
        ("import os\nos._exit(0)", "Died", "status 0 and no result"),
        ("import os\nos._exit(7)", "Died", "status 7 and no result"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "Killed", "SIGKILL"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "Killed", "SIGSEGV"),
        ("import os\nos.kill(os.getpid(), 35)", "Killed", "signal 35"),
        ("def f(): f()\nf()", "RecursionError", "maximum recursion depth"),
        ("raise ValueError('bad \\udcff name')", "ValueError", r"bad \udcff name"),
        ("raise ValueError('x' * 100000)", "ValueError", "xxx"),
        ("return None", "TypeError", "run returned NoneType"),
        ("return [1]", "TypeError", "run returned list"),
        ("return {'a': {'b': 1}}", "TypeError", "metric 'a' is dict"),
        ("return {'a': [1.0]}", "TypeError", "metric 'a' is list"),
        ("return {'a': None}", "TypeError", "metric 'a' is NoneType"),
        ("return {'a': 1j}", "TypeError", "metric 'a' is complex"),
        ("return {1: 1}", "TypeError", "metric name 1 is not text"),
        ("return {'': 1}", "TypeError", "metric name '' is not text"),
        ("return {'a': 2**64}", "NotCanonical", "64 bits"),
        ("return {'a': '\\udcff'}", "NotCanonical", "lone surrogate"),
        ("return {'\\udcff': 1}", "NotCanonical", "lone surrogate"),
        ("import numpy\nreturn {'a': numpy.zeros(2)}", "TypeError", "metric 'a' is ndarray"),
        ("spec.bars()", "InputMissing", "this run was given no bars"),
        ("spec.files", "InputMissing", "this run was given no files"),
    ],
)
def test_every_kind_of_end_is_recorded(bench, body, kind, message):
    bench.experiment("ends", body)

    failed = bench.failure("ends")

    assert failed.status == "failed"
    assert failed.error["kind"] == kind
    assert message in failed.error["message"]
    assert len(failed.error["message"]) <= 2000
    assert not failed.is_interrupted


def test_metrics_keep_their_type_to_the_bit(bench):
    bench.experiment(
        "typed",
        """
        import numpy as np
        return {
            "nan": float("nan"), "inf": float("-inf"), "zero": -0.0, "tiny": 5e-324,
            "third": 1 / 3, "large": 2**63, "small": -(2**63), "yes": True, "text": "é\\n",
            "f64": np.float64(0.1), "f32": np.float32(0.1), "i8": np.int8(-3), "b": np.bool_(False),
            "array": np.array(2.5), "str": np.str_("s"),
        }
        """,
    )

    metrics = bench.run("typed").manifest.metrics

    expected = {
        "nan": float("nan"), "inf": float("-inf"), "zero": -0.0, "tiny": 5e-324,
        "third": 1 / 3, "large": 2**63, "small": -(2**63), "yes": True, "text": "é\n",
        "f64": 0.1, "f32": 0.10000000149011612, "i8": -3, "b": False, "array": 2.5, "str": "s",
    }  # fmt: skip
    assert {k: (type(v), repr(v)) for k, v in metrics.items()} == {
        k: (type(v), repr(v)) for k, v in expected.items()
    }


def test_metrics_are_shown_in_the_order_in_which_they_are_declared(bench):
    bench.experiment("ordered", "return {'a': 1, 'c': 2, 'b': 3}", spec="metrics=['c', 'nothing']")

    assert list(bench.run("ordered").manifest.metrics) == ["c", "a", "b"]


@pytest.mark.parametrize("size", [answer.LOG_BYTES_MAX, answer.LOG_BYTES_MAX + 1, 5 * 2**20])
def test_a_long_log_loses_its_middle_and_says_how_much(bench, size):
    body = f"import sys\nsys.stdout.write('a' + 'x' * ({size} - 2) + 'z')\nreturn {{}}"
    bench.experiment("talks", body)

    manifest = bench.run("talks").manifest

    text = bench.store.get_blob(manifest.log)
    assert len(text) <= answer.LOG_BYTES_MAX + 10
    assert (text[:1], text[-1:]) == (b"a", b"z")
    assert manifest.log_bytes_cut == max(0, size - answer.LOG_BYTES_MAX)
    assert (b"[...]" in text) == (size > answer.LOG_BYTES_MAX)


def test_what_is_printed_is_no_part_of_the_outcome(bench):
    body = "import time\nprint(time.time_ns())\nreturn {'a': 1}"
    bench.experiment("talks", body)

    first, second = bench.run("talks").manifest, bench.run("talks", force=True).manifest

    assert bench.store.get_blob(first.log) != bench.store.get_blob(second.log)
    assert first.outcome_id == second.outcome_id


def test_a_forced_run_is_a_run_of_its_own_with_the_same_outcome(bench):
    first, second = bench.run("sma_crossover"), bench.run("sma_crossover", force=True)

    assert second.manifest.run_id != first.manifest.run_id
    assert second.manifest.recipe_id == first.manifest.recipe_id
    assert second.manifest.outcome_id == first.manifest.outcome_id
    assert second.contradicts is None


def test_another_outcome_of_the_same_question_is_told(bench):
    bench.experiment("chance", "import time\nreturn {'t': time.time_ns()}")
    first = bench.run("chance").manifest

    second = bench.run("chance", force=True)

    assert second.contradicts is not None
    assert second.contradicts.run_id == first.run_id


def test_what_breaks_around_the_child_is_a_failed_run_not_a_running_one(copied, fate):
    manifest = copied.manifest(copied.store.resolve("sma"))
    fate.damage(copied.store, manifest.recipe.links["bars"])

    with pytest.raises(errors.ObjectCorrupt):
        copied.run("sma_crossover", force=True)

    newest = copied.manifest(copied.store.resolve("@"))
    assert (newest.status, newest.error["kind"]) == ("failed", "ObjectCorrupt")
    assert copied.statuses(newest.run_id) == ["pending", "running", "failed"]


def stuck(bench, monkeypatch, stage):
    """Leave a run behind as a killed process would: its lease let go, its status as it was."""

    class Killed(BaseException):
        pass

    def kill(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        if stage == "pending":
            patch.setattr(runner, "_perform", kill)
        else:
            patch.setattr(runner.capsule, "Capsule", kill)
            patch.setattr(runner, "_fail", kill)
        with contextlib.suppress(Killed):
            bench.run("victim")


@pytest.mark.parametrize("stage", ["pending", "running"])
def test_a_dead_run_is_shown_as_interrupted_and_asked_again(bench, monkeypatch, stage):
    bench.experiment("victim", "return {'a': 1}")
    stuck(bench, monkeypatch, stage)

    run_id = bench.store.resolve("@")
    (shown,) = logged(bench.context)
    assert bench.statuses(run_id)[-1] == stage
    assert (shown.status, shown.is_interrupted) == ("failed", True)
    assert [m.run_id for m in logged(bench.context, where="status = failed")] == [run_id]
    assert not list(logged(bench.context, where=f"status = {stage}"))
    assert not bench.run("victim").is_cached
    assert bench.manifest(bench.store.resolve("@")).status == "completed"


def test_a_living_run_is_shown_as_running(bench, monkeypatch):
    bench.experiment("victim", "return {'a': 1}")
    stuck(bench, monkeypatch, "running")
    run_id = bench.store.resolve("@")

    with bench.store.lease(run_id):
        assert bench.manifest(run_id).status == "running"
        assert [m.status for m in logged(bench.context)] == ["running"]
    assert bench.manifest(run_id).status == "failed"


def test_a_run_that_ends_while_we_look_is_not_taken_for_dead(bench, monkeypatch):
    # We read "running"; it ends and lets its lease go; we find the lease free.
    bench.experiment("victim", "return {'a': 1}")
    stuck(bench, monkeypatch, "running")
    run_id = bench.store.typed(bench.store.resolve("@"))
    is_leased = bench.store.is_leased
    error = {"kind": "ValueError", "message": "its own end", "where": ""}
    with contextlib.ExitStack() as lease:
        lease.enter_context(bench.store.lease(run_id))

        def look(asked):
            monkeypatch.setattr(bench.store, "is_leased", is_leased)
            running = bench.store.ref(f"runs/{run_id}")
            runner._move_status(
                bench.context, run_id, running, "failed", runner.Ending(seconds=1.0, error=error)
            )
            lease.close()
            return is_leased(asked)

        monkeypatch.setattr(bench.store, "is_leased", look)
        found = bench.manifest(run_id)

    assert found.error == error
    assert not found.is_interrupted


def test_an_ended_run_is_never_marked_dead(bench, monkeypatch):
    # The index is asked before the run ends, the lease is looked at after.
    bench.experiment("quick", "return {'a': 1}")
    bench.run("quick")
    row = next(iter(bench.store.runs()))
    stale = replace(row, status="running")
    seen = bench.store.runs

    def late(*arguments, **options):
        unfinished = options.get("conditions", {}).get("status") == "running"
        return iter([stale]) if unfinished else seen(*arguments, **options)

    monkeypatch.setattr(bench.store, "runs", late, raising=False)
    runs.settle_interrupted(bench.store)
    monkeypatch.undo()

    assert [row.status for row in bench.store.runs()] == ["completed"]
    assert bench.run("quick").is_cached


def test_a_failure_says_where_its_run_is(bench):
    bench.experiment("bad", "raise ValueError('no')")

    with pytest.raises(RunFailed) as caught:
        bench.run("bad")

    assert str(caught.value) == "bad failed: ValueError: no (at bad.py, line 7)"
    assert caught.value.run_id[:12] in caught.value.hint
