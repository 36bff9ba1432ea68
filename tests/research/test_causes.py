"""Why a replay diverged: planted nondeterminism, and the cause that is named."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from research.context import create_experiment_context
from research.datasets.snapshot import add_snapshot
from research.experiments import causes, environment, factors
from research.experiments import run as runner
from research.experiments.conditions import conditions_of
from research.experiments.replay import replay

MEMORY = Path("/dev/shm")

# Each is a body of `run`, what stands above it, and how the first cause begins.
PLANTED = {
    "clock": ("return {'t': time.time()}", "import time", "clock: "),
    "clock, as a date": (
        "return {'t': f'{datetime.datetime.now():%H:%M:%S.%f}', 'd': str(datetime.date(2020, 1, 1))}",
        "import datetime",
        "clock: ",
    ),
    "duration": (
        "t = time.perf_counter()\nsum(range(1000))\nreturn {'t': time.perf_counter() - t}",
        "import time",
        "clock: ",
    ),
    "random, unseeded": ("return {'t': random.random()}", "import random", "entropy: "),
    "numpy, unseeded": (
        "return {'t': float(np.random.default_rng().normal())}",
        "import numpy as np",
        "entropy: ",
    ),
    "numpy's own generator": (
        "return {'t': float(np.random.rand())}",
        "import numpy as np",
        "entropy: ",
    ),
    "random device": (
        "return {'t': open('/dev/urandom', 'rb').read(8).hex()}",
        "",
        "entropy: ",
    ),
    "id": ("return {'t': id(object())}", "", "address order: "),
    "set order": (
        "things = {Thing() for _ in range(3000)}\n"
        "first = [thing.__class__.made.index(id(thing)) for thing in things]\n"
        "save_table(output_dir, 't', {'order': first})\n"
        "return {}",
        "from research import save_table\n"
        "class Thing:\n"
        "    made = []\n"
        "    def __init__(self):\n"
        "        self.made.append(id(self))\n",
        "address order: ",
    ),
    "thread race": (
        "got = []\n"
        "def work(name):\n"
        "    for _ in range(200):\n"
        "        got.append(name)\n"
        "        time.sleep(1e-6)\n"
        "threads = [threading.Thread(target=work, args=(name,)) for name in 'abcd']\n"
        "for thread in threads:\n"
        "    thread.start()\n"
        "for thread in threads:\n"
        "    thread.join()\n"
        "save_table(output_dir, 't', {'who': got})\n"
        "return {}",
        "import threading, time\nfrom research import save_table",
        "threads: ",
    ),
    "pool": (
        "with ThreadPoolExecutor(6) as pool:\n"
        "    asked = [pool.submit(work, n) for n in range(300)]\n"
        "    total = 0.0\n"
        "    for each in as_completed(asked):\n"
        "        total = total * 1.01 + each.result()\n"
        "return {'t': total}",
        "import time\n"
        "from concurrent.futures import ThreadPoolExecutor, as_completed\n"
        "def work(n):\n"
        "    time.sleep(1e-5)\n"
        "    return n\n",
        "threads: ",
    ),
    "folder": ("return {'t': __file__}", "", "folder: "),
}  # fmt: skip


def causes_of(bench, body, head):
    """Run an experiment until two runs differ, as they may not; return the replay's causes."""
    bench.experiment("planted", body, head=head)
    original = bench.run("planted").manifest
    for _ in range(5):
        found = replay(bench.context, original.run_id)
        if found.verdict == "diverged":
            return found
    raise AssertionError("it was the same five times")


@pytest.mark.parametrize("plant", PLANTED)
def test_the_planted_cause_is_named_first(bench, plant):
    body, head, expected = PLANTED[plant]

    found = causes_of(bench, body, head)

    assert found.divergence.causes[0].startswith(expected), found.divergence.causes
    assert len(found.divergence.causes) == 1


def test_the_place_that_asked_is_named(bench):
    found = causes_of(bench, "a = 1\nreturn {'t': time.time() + a}", "import time")

    assert found.divergence.causes[0].endswith("planted.py, line 8 asked for the clock (time.time)")


