"""Many processes at one store: every run is recorded, the index is whole, nothing is lost."""

import json
import os
import subprocess
import sys

import pytest

from rosdb import ObjectId

PROGRAM = "from cli.app import main; main()"


def start(folder, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )


def finish(started):
    answers = []
    for process in started:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        answers.append(json.loads(out))
    return answers


def test_many_runs_at_once_are_all_recorded(bench):
    commands = [("run", "gamma_signal_sanity", "--seed", str(n % 4), "--json") for n in range(8)]

    answers = finish([start(bench.folder, *command) for command in commands])

    assert len({a["fingerprint"] for a in answers}) == 4
    assert len({a["outcome"] for a in answers}) == 4
    shown = {str(row.run_id) for row in bench.store.runs()}
    assert shown == {a["run"] for a in answers}
    report = bench.store.check()
    assert report.ok
    assert not report.index_differs


def test_a_shipped_dataset_is_added_once(bench):
    # Both find that it is not there, and both add it.
    commands = [("run", "sma_crossover", "--param", f"fast={n}", "--json") for n in (5, 6, 7)]

    answers = finish([start(bench.folder, *command) for command in commands])

    assert {a["dataset"] for a in answers} == {"sp500-daily@1999-2018"}
    moves = [m for m in bench.store.journal() if m.ref.startswith("datasets/")]
    assert len(moves) == 1


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_readers_beside_writers_see_whole_runs(bench, force):
    bench.run("gamma_signal_sanity")
    writers = [
        start(bench.folder, "run", "gamma_signal_sanity", "--seed", str(n), "--json", *force)
        for n in range(3)
    ]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        for row in list(bench.store.runs()):
            manifest = bench.manifest(row.run_id)
            seen.add(manifest.status)
            assert not manifest.is_interrupted
    finish(writers)

    assert seen <= {"pending", "running", "completed"}
    assert {bench.manifest(row.run_id).status for row in bench.store.runs()} == {"completed"}


def test_what_a_dead_run_left_is_removed_by_the_next(bench):
    left = bench.store.path / "tmp" / f"run-{'ab' * 32}"
    (left / "code").mkdir(parents=True)
    living = ObjectId.from_hex("cd" * 32)
    bench.experiment("quick", "return {'a': 1}")

    with bench.store.lease(living), bench.store.scratch(living) as folder:
        bench.run("quick")
        assert folder.is_dir()

    assert list((bench.store.path / "tmp").iterdir()) == []
