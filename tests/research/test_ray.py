"""Runs on other machines: a real cluster of Ray's on this one, and parcels that travel.

What needs Ray is skipped where it is not installed; what is sent is tested everywhere.
"""

import contextlib
import dataclasses
import functools
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from research.context import create_experiment_context, packages_path
from research.errors import BadInput
from research.experiments import batch, environment, outpost, parcel, ray_executor, recipe
from research.experiments.answer import Answer
from research.experiments.conditions import conditions_of
from research.experiments.local import open_local
from research.experiments.ray_executor import RayExecutor, open_ray
from rosdb import RUNS, Kind, Link, Record, Store, errors

JOBS = 2
HEAD = "import signal, time\nfrom research import save_table"
SPEC = "parameters={'n': 0, 'pause': 0.0, 'bad': 0}, input_dataset='sp500-daily'"
BODY = """
bars, n = spec.bars(), spec.parameters["n"]
blocked = len(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
time.sleep(spec.parameters["pause"])
if n == spec.parameters["bad"]:
    raise ValueError(f"not {n}")
save_table(output_dir, "closes", {"close": bars["close"][: 300 * n], "n": [str(n)] * 300 * n})
(output_dir / "deep").mkdir()
(output_dir / "deep" / "note.txt").write_text(str(n))
(output_dir / "same.txt").write_text("the same of every run")
print("said by", n)
return {"n": n, "drawn": spec.seed % 1000003, "none": float("nan"), "blocked": blocked}
"""


@pytest.fixture(scope="module")
def cluster():
    """Make a cluster for the tests of this file, and leave no trace of it in this process."""
    before, path = dict(os.environ), list(sys.path)  # as they are before Ray is imported
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'research-os[ray]'")
    with ray_executor._cluster(JOBS, "local") as ray:
        yield ray
    sys.path[:] = path  # it puts packages of its own there
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def opened(monkeypatch):
    """Give the list of Ray's executors that are opened."""
    found = []
    enter = RayExecutor.__enter__

    def noted(self):
        found.append(self)
        return enter(self)

    monkeypatch.setattr(RayExecutor, "__enter__", noted)
    return found


@pytest.fixture
def closes(bench):
    bench.experiment("closes", BODY, head=HEAD, spec=SPEC)
    return bench


def performed(
    bench, opener, name="closes", ends_with=lambda answer: False, jobs=JOBS, is_exact=False, **axis
):
    """Do the runs of a sweep's points, as a sweep does; return them in the order of the points."""
    ((path, values),) = [(k, v) for k, v in axis.items() if isinstance(v, range)]
    fixed = [(k, v) for k, v in axis.items() if k != path]
    context, store = bench.context, bench.store
    found = {}
    with store.writing():
        with store.transaction("asked") as tx:
            base = recipe.build_base(context, tx, name, None)
            asked = [recipe.ask(tx, base, [*fixed, (path, v)], None).recipe for v in values]
        one = store.get_record(asked[0])
        conditions = conditions_of(context)
        with opener(
            context,
            one,
            conditions,
            is_pure=base.is_pure,
            count=len(asked),
            jobs=jobs,
            is_exact=is_exact,
        ) as executor:
            for made in batch.perform(context, base, asked, executor, ends_with):
                for each in made:
                    assert each.recipe_id not in found, "a run is recorded twice"
                    found[each.recipe_id] = each
    return [found.get(each) for each in asked]


def answers(runs):
    return [(each.recipe_id, each.outcome_id, each.status) for each in runs]


def run_refs(store):
    return [name for name, _ in store.refs(RUNS)]


def left_behind():
    """Return the folders of outposts that are still there."""
    return {path.name for path in Path(tempfile.gettempdir()).glob("*ros-outpost-*")}


# --- The same, wherever it is done --------------------------------------------------------------


def test_a_sweep_has_the_same_fingerprints_and_outcomes_as_here(cluster, closes, new_bench):
    here = new_bench("here")
    here.experiment("closes", BODY, head=HEAD, spec=SPEC)
    before = left_behind()

    there = performed(closes, open_ray, n=range(1, 13))

    local = performed(here, open_local, n=range(1, 13))
    assert answers(there) == answers(local)
    assert len({each.outcome_id for each in there}) == 12
    for n, (each, other) in enumerate(zip(there, local, strict=True), start=1):
        assert closes.store.get_blob(each.log) == b"said by %d\n" % n
        assert closes.statuses(each.run_id) == ["pending", "running", "completed"]
        assert each.sandbox == other.sandbox
        assert each.seconds > 0
        tree = closes.store.get_tree(each.outcome.links["artifacts"])
        table = closes.store.get_table(tree["closes"].link)
        assert table.rows == 300 * n
        assert (
            table["close"].tobytes() == here.store.get_table(tree["closes"].link)["close"].tobytes()
        )
    assert len(run_refs(closes.store)) == 12
    assert closes.store.check().ok
    assert left_behind() <= before