def test_several_causes_are_told_apart(bench):
    found = causes_of(
        bench,
        "save_table(output_dir, 't', {'at': [time.time()], 'one': [1], 'luck': [random.random()]})\n"
        "return {'where': id(object())}",
        "import random, time\nfrom research import save_table",
    )

    words = {cause.partition(":")[0]: cause for cause in found.divergence.causes}
    assert words.keys() == {"clock", "entropy", "address order"}
    assert "t:at changes" in words["clock"]
    assert "t:luck changes" in words["entropy"]
    assert "metrics:where changes" in words["address order"]
    assert not any("t:one" in cause for cause in words.values())


def test_what_cannot_be_held_is_not_blamed_on_what_can(bench):
    # The C library's own clock: numpy asks it without Python.
    found = causes_of(
        bench,
        "import os\nreturn {'t': os.stat('request.json').st_mtime_ns}",
        "",
    )

    assert found.divergence.causes == (causes.RESTLESS,)


def test_the_order_of_files_is_named_where_another_file_system_has_another(bench, tmp_path):
    if not MEMORY.is_dir():
        pytest.skip("there is no second file system")
    (tmp_path / "d").mkdir()
    for number in range(40):
        (tmp_path / "d" / f"{number * 7919 % 100:02}.txt").write_text(str(number))
    add_snapshot(bench.context, tmp_path / "d", name="d")
    bench.experiment(
        "lists",
        "save_table(output_dir, 't', {'name': os.listdir(spec.files)})\nreturn {}",
        head="import os\nfrom research import save_table",
        spec="input_dataset='d'",
    )
    original = bench.run("lists").manifest
    there = MEMORY / tmp_path.name
    shutil.copytree(bench.folder, there)
    try:
        context = create_experiment_context(there)
        found = replay(context, original.run_id)
        context.store.close()
    finally:
        shutil.rmtree(there)
    if found.verdict == "identical":
        pytest.skip("the two file systems list alike")

    assert found.divergence.causes[0].startswith("file listing order: ")
    assert len(found.divergence.causes) == 1


@pytest.mark.parametrize(
    ("variable", "value", "body", "word"),
    [
        ("PYTHONHASHSEED", "7", "return {'t': repr(set('abcdefgh'))}", "hash order"),
        ("TZ", "NPT-5:45", "import time\nreturn {'t': time.strftime('%H', time.localtime(0))}", "time zone"),
        ("LC_ALL", "C", "import locale\nreturn {'t': str(locale.setlocale(locale.LC_ALL, ''))}", "locale"),
        ("OMP_NUM_THREADS", "2", "import os\nreturn {'t': os.environ['OMP_NUM_THREADS']}", "thread count"),
    ],
)  # fmt: skip
def test_a_variable_that_was_pinned_otherwise_is_proved(
    bench, monkeypatch, variable, value, body, word
):
    bench.experiment("depends", body)
    with monkeypatch.context() as earlier:
        # A release that pins it otherwise; and one that pins another beside it, to no effect.
        earlier.setitem(environment.VARIABLES, variable, value)
        earlier.setitem(environment.VARIABLES, "AN_OLD_ONE", "1")
        original = bench.run("depends").manifest

    found = replay(bench.context, original.run_id)

    assert found.verdict == "diverged"
    first, *others = found.divergence.causes
    now = environment.VARIABLES[variable]
    assert (
        first
        == f"{word}: {variable}: {value} then, {now} now; as it was then, it gives the recorded outcome"
    )
    assert others == ["AN_OLD_ONE: 1 then, absent now"]
    assert set(found.drift) == {f"{variable}: {value} then, {now} now", *others}


