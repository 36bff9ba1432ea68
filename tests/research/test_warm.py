"""Warm workers: runs that are copies of one child, and know nothing of each other."""

import os
import signal
import threading
import time

import pytest

from research.errors import BadInput
from research.experiments import memory_folder, sandbox
from research.experiments import worker as workers
from research.experiments.executors import Means
from research.experiments.limits import NO_LIMITS, Limits
from research.experiments.sweep import SweepRequest, sweep
from research.experiments.sweep_points import Axis

pytestmark = pytest.mark.skipif(
    not set(sandbox.look().parts) >= {"landlock:files", "seccomp"},
    reason="this machine has not the walls that warm workers need: see ros doctor",
)
NUMBERED = "parameters={'n': 0}"


def swept(bench, name, count, *, jobs=1, overrides=(), axis="n", limits=NO_LIMITS, **options):
    asked = SweepRequest(
        request=bench.request(name, dict(overrides)),
        axes=[Axis(path=axis, values=tuple(range(1, count + 1)))],
        means=Means(jobs=jobs, limits=limits),
        **options,
    )
    return sweep(bench.context, asked)


def manifests(found):
    return [point.manifest for point in found.points]


def metrics(found):
    return [each.metrics for each in manifests(found)]


@pytest.fixture
def started(monkeypatch):
    """Give the list of the workers that are started."""
    found = []
    begin = workers.Worker.__init__

    def noted(self, *arguments, **options):
        begin(self, *arguments, **options)
        found.append(self)

    monkeypatch.setattr(workers.Worker, "__init__", noted)
    return found


PLANTS = """
seen = []
seen.append("global" * hasattr(helper, "planted"))
seen.append("module" * ("planted" in sys.modules))
seen.append("patch" * (os.path.join("a", "b") != "a/b"))
seen.append("variable" * ("PLANTED" in os.environ))
seen.append("home" * bool(os.listdir(os.environ["HOME"])))
seen.append("output" * bool(os.listdir(output_dir)))
seen.append("folder" * (sorted(os.listdir(".")) != FOLDER))
seen.append("search" * ("planted" in sys.path))
seen.append("warnings" * (len(warnings.filters) != FILTERS))
seen.append("recursion" * (sys.getrecursionlimit() == 4321))
seen.append("log" * (os.stat("log").st_size > 0))
drawn = random.Random.random(random._inst)
legacy = float(np.random.random())
helper.planted = True
sys.modules["planted"] = helper
os.path.join = lambda *parts: "patched"
os.environ["PLANTED"] = "1"
Path(os.environ["HOME"], "planted").write_text("a")
(output_dir / "planted").write_text(str(spec.parameters["n"]))
sys.path.append("planted")
warnings.simplefilter("error")
sys.setrecursionlimit(4321)
random.seed(1)
np.random.seed(1)
gc.collect()
print("said by", spec.parameters["n"])
return {"seen": " ".join(filter(None, seen)), "drawn": drawn, "legacy": legacy}
"""
PLANTS_HEAD = """
import gc, os, random, sys, warnings
from pathlib import Path
import numpy as np
import helper
FILTERS = len(warnings.filters)
FOLDER = ["code", "home", "input", "log", "output", "request.json", "result.json"]
"""


def test_no_run_sees_what_another_has_left(bench, started):
    bench.write("helper.py", "")
    bench.experiment("plants", PLANTS, head=PLANTS_HEAD, spec=NUMBERED)

    found = swept(bench, "plants", 8)

    assert found.failed == 0
    assert len(started) == 1
    assert [each["seen"] for each in metrics(found)] == [""] * 8
    # Nor the start of a generator that nobody has seeded: it is another each time.
    assert len({each["drawn"] for each in metrics(found)}) == 8
    assert len({each["legacy"] for each in metrics(found)}) == 8
    for number, each in enumerate(manifests(found), start=1):
        assert bench.store.get_blob(each.log) == b"said by %d\n" % number
        (entry,) = bench.store.get_tree(each.outcome.links["artifacts"]).values()
        assert bench.store.get_blob(entry.link) == b"%d" % number


