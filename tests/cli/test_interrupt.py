"""Interrupts: the run is recorded as what it is, no child is left, and it can be asked again."""

import os
import signal
import time

import pytest

from research.experiments import limits

PATIENCE_SECONDS = 60
SLOW = """\
import os
from research import ExperimentSpec

DEFAULT_SPEC = ExperimentSpec(experiment_id="slow")


def run(spec, output_dir):
    print(f"child {os.getpid()}", flush=True)
    while True:
        pass
"""


def until(condition, what):
    """Wait for a condition; polled, for nobody can tell us."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {PATIENCE_SECONDS} s for {what}")


def child_of(process):
    """Return the number of the child, once it has said its first words."""
    path = f"/proc/{process.pid}/task/{process.pid}/children"

    def look():
        try:
            with open(path) as handle:
                child = int(handle.read().split()[0])
            return child if os.path.getsize(f"/proc/{child}/cwd/log") else None
        except (IndexError, OSError):
            return None

    return until(look, "a child")


def lives(pid):
    try:
        with open(f"/proc/{pid}/stat") as handle:
            return handle.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def statuses(ros):
    return [entry["status"] for entry in ros.json("log")]


@pytest.fixture
def running(ros):
    """Give a run that is under way, and its child."""
    ros.write("slow.py", SLOW)
    process = ros.start("run", "slow")
    until(lambda: statuses(ros) == ["running"], "the run")
    child = child_of(process)
    assert lives(child)
    yield process, child
    for pid in (process.pid, child):
        if lives(pid):
            os.kill(pid, signal.SIGKILL)
    process.communicate()


pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="asks /proc")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_is_failed_and_leaves_no_child(ros, running, number):
    process, child = running

    process.send_signal(number)
    _, error = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 130
    assert error == "error: interrupted\n"
    assert not lives(child)
    (entry,) = ros.json("log")
    assert (entry["status"], entry["error"]["kind"]) == ("failed", "interrupted")
    assert "failed (interrupted)" in ros.ok("log").text
    moves = [move["why"] for move in ros.json("journal") if move["ref"].startswith("runs/")]
    assert moves == ["run pending", "run running", "run failed"]
    assert ros.ok("fsck").status == 0


def test_a_killed_run_is_never_running_for_ever(ros, running):
    process, child = running

    process.kill()
    process.communicate(timeout=PATIENCE_SECONDS)

    (entry,) = ros.json("log")
    assert (entry["status"], entry["error"]["kind"]) == ("failed", "interrupted")
    assert [e["run"] for e in ros.json("log", "--where", "status = failed")] == [entry["run"]]
    assert ros.json("log", "--where", "status = running") == []
    until(lambda: not lives(child), "the end of the child that lost its parent")
    assert ros.ok("fsck").status == 0

    again = ros.start("run", "slow")
    until(lambda: statuses(ros) == ["running", "failed"], "the same question, asked again")
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=PATIENCE_SECONDS)
    assert len({entry["fingerprint"] for entry in ros.json("log")}) == 1
    assert statuses(ros) == ["failed", "failed"]


def test_a_killed_child_is_a_failed_run(ros, running):
    process, child = running

    os.kill(child, signal.SIGKILL)
    _, error = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 4
    assert "Killed: the child was ended by SIGKILL" in error
    (entry,) = ros.json("log")
    assert entry["status"] == "failed"
    # What it had said by then is kept.
    assert ros.json("show", "@")["log"] == f"child {child}\n"


def test_a_run_under_nohup_goes_on(ros):
    ros.write("slow.py", SLOW)
    process = ros.start(
        "run", "slow", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    )
    until(lambda: statuses(ros) == ["running"], "the run")
    with open(f"/proc/{process.pid}/status") as handle:
        masks = dict(line.split(":\t") for line in handle.read().splitlines() if "Sig" in line)

    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE_SECONDS)

    assert int(masks["SigIgn"], 16) & 1 << signal.SIGHUP - 1
    assert not int(masks["SigCgt"], 16) & 1 << signal.SIGHUP - 1
    assert process.returncode == 130


SLOW_AFTER_ONE = SLOW.replace('id="slow"', 'id="slow", parameters={"n": 0}').replace(
    "    print", "    if spec.parameters['n'] == 1:\n        return {}\n    print"
)


@pytest.fixture
def sweeping(ros):
    """Give a sweep whose first point is recorded, and the processes of those under way."""
    ros.write("slow.py", SLOW_AFTER_ONE)
    process = ros.start("sweep", "slow", "--grid", "n=1,2,3,4", "--jobs", "2")
    until(lambda: "completed" in statuses(ros), "the first run")
    # Two workers, and a copy of each.
    family = until(
        lambda: found if len(found := [*limits.family(process.pid)]) == 5 else None, "all"
    )
    yield process, family
    for pid in family:
        if lives(pid):
            os.kill(pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_sweep_leaves_no_process(ros, sweeping, number):
    process, family = sweeping

    process.send_signal(number)
    _, error = process.communicate(timeout=PATIENCE_SECONDS)

    until(lambda: not any(map(lives, family)), "the end of workers and copies")
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert error.splitlines() == [
            "note: 1 of 4 runs are recorded; the same command runs the others",
            "error: interrupted",
        ]
    found = ros.json("log")
    assert [each["status"] for each in found].count("completed") == 1
    assert {each["error"]["kind"] for each in found if each["error"]} == {"interrupted"}
    assert ros.ok("fsck").status == 0
