"""One question, one outcome, wherever and whenever it is asked (Law 1)."""

import json
import os
import subprocess
import sys
from itertools import product

import pytest

from research.experiments import registry

# Runs every experiment that there is, each as `ros run` does, in one process.
EVERYTHING = """
import sys
from cli.app import main
for name in sys.argv[2:]:
    sys.argv[1:] = ["-C", FOLDER, "run", name, "--json"]
    try:
        main()
    except SystemExit as leaving:
        if leaving.code:
            raise
"""
SEEDS = ("1", "random")
ZONES = ("Asia/Kathmandu", "America/St_Johns", "Pacific/Chatham")
LOCALES = ("C", "C.UTF-8")
THREADS = ("1", "2")
# Every pair of values stands in some place, which a test below holds.
ROWS = (
    ("1", "Asia/Kathmandu", "C", "1"),
    ("random", "Asia/Kathmandu", "C.UTF-8", "2"),
    ("1", "America/St_Johns", "C.UTF-8", "2"),
    ("random", "America/St_Johns", "C", "1"),
    ("1", "Pacific/Chatham", "C", "2"),
    ("random", "Pacific/Chatham", "C.UTF-8", "1"),
)
PLACES = {
    f"{zone.partition('/')[2]}, hash seed {seed}, {locale}, threads {threads}": {
        "PYTHONHASHSEED": seed,
        "TZ": zone,
        "LC_ALL": locale,
        **{f"{name}_NUM_THREADS": threads for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")},
    }
    for seed, zone, locale, threads in ROWS
} | {
    "optimised": {"PYTHONOPTIMIZE": "2", "PYTHONUTF8": "1"},
    "another user": {"USER": "somebody", "LOGNAME": "somebody", "HOME": "/nonexistent",
                     "ROS_AGENT": "another"},
}  # fmt: skip


def ask(folder, elsewhere, variables, names, **options):
    """Ask everything in a workspace, from another folder; return fingerprints and outcomes."""
    done = subprocess.run(
        [sys.executable, "-c", EVERYTHING.replace("FOLDER", repr(str(folder))), "-", *names],
        cwd=elsewhere,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stderr
    found, left = {}, done.stdout
    while left:
        answer, end = json.JSONDecoder().raw_decode(left)
        left = left[end:].lstrip()
        assert not answer["cached"]
        found[answer["experiment"]] = (answer["fingerprint"], answer["outcome"], answer["outputs"])
    assert found.keys() == set(names)
    return found


@pytest.fixture(scope="module")
def names(finished):
    """Name every experiment that ships, the example of a new workspace too."""
    return sorted(registry.registrations(finished.context.experiments_folder).keys() - {"broken"})


@pytest.fixture(scope="module")
def here(finished, names, tmp_path_factory):
    """Give what is answered in this place, asked by this process' environment."""
    folder = tmp_path_factory.mktemp("here")
    subprocess.run(
        [sys.executable, "-c", "from cli.app import main; main()", "init", str(folder / "w")],
        check=True,
        capture_output=True,
    )
    return ask(folder / "w", folder, {}, names)


def test_every_experiment_that_ships_is_asked(here, finished):
    assert {"sma_crossover", "rsi_reversion", "breakout", "call_ladder"} <= here.keys()
    for called in ("sma", "gamma", "momentum"):
        manifest = finished.manifest(finished.store.resolve(called))
        fingerprint, outcome, _ = here[manifest.experiment]
        assert (fingerprint, outcome) == (str(manifest.recipe_id), str(manifest.outcome_id))


@pytest.mark.parametrize("place", PLACES)
def test_another_place_gives_the_same_outcome(here, names, new_bench, tmp_path, place):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    there = new_bench(f"a place called {place} ✓".replace("/", " "))

    assert ask(there.folder, elsewhere, PLACES[place], names) == here


def test_a_store_elsewhere_gives_the_same_outcome(here, names, new_bench, tmp_path):
    there = new_bench("there")
    there.store.close()
    (there.folder / ".ros").rename(tmp_path / "a store of its own")
    variables = {"ROS_DIR": str(tmp_path / "a store of its own")}

    found = ask(there.folder, tmp_path, variables, sorted(set(names) - {"momentum_example"}))

    assert found == {name: each for name, each in here.items() if name in found}


def test_a_busy_machine_gives_the_same_outcome(here, names, new_bench, tmp_path):
    there = new_bench("there")
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(2 * (os.cpu_count() or 1))
    ]
    try:
        assert ask(there.folder, tmp_path, {}, names) == here
    finally:
        for each in busy:
            each.kill()
            each.wait()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds to no core")
def test_one_core_gives_the_same_outcome(here, names, new_bench, tmp_path):
    there, core = new_bench("there"), min(os.sched_getaffinity(0))

    bound = {"preexec_fn": lambda: os.sched_setaffinity(0, {core})}

    assert ask(there.folder, tmp_path, {"OMP_NUM_THREADS": "1"}, names, **bound) == here


def test_every_pair_of_values_is_somewhere():
    values = [
        ("PYTHONHASHSEED", SEEDS),
        ("TZ", ZONES),
        ("LC_ALL", LOCALES),
        ("OMP_NUM_THREADS", THREADS),
    ]
    for (one, firsts), (other, seconds) in product(values, values):
        for pair in product(firsts, seconds):
            if one < other:
                assert any((p.get(one), p.get(other)) == pair for p in PLACES.values()), pair


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