def test_of_each_copy_it_is_noted_what_it_asked_for(bench):
    body = "return {'at': int(time.time()), 'n': random.randrange(9) * 0 + spec.parameters['n']}"
    bench.experiment("asks", body, head="import random, time", spec=NUMBERED)

    for each in manifests(swept(bench, "asks", 4)):
        whats = {note["what"] for note in each.nondeterminism}
        assert whats == {"the clock (time.time)", "an unseeded generator (random.randrange)"}
        assert {note["where"] for note in each.nondeterminism} == {"asks.py, line 7"}


TABLED = """
bars = spec.bars()
assert not bars["close"].flags.writeable
save_table(output_dir, "t", {"a": bars["close"][: spec.parameters["n"]], "b": ["x"] * spec.parameters["n"]})
rng = np.random.default_rng(spec.seed)
return {"mean": float(bars["close"].mean()), "drawn": float(rng.normal())}
"""


def test_a_copy_answers_as_a_child_of_its_own(bench, new_bench, started):
    head = "import numpy as np\nfrom research import save_table"
    spec = f"{NUMBERED}, input_dataset='sp500-daily'"
    bench.experiment("tabled", TABLED, head=head, spec=spec)

    warm = swept(bench, "tabled", 4, jobs=2)

    assert len(started) == 2
    cold = new_bench("other")
    cold.experiment("tabled", TABLED, head=head, spec=spec)
    for each in manifests(warm):
        alone = cold.run("tabled", parameters=each.parameters, seed=each.seed).manifest
        assert (alone.recipe_id, alone.outcome_id) == (each.recipe_id, each.outcome_id)
        assert alone.sandbox["level"] == each.sandbox["level"]


SHIPPED = {
    "sma_crossover": "fast",
    "rsi_reversion": "period",
    "breakout": "entry_window",
    "call_ladder": None,
    "gamma_signal_sanity": None,
}


@pytest.mark.parametrize("name", SHIPPED)
def test_built_in_runs_that_share_a_process_answer_as_alone(bench, new_bench, started, name):
    axis = SHIPPED[name] or "seed"
    spec = __import__(f"research.experiments.builtin.{name}", fromlist=["DEFAULT_SPEC"])
    paths = [path for path in (axis, "cash") if path in spec.DEFAULT_SPEC.parameters]
    if not paths:
        numbers = [k for k, v in spec.DEFAULT_SPEC.parameters.items() if type(v) is int]
        paths = numbers[:1]
    (path, *_) = paths
    default = spec.DEFAULT_SPEC.parameters[path]
    asked = SweepRequest(
        request=bench.request(name),
        axes=[Axis(path=path, values=(default, default + 1, default + 2))],
    )

    warm = sweep(bench.context, asked)

    assert warm.failed == 0
    assert len(started) == 1
    other = new_bench("other")
    for each in manifests(warm):
        alone = other.run(name, parameters={path: each.parameters[path]}, seed=each.seed).manifest
        assert (alone.recipe_id, alone.outcome_id) == (each.recipe_id, each.outcome_id)


def test_what_a_run_leaves_open_is_written(bench):
    body = "global kept\nkept = (output_dir / 'a').open('w')\nkept.write('a' * 100)\nreturn {}"
    bench.experiment("open", body, head="kept = None", spec=NUMBERED)

    for each in manifests(swept(bench, "open", 3)):
        (entry,) = bench.store.get_tree(each.outcome.links["artifacts"]).values()
        assert entry.size == 100


def test_a_run_that_dies_takes_no_other_with_it(bench, started):
    body = "if spec.parameters['n'] == 2:\n    os.abort()\nreturn {'n': spec.parameters['n']}"
    bench.experiment("dies", body, head="import os", spec=NUMBERED)

    found = manifests(swept(bench, "dies", 5))

    assert [each.status for each in found] == ["completed", "failed", *["completed"] * 3]
    assert "SIGABRT" in found[1].error["message"]
    assert len(started) == 1