def test_a_built_in_experiment_has_them_too(cluster, bench, new_bench):
    there = performed(bench, open_ray, "sma_crossover", fast=range(2, 40))

    local = performed(new_bench("here"), open_local, "sma_crossover", fast=range(2, 40))
    assert answers(there) == answers(local)
    assert {each.status for each in there} == {"completed"}
    assert bench.store.check().ok


def test_a_run_that_fails_is_a_failed_run_with_its_error(cluster, closes, new_bench):
    here = new_bench("here")
    here.experiment("closes", BODY, head=HEAD, spec=SPEC)

    there = performed(closes, open_ray, n=range(1, 6), bad=3)

    failed = there[2]
    assert [each.status == "failed" for each in there] == [False, False, True, False, False]
    assert failed.error["kind"] == "ValueError"
    assert failed.error["message"] == "not 3"
    assert failed.error == performed(here, open_local, n=range(1, 6), bad=3)[2].error
    assert failed.outcome_id is None


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("os.symlink('a', output_dir / 'b')\nreturn {}", "BadName"),
        (
            "(output_dir / 'a.table').mkdir()\n(output_dir / 'a.table' / 'table.json').write_text('{}')\nreturn {}",
            "BadTable",
        ),
        ("os.abort()", "Killed"),
    ],
)
def test_what_makes_a_run_fail_here_does_so_there(cluster, bench, body, kind):
    bench.experiment("odd", body, head="import os", spec="parameters={'n': 0}")

    for each in performed(bench, open_ray, "odd", n=range(1, 4)):
        assert (each.status, each.error["kind"]) == ("failed", kind)
    assert bench.store.check().ok


def test_what_ray_puts_on_the_path_is_no_part_of_an_environment(cluster):
    assert any("thirdparty_files" in path for path in sys.path)
    assert not any("thirdparty_files" in path for path in packages_path())
    with pytest.raises(BadInput, match="no installed distribution"):
        environment.describe(["psutil"])


# --- Outposts that are lost ---------------------------------------------------------------------


def until(found, seconds=30.0):
    """Wait for something to be true, and return it."""
    ends = time.monotonic() + seconds
    while not (seen := found()):
        assert time.monotonic() < ends, "it has not happened"
        time.sleep(0.01)
    return seen


@contextlib.contextmanager
def meanwhile(does):
    """Do something in another thread, and have its failure here."""
    faults = []

    def caught():
        try:
            does()
        except BaseException as fault:
            faults.append(fault)

    thread = threading.Thread(target=caught)
    thread.start()
    yield
    thread.join()
    assert faults == []


def test_what_a_killed_outpost_had_is_done_by_another(cluster, closes, new_bench, opened):
    here = new_bench("here")
    here.experiment("closes", BODY, head=HEAD, spec=SPEC)
    killed = []

    def kill():
        executor = until(lambda: opened and opened[0])
        hand = until(lambda: next((h for h in executor.hands if h.batch and h.process_id), None))
        time.sleep(0.1)
        killed.append(hand.process_id)
        os.kill(hand.process_id, signal.SIGKILL)
        until(lambda: hand not in executor.hands and len(executor.hands) == JOBS)

    with meanwhile(kill):
        there = performed(closes, open_ray, n=range(1, 11), pause=0.3)

    assert killed
    assert {each.status for each in there} == {"completed"}
    assert len(run_refs(closes.store)) == 10
    for each in there:
        assert closes.statuses(each.run_id) == ["pending", "running", "completed"]
    assert closes.store.check().ok
    assert answers(there) == answers(performed(here, open_local, n=range(1, 11), pause=0.3))


def test_a_run_that_loses_every_outpost_fails_alone(cluster, bench, opened):
    # Quick runs, so that it is lost with others of its batch; but it takes long enough to be hit.
    body = "n = spec.parameters['n']\ntime.sleep(1.5 if n == 150 else 0)\nreturn {'n': n}"
    bench.experiment("quick", body, head="import time", spec="parameters={'n': 0}")
    sizes = []

    def has_it(hand):
        return any(job.recipe.fields["parameters"]["n"] == 150 for job in hand.batch)

    def kill():
        executor = until(lambda: opened and opened[0])
        for _ in range(1 + ray_executor.ANEW_MAX):
            hand = until(lambda: next(filter(has_it, executor.hands), None))
            sizes.append(len(hand.batch))
            os.kill(hand.process_id, signal.SIGKILL)
            until(functools.partial(is_lost, executor, hand))

    def is_lost(executor, hand):
        return hand not in executor.hands

    with meanwhile(kill):
        there = performed(bench, open_ray, "quick", n=range(1, 171))

    assert sizes[0] > 1
    assert sizes[1:] == [1] * ray_executor.ANEW_MAX
    assert [n for n, each in enumerate(there, start=1) if each.status == "failed"] == [150]
    assert there[149].error["kind"] == "Died"
    assert "4 workers" in there[149].error["message"]
    assert bench.store.check().ok