def test_fewer_instructions_are_proved(bench, monkeypatch):
    few, there = factors.FEW_INSTRUCTIONS.others, environment.interpreter()
    if not there["instructions"]:
        pytest.skip("this machine names no instructions")
    bench.experiment(
        "sums",
        "x = np.random.default_rng(1).normal(size=(400, 400))\nreturn {'t': float((x @ x @ x).sum())}",
        head="import numpy as np",
    )
    with monkeypatch.context() as poorer:
        poorer.setattr(environment, "interpreter", lambda: {**there, "instructions": ""})
        poorer.setattr(
            runner, "conditions_of", lambda *a: replace(conditions_of(*a), variables=few)
        )
        original = bench.run("sums").manifest

    found = replay(bench.context, original.run_id)

    if found.verdict == "identical":
        pytest.skip("this numpy rounds alike with few instructions")
    assert found.divergence.causes[0].startswith("CPU features: instructions: ")
    assert found.divergence.causes[0].endswith("as it was then, it gives the recorded outcome")


def test_drift_that_changes_nothing_comes_after_what_does(bench, monkeypatch):
    bench.experiment("chance", "return {'t': time.time()}", head="import time")
    with monkeypatch.context() as earlier:
        earlier.setitem(environment.VARIABLES, "AN_OLD_ONE", "1")
        original = bench.run("chance").manifest

    found = replay(bench.context, original.run_id)

    assert found.divergence.causes[0].startswith("clock: ")
    assert found.divergence.causes[1:] == ("AN_OLD_ONE: 1 then, absent now",)


def test_other_code_that_agrees_with_itself_is_the_cause(bench):
    bench.experiment("edited", "return {'t': 1}")
    original = bench.run("edited").manifest
    bench.experiment("edited", "return {'t': 2}")

    found = replay(bench.context, original.run_id, in_place=True)

    assert found.divergence.causes == (causes.CODE_CHANGED,)


def test_the_search_leaves_nothing_behind(bench):
    bench.experiment("chance", "return {'t': time.time()}", head="import time")
    original = bench.run("chance").manifest

    found = replay(bench.context, original.run_id)

    moved = {move.ref for move in bench.store.journal()}
    mine = {f"runs/{each.run_id}" for each in (original, found.replayed)}
    assert moved == {
        *mine,
        f"replays/{found.replayed.run_id}",
        f"trials/{original.run_id}",
    }
    assert not list((bench.folder / ".ros" / "tmp").iterdir())
    assert bench.store.check().ok
    assert bench.manifest(found.replayed.run_id).status == "completed"


def test_without_the_search_only_what_is_not_the_same_is_told(bench, monkeypatch):
    monkeypatch.setattr(causes, "open_trials", None)  # nothing is tried
    bench.experiment("chance", "return {'t': time.time()}", head="import time")
    original = bench.run("chance").manifest

    found = replay(bench.context, original.run_id, seeks_causes=False)

    assert found.divergence.causes == (causes.UNKNOWN,)


@pytest.mark.parametrize(("bound", "value"), [("RUNS_MAX", 3), ("SECONDS_MAX", -1.0)])
def test_the_search_is_bounded(bench, monkeypatch, bound, value):
    monkeypatch.setattr(causes, bound, value)
    bench.experiment("chance", "return {'t': id(object())}")
    original = bench.run("chance").manifest

    found = replay(bench.context, original.run_id)

    assert found.verdict == "diverged"
    assert "with more to be tried" in found.divergence.causes[-1]
    assert bench.store.get_record(found.record).fields["divergence"] == found.divergence.to_fields()


def test_an_interrupted_search_keeps_the_verdict(bench, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(causes.Search, "_hold", interrupt)
    bench.experiment("chance", "return {'t': time.time()}", head="import time")
    original = bench.run("chance").manifest

    with pytest.raises(KeyboardInterrupt):
        replay(bench.context, original.run_id)

    ((_, verdict),) = bench.store.refs("replays/")
    fields = bench.store.get_record(verdict).fields
    assert fields["verdict"] == "diverged"
    assert "interrupted" in fields["divergence"]["causes"][-1]
    assert not list((bench.folder / ".ros" / "tmp").iterdir())