def test_a_worker_that_dies_fails_its_run_and_is_replaced(bench, started):
    body = "time.sleep(0.3)\nreturn {'n': spec.parameters['n']}"
    bench.experiment("sleeps", body, head="import time", spec=NUMBERED)

    def kill():
        while not (started and started[0].begun):
            time.sleep(0.01)
        time.sleep(0.1)
        os.kill(started[0]._child.pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    found = manifests(swept(bench, "sleeps", 4))
    thread.join()

    assert [each.status for each in found].count("failed") == 1
    assert found[0].error["message"] == "the child was ended by SIGKILL"
    assert len(started) == 2
    assert bench.store.check().ok


@pytest.mark.parametrize("module", ["ccxt", "webbrowser,ccxt"])
def test_a_worker_that_may_not_import_what_its_runs_do_goes_on_without(
    bench, started, monkeypatch, module
):
    # Some package imports a broker's software, which is refused.
    told = {"modules": module.split(",")}
    monkeypatch.setattr(workers, "read_result", lambda folder: told)
    monkeypatch.setattr(workers.environment, "top_levels", lambda _: {"ccxt"})
    bench.experiment("plain", "return {'n': spec.parameters['n']}", spec=NUMBERED)

    found = swept(bench, "plain", 6)

    assert [each["n"] for each in metrics(found)] == [1, 2, 3, 4, 5, 6]
    assert len(started) == 2


def test_what_a_run_says_it_imported_is_not_believed(bench, started):
    body = """
    import gc
    for each in list(sys.modules):
        if each.startswith("made_up"):
            del sys.modules[each]
    sys.modules["made_up"] = sys.modules["a;b"] = sys.modules["os.path.nothing"] = sys
    return {"n": spec.parameters["n"]}
    """
    bench.write("statistics.py", "seen = []\n")
    head = "import sys\nimport statistics\nstatistics.seen.append(1)"
    bench.experiment("lies", body, head=head, spec=NUMBERED)

    found = swept(bench, "lies", 4)

    assert [each["n"] for each in metrics(found)] == [1, 2, 3, 4]
    assert len(started) == 1


def test_the_limits_of_a_sweep_are_those_of_each_run(bench, started):
    body = """
    if spec.parameters["n"] == 2:
        time.sleep(60)
    if spec.parameters["n"] == 3:
        taken = bytearray(400_000_000)
        time.sleep(60)
    return {"n": spec.parameters["n"]}
    """
    bench.experiment("greedy", body, head="import time", spec=NUMBERED)
    limits = Limits(seconds=2.0, memory_bytes=300_000_000)

    found = manifests(swept(bench, "greedy", 5, jobs=2, limits=limits))

    kinds = [None if each.error is None else each.error["kind"] for each in found]
    assert kinds == [None, "TimedOut", "OutOfMemory", None, None]
    assert "2 s" in found[1].error["message"]
    # Limits are circumstance: what completed is the answer without them, too.
    assert swept(bench, "greedy", 1).cached == 1


def test_built_in_runs_with_limits_share_no_process(bench, started):
    found = swept(bench, "sma_crossover", 3, axis="fast", limits=Limits(seconds=1e-6))

    assert {each.error["kind"] for each in manifests(found)} == {"TimedOut"}


@pytest.mark.parametrize("jobs", [1, 2, 4])
def test_fail_fast_begins_nothing_once_a_run_has_failed(bench, jobs):
    body = """
    if spec.parameters["n"] == 5:
        raise ValueError("no")
    time.sleep(0.05)
    return {}
    """
    bench.experiment("fails", body, head="import time", spec=NUMBERED)

    found = swept(bench, "fails", 40, jobs=jobs, is_fail_fast=True)

    begun = [each for each in manifests(found) if each is not None]
    assert found.failed == 1
    assert 5 <= len(begun) <= 5 + 2 * (jobs - 1)
    # Of those that were recorded and did not begin nothing is left.
    assert sum(1 for _ in bench.store.refs("runs/")) == len(begun)
    assert bench.store.check().ok
    again = swept(bench, "fails", 40, jobs=jobs)
    assert (again.executed + again.cached, again.failed) == (40, 1)


def test_where_only_the_hook_is_asked_for_each_run_has_a_child(bench, started):
    (bench.folder / "ros.toml").write_text('[run]\nsandbox = "hook"\n')
    bench.experiment("plain", "return {'n': spec.parameters['n']}", spec=NUMBERED)

    found = swept(bench, "plain", 4)

    assert [each["n"] for each in metrics(found)] == [1, 2, 3, 4]
    assert started == []
    assert manifests(found)[0].sandbox["level"] == "hook"


def test_nothing_is_left_in_memory(bench, started, monkeypatch):
    assert swept(bench, "sma_crossover", 3, axis="fast").failed == 0

    (worker,) = started
    assert str(worker._folder).startswith("/dev/shm/ros-")
    assert not worker._folder.parent.exists()


def test_what_a_dead_process_has_left_in_memory_is_swept(tmp_path, monkeypatch):
    monkeypatch.setattr(memory_folder, "_ROOT", tmp_path)
    left, fresh = tmp_path / "ros-left", tmp_path / "ros-fresh"
    left.mkdir()
    (left / "a").write_text("a")
    os.utime(left, (0, 0))
    fresh.mkdir()

    with memory_folder.memory_folder(1, time.time_ns()) as mine:
        os.utime(mine, (0, 0))
        assert not left.exists()
        with memory_folder.memory_folder(1, time.time_ns()) as other:
            assert mine.exists()
            assert other != mine
    assert fresh.exists()
    assert not mine.exists()
    with memory_folder.memory_folder(2**60, 0) as none:
        assert none is None


def test_no_process_outlives_a_sweep(bench, started):
    bench.experiment("plain", "return {}", spec=NUMBERED)

    swept(bench, "plain", 4, jobs=2)

    for worker in started:
        assert worker._child.returncode is not None
        with pytest.raises(ProcessLookupError):
            os.killpg(worker._child.pid, 0)


def test_the_columns_of_a_snapshot_are_in_memory_once(bench, started):
    body = """
    close = spec.bars()["close"]
    mapped = sum("/input/bars/" in line for line in open("/proc/self/maps"))
    return {"inode": os.stat("input/bars/0.data").st_ino, "mapped": mapped, "close": close[0]}
    """
    spec = f"{NUMBERED}, input_dataset='sp500-daily'"
    bench.experiment("looks", body, head="import os", spec=spec)

    found = swept(bench, "looks", 6, jobs=3)

    assert len(started) == 3
    assert len({each["inode"] for each in metrics(found)}) == 1
    # One may be unmapped before it is looked for.
    assert {each["mapped"] for each in metrics(found)} <= set(range(1, 7))


def test_no_module_of_the_experiment_is_imported_beforehand(bench, started):
    # Of the standard library, pickle looks for this one, and statistics for fractions.
    for name in ("org/__init__.py", "org/python/__init__.py"):
        bench.write(name, "")
    bench.write(
        "org/python/core.py",
        "import os\nPyStringMap = None\nSEEN = [0]\n\n"
        "def noted():\n    SEEN[0] += 1\n\nos.register_at_fork(before=noted)\n",
    )
    body = "import pickle\nimport org.python.core as core\nreturn {'earlier': core.SEEN[0]}"
    bench.experiment("spies", body, spec=NUMBERED)

    found = swept(bench, "spies", 5)

    assert [each["earlier"] for each in metrics(found)] == [0] * 5


def test_no_run_sets_where_another_is_to_run(bench):
    body = """
    try:
        os.sched_setaffinity(os.getppid(), {0})
    except PermissionError:
        return {"refused": True}
    return {"refused": False}
    """
    bench.experiment("pins", body, head="import os", spec=NUMBERED)

    assert [each["refused"] for each in metrics(swept(bench, "pins", 3))] == [True] * 3


GARBAGE = {
    "nothing": "{}",
    "no list": '{"ok": true, "metrics": {}}',
    "a number": '{"ok": true, "metrics": {}, "loaded": 5}',
    "a list of lists": '{"ok": true, "metrics": {}, "loaded": [["x"]]}',
    "no metrics": '{"ok": true, "loaded": []}',
    "deep metrics": '{"ok": true, "metrics": {"a": {"b": 1}}, "loaded": []}',
    "no error": '{"ok": false}',
    "another error": '{"ok": false, "error": {"zzz": 1}}',
    "brackets": "[" * 100_000,
}


def test_a_result_that_is_none_fails_its_run_alone(bench):
    body = """
    def write():
        for handle in range(3, 20):
            try:
                os.ftruncate(handle, 0)
                os.pwrite(handle, GARBAGE[spec.parameters["n"] - 2].encode(), 0)
            except OSError:
                pass
        os._exit(0)
    if spec.parameters["n"] > 1:
        write()
    return {}
    """
    head = f"import os\nGARBAGE = {list(GARBAGE.values())!r}"
    bench.experiment("lies", body, head=head, spec=NUMBERED)

    found = manifests(swept(bench, "lies", len(GARBAGE) + 2))

    statuses = [each.status for each in found]
    assert statuses[0] == "completed"
    assert statuses[1:-1] == ["failed"] * len(GARBAGE)
    assert bench.store.check().ok


def test_a_folder_that_was_spoiled_is_given_to_nobody_else(bench):
    body = """
    seen = os.stat("output").st_size, oct(os.stat("output").st_mode)
    for number in range(2000):
        os.mkdir(output_dir / f"{number:060}")
    for number in range(2000):
        os.rmdir(output_dir / f"{number:060}")
    os.chmod(output_dir, 0o755)
    return {"seen": str(seen)}
    """
    bench.experiment("grows", body, head="import os", spec=NUMBERED)

    assert len({each["seen"] for each in metrics(swept(bench, "grows", 4))}) == 1


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("rule", [{"is_fail_fast": True}, {"early_stop": "sharpe < 99 after 1"}])
def test_built_in_runs_too_stop_at_once(bench, jobs, rule):
    path = "risk.stop_loss.initial" if "is_fail_fast" in rule else "fast"
    values = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06) if "is_fail_fast" in rule else (4, 5, 6, 7, 8, 9)
    asked = SweepRequest(
        request=bench.request("sma_crossover"),
        axes=[Axis(path=path, values=values)],
        means=Means(jobs=jobs),
        **rule,
    )

    found = sweep(bench.context, asked)

    assert 1 <= found.executed <= jobs
    assert found.stopped is not None