class Stillborn:
    """An outpost that dies before it is ready."""

    def prepare(self):
        os._exit(1)


def test_where_no_outpost_starts_it_is_not_tried_for_ever(cluster):
    make = cluster.remote(num_cpus=0, max_restarts=0)(Stillborn).remote

    with pytest.raises(BadInput, match="--executor ray: no worker starts: The actor died"):
        RayExecutor(make, 1, time.monotonic, lambda text: None).__enter__()


def test_an_answer_that_comes_twice_is_heard_once():
    executor = RayExecutor(lambda: None, 1, time.monotonic, lambda text: None)
    job = batch.Job(number=7, recipe=Record("recipe/v1", {}))
    hand = ray_executor.Hand(actor=None, process_id=1, batch=[job])
    answer = Answer(
        collect=outpost.collect_nothing, metrics={}, error=None, log=b"", log_bytes_cut=0
    )
    came = outpost.Came(number=7, answer=answer, seconds=1.0, artifacts=None, fault=None)
    executor._left[7] = 3

    assert [each.number for each in executor._hear(hand, ([came], []))] == [7]
    assert executor._hear(hand, ([came], [])) == []


def test_no_more_outposts_are_started_than_there_are_processors(cluster, closes, opened):
    assert len(performed(closes, open_ray, n=range(1, 7), jobs=5)) == 6

    assert opened[0]._jobs == JOBS


FAILS = """
time.sleep(0.01)
assert spec.parameters['n'] != 60
return {}
"""


@pytest.mark.parametrize("is_exact", [False, True])
def test_fail_fast_hands_out_nothing_more(cluster, bench, monkeypatch, is_exact):
    handed_out = set()
    hand_out = RayExecutor._hand_out

    def noted(self):
        hand_out(self)
        handed_out.update(job.number for hand in self.hands for job in hand.batch)

    monkeypatch.setattr(RayExecutor, "_hand_out", noted)
    bench.experiment("fails", FAILS, head="import time", spec="parameters={'n': 0}")

    there = performed(
        bench,
        open_ray,
        "fails",
        lambda answer: answer.error is not None,
        is_exact=is_exact,
        n=range(1, 301),
    )

    begun = [each for each in there if each is not None]
    assert [each.status for each in begun].count("failed") == 1
    assert 60 <= len(begun) < (60 + JOBS if is_exact else 300)
    assert len(handed_out) == len(begun)
    # Of those that were recorded and did not begin nothing is left.
    assert len(run_refs(bench.store)) == len(begun)
    assert bench.store.check().ok


# --- What is refused ----------------------------------------------------------------------------


def test_a_machine_whose_environment_differs_is_refused(cluster, closes):
    def other(context, recipe, conditions, **options):
        described = {**recipe.fields["environment"], "python": "3.11.0"}
        asked = dataclasses.replace(recipe, fields={**recipe.fields, "environment": described})
        return open_ray(context, asked, conditions, **options)

    with pytest.raises(BadInput, match=r"--executor ray: the environment .*python: 3\.11\.0 then"):
        performed(closes, other, n=range(1, 4))

    assert run_refs(closes.store) == []


def test_a_machine_with_another_version_of_ours_is_refused(cluster, closes, monkeypatch):
    monkeypatch.setattr("research.context.software_version", lambda: "0.0.1")

    with pytest.raises(BadInput, match=r"research-os: 0\.0\.1 then"):
        performed(closes, open_ray, n=range(1, 4))


def test_without_ray_it_is_said_how_to_get_it(closes, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)

    with pytest.raises(BadInput, match=re.escape("pip install 'research-os[ray]'")):
        performed(closes, open_ray, n=range(1, 4))


