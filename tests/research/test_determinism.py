"""One question, one outcome, wherever and whenever it is asked (Law 1)."""

import json
import os
import subprocess
import sys

import pytest

EXPERIMENTS = ("sma_crossover", "gamma_signal_sanity", "momentum_example")
PLACES = {
    "plain": {},
    "east": {"PYTHONHASHSEED": "1", "TZ": "Asia/Kathmandu", "LC_ALL": "C"},
    "west": {"PYTHONHASHSEED": "2", "TZ": "America/St_Johns", "LC_ALL": "C.UTF-8"},
    "busy": {"PYTHONHASHSEED": "random", "TZ": "Pacific/Chatham", "OMP_NUM_THREADS": "7",
             "PYTHONOPTIMIZE": "2", "PYTHONUTF8": "1", "ROS_AGENT": "somebody"},
}  # fmt: skip


def ask(folder, elsewhere, variables):
    """Ask everything in a workspace, from another folder; return fingerprints and outcomes."""
    found = {}
    for name in EXPERIMENTS:
        done = subprocess.run(
            [sys.executable, "-c", "from cli.app import main; main()",
             "-C", str(folder), "run", name, "--json"],
            cwd=elsewhere,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert not answer["cached"]
        found[name] = (answer["fingerprint"], answer["outcome"], answer["outputs"])
    return found


@pytest.fixture(scope="module")
def here(finished):
    found = {}
    for name, called in zip(EXPERIMENTS, ("sma", "gamma", "momentum"), strict=True):
        manifest = finished.manifest(finished.store.resolve(called))
        found[name] = (str(manifest.recipe_id), str(manifest.outcome_id))
    return found


@pytest.mark.parametrize("place", PLACES)
def test_another_place_gives_the_same_outcome(here, new_bench, tmp_path, place):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    there = new_bench(f"a place called {place} ✓")

    found = ask(there.folder, elsewhere, PLACES[place])

    assert {name: each[:2] for name, each in found.items()} == here


def test_what_python_leaves_to_chance_is_pinned(bench):
    bench.experiment(
        "chance",
        """
        import locale, time
        return {
            "sets": repr(set("abcdefghijkl")),
            "hash": hash("text"),
            "zone": repr(time.tzname),
            "encoding": locale.getpreferredencoding(),
        }
        """,
    )

    first, second = bench.run("chance"), bench.run("chance", force=True)

    assert first.manifest.outcome_id == second.manifest.outcome_id
    assert first.manifest.metrics["zone"] == "('UTC', 'UTC')"
    assert first.manifest.metrics["encoding"].lower() == "utf-8"
