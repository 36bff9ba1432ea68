"""The executor of other machines, on a real cluster of Ray's, made here."""

import contextlib
import os
import signal
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from research.context import packages_path
from research.errors import BadInput
from research.experiments import environment, parcel, ray_executor
from research.experiments.executors import Means
from research.experiments.sweep import SweepRequest, sweep
from research.experiments.sweep_points import Axis
from rosdb import errors

pytestmark = pytest.mark.skipif(
    find_spec("ray") is None, reason="Ray is not installed: it is an extra"
)

TABLED = """
bars = spec.bars()
time.sleep(spec.parameters["pause"])
if spec.parameters["n"] == spec.parameters["bad"]:
    raise ValueError("not this one")
save_table(output_dir, "t", {"a": bars["close"][: spec.parameters["n"]]})
(output_dir / "deep").mkdir()
(output_dir / "deep" / "note.txt").write_text(str(spec.parameters["n"]))
print("said by", spec.parameters["n"])
return {"n": spec.parameters["n"], "seed": spec.seed % 1000003}
"""
HEAD = "import time\nfrom research import save_table"
SPEC = "parameters={'n': 0, 'pause': 0.0, 'bad': 0}, input_dataset='sp500-daily'"


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """Have a cluster of two processors, for all tests of this file."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        "local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False
    )
    yield
    ray.shutdown()
    # It puts packages of its own on the path.
    sys.path[:] = [path for path in sys.path if "thirdparty_files" not in path]


def test_what_ray_puts_on_the_path_is_no_part_of_an_environment():
    assert any("thirdparty_files" in path for path in sys.path)
    assert not any("thirdparty_files" in path for path in packages_path())
    with pytest.raises(BadInput, match="no installed distribution"):
        environment.describe(["psutil"])


def at_work():
    """Return the processes of the actors that are doing runs: they say so in their titles."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().startswith(b"ray::Worker.run"):
                found.append(int(path.parent.name))
    return found


def swept(bench, executor, count, name="tabled", axis="n", jobs=2, **options):
    overrides = [(k, options.pop(k)) for k in ("pause", "bad") if k in options]
    asked = SweepRequest(
        request=bench.request(name, dict(overrides)),
        axes=[Axis(path=axis, values=tuple(range(1, count + 1)))],
        means=Means(executor=executor, jobs=jobs),
        **options,
    )
    return sweep(bench.context, asked)


def answers(found):
    return [(p.manifest.recipe_id, p.manifest.outcome_id, p.manifest.status) for p in found.points]


def test_a_sweep_gives_the_same_here_and_there(bench, new_bench):
    other = new_bench("other")
    for each in (bench, other):
        each.experiment("tabled", TABLED, head=HEAD, spec=SPEC)

    there = swept(bench, "ray", 12)
    here = swept(other, "local", 12)

    assert (there.executed, there.failed) == (12, 0)
    assert answers(there) == answers(here)
    for point in there.points:
        assert point.manifest.sandbox["level"] == here.points[0].manifest.sandbox["level"]
        n = point.overrides["n"]
        assert bench.store.get_blob(point.manifest.log) == b"said by %d\n" % n
        assert bench.statuses(point.manifest.run_id) == ["pending", "running", "completed"]
    assert bench.store.check().ok
    assert swept(bench, "local", 12).cached == 12


def test_a_built_in_experiment_too(bench, new_bench):
    there = swept(bench, "ray", 6, name="sma_crossover", axis="fast")

    assert answers(there) == answers(
        swept(new_bench("other"), "local", 6, name="sma_crossover", axis="fast")
    )
    assert there.failed == 0


def test_a_run_that_fails_is_a_failed_run(bench):
    bench.experiment("tabled", TABLED, head=HEAD, spec=SPEC)

    found = swept(bench, "ray", 5, bad=3)

    failed = found.points[2].manifest
    assert [p.manifest.status for p in found.points].count("completed") == 4
    assert (failed.error["kind"], failed.error["message"]) == ("ValueError", "not this one")
    assert failed.error["where"].startswith("tabled.py, line ")
    assert found.failed == 1


def test_what_a_worker_had_that_was_killed_is_done_by_another(bench):
    bench.experiment("tabled", TABLED, head=HEAD, spec=SPEC)
    killed = []

    def kill():
        while not killed:
            time.sleep(0.05)
            killed.extend(at_work()[:1])
        time.sleep(0.3)
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    found = swept(bench, "ray", 12, pause=0.4)
    thread.join()

    assert killed
    assert (found.executed, found.failed) == (12, 0)
    runs = [name for name, _ in bench.store.refs("runs/")]
    assert len(runs) == 12
    assert bench.store.check().ok


def test_fail_fast_hands_out_nothing_more(bench):
    bench.experiment("tabled", TABLED, head=HEAD, spec=SPEC)

    found = swept(bench, "ray", 60, bad=2, pause=0.2, is_fail_fast=True)

    begun = [p for p in found.points if p.manifest is not None]
    assert found.failed == 1
    assert 2 <= len(begun) < 60
    assert sum(1 for _ in bench.store.refs("runs/")) == len(begun)


def test_a_machine_that_differs_is_refused(bench, monkeypatch):
    bench.experiment("tabled", TABLED, head=HEAD, spec=SPEC)
    check = ray_executor.RayExecutor.check

    def other(self, recorded):
        check(self, {**recorded, "python": "3.11.0"})

    monkeypatch.setattr(ray_executor.RayExecutor, "check", other)

    with pytest.raises(BadInput, match=r"a machine differs: python: 3\.11\.0 then"):
        swept(bench, "ray", 4)
    assert not list(bench.store.refs("runs/"))


def packed(bench):
    bench.experiment("tabled", TABLED, head=HEAD, spec=SPEC)
    manifest = bench.run("tabled", parameters={"n": 3}).manifest
    root = manifest.outcome.links["artifacts"]
    return root, parcel.pack(bench.store, [root])


def test_a_parcel_brings_all_that_its_roots_lead_to(bench, new_bench):
    root, sent = packed(bench)
    other = new_bench("other").store

    with other.transaction() as tx:
        parcel.unpack(tx, sent)
        tx.move_ref("datasets/a/1", root, expected=None)

    assert other.get_tree(root) == bench.store.get_tree(root)
    assert other.check().ok
    assert sent == parcel.pack(other, [root])


@pytest.mark.parametrize("seed", range(8))
def test_a_parcel_that_was_changed_on_the_way_is_refused(bench, new_bench, seed):
    _, sent = packed(bench)
    place = (seed * 7919 + 13) % len(sent)
    changed = sent[:place] + bytes([sent[place] ^ 1]) + sent[place + 1 :]
    other = new_bench("other").store

    with (
        pytest.raises((errors.ObjectCorrupt, errors.ObjectMissing)),
        other.transaction() as tx,
    ):
        parcel.unpack(tx, changed)


def test_a_parcel_that_is_none_is_refused(bench):
    for wrong in (b"", b"\xc0", b"parcel", parcel.encode_value(["parcel/v0", []])):
        with pytest.raises(errors.ObjectCorrupt), bench.store.transaction() as tx:
            parcel.unpack(tx, wrong)