def test_an_answer_that_was_changed_on_the_way_is_refused(cluster, closes, monkeypatch):
    read = parcel.Parcel.__init__

    def changed(self, parts):
        flipped = bytearray(parts[-1])
        flipped[-1] ^= 1
        read(self, [*parts[:-1], bytes(flipped)])

    monkeypatch.setattr(parcel.Parcel, "__init__", changed)

    with pytest.raises(errors.ObjectCorrupt):
        performed(closes, open_ray, n=range(1, 4))

    assert closes.store.check().ok
    assert "completed" not in [row.status for row in closes.store.runs()]


def test_an_address_that_is_none_is_refused(cluster):
    before = signal.getsignal(signal.SIGTERM)

    with pytest.raises(BadInput, match="--executor ray: no cluster can be reached"):
        ray_executor._connect(cluster, 1, "nonsense")

    signal.signal(signal.SIGTERM, before)


# --- The machine of an outpost ------------------------------------------------------------------


def test_an_outpost_searches_for_modules_where_a_child_does(monkeypatch):
    rays = "/somewhere/ray/thirdparty_files"
    monkeypatch.setattr(sys, "path", ["", "/workspace", rays, *sys.path])

    outpost._search_as_a_child()

    assert "/workspace" not in sys.path
    assert "" not in sys.path
    assert rays in sys.path[-2:]
    assert str(Path(pytest.__file__).parents[1]) in sys.path


