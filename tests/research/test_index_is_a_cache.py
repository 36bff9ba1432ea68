"""What is shown comes from the objects: an edited index changes no figure and gives no answer."""

import sqlite3
from contextlib import closing

import pytest

from research.experiments import log, runs


def logged(context, **asked):
    """List runs by their manifests; one whose records are damaged by its row."""
    found = log.log(context, **asked)
    return [each.row if each.manifest is None else each.manifest for each in found]


def edit(bench, *statements):
    bench.store.close()
    with closing(sqlite3.connect(bench.store.path / "index.db")) as db:
        for statement in statements:
            assert db.execute(statement).rowcount > 0, statement
        db.commit()


def test_a_metric_edited_in_place_is_shown_as_it_was(copied):
    run_id = copied.store.resolve("sma")
    before = copied.manifest(run_id).metrics
    edit(
        copied,
        "UPDATE facts SET num = 9.9 WHERE key IN (SELECT id FROM keys WHERE name = 'sharpe')",
    )

    shown = {m.run_id: m.metrics for m in logged(copied.context)}

    assert shown[run_id] == before
    assert before["sharpe"] < 1
    report = copied.store.check()
    assert report.index_differs
    assert report.ok


def test_the_check_says_nothing_of_a_sound_index(copied):
    list(logged(copied.context))

    assert not copied.store.check().index_differs


def test_an_index_that_points_elsewhere_gives_no_answer(copied):
    other = copied.store.resolve("gamma")
    copied.experiment("new", "return {'a': 1}")
    recipe = copied.fingerprint("new")
    edit(copied, f"UPDATE runs SET recipe = x'{recipe}' WHERE run = x'{other}'")

    performed = copied.run("new")

    assert not performed.is_cached
    assert performed.manifest.metrics == {"a": 1}


def test_an_index_that_calls_a_failure_completed_gives_no_answer(copied):
    failed = copied.manifest(copied.store.resolve("broken"))
    edit(copied, f"UPDATE runs SET status = 'completed' WHERE run = x'{failed.run_id}'")

    assert runs.find_completed(copied.store, failed.recipe_id) is None
    assert copied.failure("broken").run_id != failed.run_id


@pytest.mark.parametrize("text", [b"", b"garbage" * 1000, None])
def test_a_lost_index_is_rebuilt(copied, text):
    before = [m.run_id for m in logged(copied.context, sort="-metrics.sharpe")]
    copied.store.close()
    for path in copied.store.path.glob("index.db*"):
        path.unlink()
    if text is not None:
        (copied.store.path / "index.db").write_bytes(text)

    assert [m.run_id for m in logged(copied.context, sort="-metrics.sharpe")] == before
    assert copied.run("sma_crossover").is_cached


def test_a_damaged_run_does_not_hide_the_others(copied, fate):
    gamma = copied.manifest(copied.store.resolve("gamma"))
    fate.damage(copied.store, gamma.outcome_id)

    shown = list(logged(copied.context))

    assert len(shown) == 4
    assert [row.run_id for row in shown if isinstance(row, type(next(copied.store.runs())))] == [
        gamma.run_id
    ]