def test_values_that_are_equal_are_one_point(bench):
    bench.experiment("plain", "return {'n': spec.parameters['n']}", spec="parameters={'n': 0.0}")
    asked = SweepRequest(request=bench.request("plain"), axes=[Axis(path="n", values=(1, 1.0, 2))])

    found = sweep(bench.context, asked)

    assert ([each["n"] for each in metrics(found)], found.inert) == ([1.0, 2.0], ())


def test_a_rule_over_an_unknown_metric_is_refused(bench):
    asked = SweepRequest(
        request=bench.request("sma_crossover"),
        axes=[Axis(path="fast", values=(4, 5))],
        early_stop="metrics.sharp < 5 after 1",
    )

    with pytest.raises(BadInput, match="has no metric 'sharp'"):
        sweep(bench.context, asked)


def test_a_strict_workspace_is_not_answered_by_a_run_that_read_the_clock(bench):
    bench.experiment("asks", "return {'n': 1 + 0 * int(time.time())}", head="import time")
    bench.run("asks")
    (bench.folder / "ros.toml").write_text("[run]\nstrict = true\n")

    assert bench.failure("asks").error["kind"] == "Refused"


def test_an_interrupted_commit_is_not_gone_on_with(bench, monkeypatch):
    bench.experiment("plain", "return {}", spec=NUMBERED)
    merge = type(bench.store).merge_packs
    calls = []

    def interrupted(self):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return merge(self)

    monkeypatch.setattr(type(bench.store), "merge_packs", interrupted)

    with pytest.raises(KeyboardInterrupt):
        swept(bench, "plain", 8)
    monkeypatch.undo()
    assert swept(bench, "plain", 8).failed == 0
    assert bench.store.check().ok