def test_what_dead_outposts_have_left_is_swept(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / "ros-outpost-left"
    left.mkdir()
    (left / "a").write_text("a")

    with outpost._private_folder() as one:
        assert not left.exists()
        with outpost._private_folder() as other:
            assert one.exists()
            assert one != other
    assert list(tmp_path.iterdir()) == []


# --- Parcels ------------------------------------------------------------------------------------


@pytest.fixture
def stores(tmp_path):
    """Give a store with something in it, the root of that, and an empty store."""
    full, empty = Store.init(tmp_path / "full"), Store.init(tmp_path / "empty")
    with full.transaction() as tx:
        shared = tx.put_blob(b"shared")
        leaf = tx.put_record("leaf/v1", {"bytes": b"\x00\xff", "nan": float("nan")}, {"a": shared})
        table = tx.put_table({"x": list(range(1000))} and {"x": _column(1000)})
        root = tx.put_record("root/v1", {"n": 1}, {"leaf": leaf, "same": shared, "t": table})
    yield full, root, empty
    full.close()
    empty.close()


def _column(rows):
    import numpy as np

    return np.arange(rows, dtype="float64")


def put(empty, root, folder, parts):
    """Put what a root leads to, of a parcel that has come whole."""
    with empty.transaction() as tx:
        parcel.Parcel(parts).put(tx, root)


def unpack(empty, root, folder, parts):
    """Put all of a parcel, part by part."""
    with empty.transaction() as tx:
        parcel.unpack(tx, parts, folder)


def is_refused(empty, root, folder, parts):
    """Tell whether a parcel is refused, however it is put."""
    for way in (put, unpack):
        with pytest.raises(errors.ObjectCorrupt):
            way(empty, root, folder, parts)
    return True


@pytest.mark.parametrize("way", [put, unpack])
@pytest.mark.parametrize("part_bytes", [1, 100, 1 << 20])
def test_a_parcel_brings_what_its_roots_lead_to(stores, tmp_path, monkeypatch, part_bytes, way):
    full, root, empty = stores
    monkeypatch.setattr(parcel, "PART_BYTES", part_bytes)
    parts = list(parcel.pack(full, [root]))

    way(empty, root, tmp_path, parts)

    assert (len(parts) == 1) == (part_bytes > 100)
    assert empty.verify_closure([root]) == full.verify_closure([root])
    assert empty.get_record(root) == full.get_record(root)
    assert list(parcel.pack(empty, [root])) == parts


def test_what_the_receiver_has_is_left_out_with_all_below(stores, tmp_path):
    full, root, empty = stores
    leaf = full.get_record(root).links["leaf"]
    with empty.transaction() as tx:
        parcel.unpack(tx, list(parcel.pack(full, [leaf])), tmp_path)

    parts = list(parcel.pack(full, [root], lambda link: link == leaf))

    with empty.transaction() as tx:
        assert parcel.Parcel(parts).put(tx, root) == root
    assert empty.verify_closure([root])[1] == {}
    assert list(parcel.pack(full, [root], lambda link: True)) == []


def test_a_parcel_with_any_bit_flipped_is_refused(stores, tmp_path):
    full, root, empty = stores
    (part,) = parcel.pack(full, [root])
    small = range(len(part))

    for place in [*small[:400], *small[400::97], *small[-400:]]:
        for bit in (1, 2, 128):
            changed = bytearray(part)
            changed[place] ^= bit
            assert is_refused(empty, root, tmp_path, [bytes(changed)])


def test_a_parcel_that_is_cut_short_is_refused(stores, tmp_path, monkeypatch):
    full, root, empty = stores
    (part,) = parcel.pack(full, [root])
    for size in [*range(1, 200), len(part) - 1]:
        assert is_refused(empty, root, tmp_path, [part[:size]])

    monkeypatch.setattr(parcel, "PART_BYTES", 1000)
    parts = list(parcel.pack(full, [root]))
    assert len(parts) > 8
    for number in range(len(parts)):
        if number < len(parts) - 1:
            assert is_refused(empty, root, tmp_path, parts[:number] + parts[number + 1 :])


def test_a_record_of_a_parcel_that_leads_to_itself_is_refused(stores):
    full, root, empty = stores
    false = Link(b"\x07" * 32, Kind.RECORD)
    frame = parcel._record_frame(false, Record("loop/v1", {}, {"self": false}))

    with pytest.raises(errors.ObjectCorrupt), empty.transaction() as tx:
        parcel.Parcel([frame]).put(tx, false)


# --- A process of its own -----------------------------------------------------------------------

OWN = """
import signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_ray import here, opener_at, performed, two_machines

def main():
    bench = here()
    handlers = signal.SIGTERM, signal.SIGINT
    before = [signal.getsignal(each) for each in handlers]
    print("begun", flush=True)
    made = performed(bench, opener_at("local"), n=range(1, {count} + 1), pause={pause})
    assert before == [signal.getsignal(each) for each in handlers]
    import ray
    assert not ray.is_initialized()
    print(*(each.status for each in made))

if __name__ == "__main__":
    {main}()
"""


def here():
    """Give the workspace of this process, as far as a sweep needs it."""
    context = create_experiment_context()
    return SimpleNamespace(context=context, store=context.store)


def opener_at(address):
    return functools.partial(open_ray, address=address)


def own_process(bench, count=0, pause=0.0, main="main"):
    """Start a process that sweeps by a cluster of its own, in the workspace."""
    script = bench.folder / "own.py"
    tests = str(Path(__file__).parent)
    script.write_text(OWN.format(tests=tests, count=count, pause=pause, main=main))
    # As an editor asks for it: and no worker of Ray's may take it for our own package.
    (bench.folder / "research" / "__init__.py").write_text("raise ImportError('not this one')")
    return subprocess.Popen(
        [sys.executable, "-P", str(script)],
        cwd=bench.folder,
        env={name: each for name, each in os.environ.items() if not name.startswith("RAY_")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_cluster_of_its_own_is_made_and_ended(cluster, closes):
    process = own_process(closes, 3)

    said, complaints = process.communicate(timeout=60)

    assert (said.split(), complaints) == (["begun", *["completed"] * 3], "")
    assert closes.store.check().ok


def test_ctrl_c_ends_it_and_records_what_was_under_way(cluster, closes):
    process = own_process(closes, 6, 30.0)
    until(lambda: [row.status for row in closes.store.runs()].count("running") >= 2)
    began = time.monotonic()

    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=60)

    assert time.monotonic() - began < 20
    assert complaints.rstrip().endswith("KeyboardInterrupt")
    assert {row.status for row in closes.store.runs()} == {"failed"}
    assert closes.store.check().ok


def two_machines():
    """Sweep over two machines, of which one is lost: raylets of their own, on this one."""
    import ray
    from ray.cluster_utils import Cluster

    # It would tell everybody on this machine to take this cluster for theirs.
    ray._private.utils.write_ray_address = lambda address, folder=None: None
    bench = here()
    executors = []
    enter = RayExecutor.__enter__
    RayExecutor.__enter__ = lambda self: executors.append(self) or enter(self)
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        head = {"num_cpus": 1, "include_dashboard": False, "temp_dir": folder}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        other = cluster.add_node(num_cpus=1)

        def lose():
            until(lambda: executors and len([h for h in executors[0].hands if h.batch]) == JOBS)
            cluster.remove_node(other, allow_graceful=False)
            until(lambda: any(hand.process_id is None for hand in executors[0].hands))

        with meanwhile(lose):
            made = performed(bench, opener_at(cluster.address), n=range(1, 7), pause=0.4)
        cluster.shutdown()
    print("made", *(each.status for each in made))


def test_a_machine_that_is_lost_loses_no_run(cluster, closes):
    process = own_process(closes, main="two_machines")

    said, complaints = process.communicate(timeout=90)

    assert (process.returncode, complaints) == (0, "")
    assert said.split() == ["made", *["completed"] * 6]
    assert len(run_refs(closes.store)) == 6
    assert closes.store.check().ok
