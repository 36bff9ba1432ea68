"""Processes killed at random moments, one after the other in the same store: nothing is lost.

A child lands runs, batches and files, moves refs to and fro and collects without grace. It says
aloud what has landed, each time a commit has returned. Then it is killed, the store is checked, and
the next one goes on with whatever was left. ``ROS_KILLS=300`` kills as often.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from rosdb import ObjectId, Store

# conftest takes all of ROS_ away from the tests, so this is read as the file is.
KILLS = int(os.environ.get("ROS_KILLS", "27"))
START_SECONDS = 60
ALIVE_SECONDS = (0.0, 0.3)

CHILD = """
import itertools
import json
import os
import random
import sys

import numpy as np

from rosdb import Store, disk, errors

path, name, seed = sys.argv[1:]
chance = random.Random(int(seed))
# A process that dies loses nothing that the system has: nobody waits for the disk here.
disk.sync = disk.sync_folder = lambda handle: None


def say(**said):
    os.write(1, json.dumps(said).encode() + b"\\n")


def content(size):
    # Of few beginnings and ends, so that much of it is stored already.
    begin, end = (random.Random(chance.randrange(4)).randbytes(size // 2) for _ in range(2))
    return begin + chance.randbytes(8) * (size % 3) + end


def run(store, number):
    with store.transaction("run") as tx:
        table = tx.put_table({"t": np.arange(600), "x": np.arange(600) * chance.random()})
        fields = {"experiment": name, "parameters": {"n": number}, "seed": 1}
        recipe = tx.put_record("recipe/v1", fields, {"data": table})
        times = {"created_at_ns": number, "process": 1, "kind": "run", "dataset": None}
        run = tx.put_record("run/v1", times, {"recipe": recipe})
        tx.move_ref(f"runs/{run}", run, expected=None)
    say(moves={f"runs/{run}": str(run)})
    with store.transaction("completed") as tx:
        outcome = tx.put_record("outcome/v1", {"metrics": {"sharpe": chance.random()}})
        state = tx.put_record(
            "status/v1", {"status": "completed", "seconds": 0.5}, {"run": run, "outcome": outcome}
        )
        tx.move_ref(f"runs/{run}", state, expected=run)
    say(moves={f"runs/{run}": str(state)})


def sweep(store, number):
    moves = {}
    with store.transaction("sweep") as tx:
        shared = tx.put_blob(content(chance.choice((100, 5_000, 300_000))))
        for point in range(chance.randrange(2, 12)):
            recipe = tx.put_record("point/v1", {"n": number, "point": point}, {"data": shared})
            moves[f"sweeps/{name}/{number}/{point}"] = recipe
            tx.move_ref(f"sweeps/{name}/{number}/{point}", recipe, expected=None)
    say(moves={ref: str(link) for ref, link in moves.items()})


def move(store, number):
    ref = f"names/{name}-{chance.randrange(3)}"
    old = store.ref(ref)
    new = None
    with store.transaction("move") as tx:
        if old is None or chance.random() < 0.7:
            links = {"blob": tx.put_blob(content(chance.choice((20, 2_000, 400_000))))}
            new = tx.put_record("note/v1", {"n": number}, links)
        tx.move_ref(ref, new, expected=old)
    say(moves={ref: None if new is None else str(new)})


def put(store, number):
    store.put_blob(content(chance.choice((10, 1_000, 270_000))))


def collect(store, number):
    if hasattr(store, "plan_collection"):
        try:
            store.plan_collection(grace_seconds=chance.choice((0, 0, 3600))).execute()
        except (errors.StoreLocked, errors.CollectionRefused):
            pass  # another one writes for long, or collects just now


def fresh(store, number):
    store.close()


store = Store.open(path, who=name)
say(ready=True)
works = (run, run, sweep, move, move, put, collect, fresh)
for number in itertools.count(1000 * int(seed)):
    chance.choice(works)(store, number)
"""


class Child:
    """A process that works until it is killed, and what it has said meanwhile."""

    def __init__(self, script: Path, store: Path, name: str, seed: int) -> None:
        self.name = name
        self.moves: dict[str, str | None] = {}
        self.errors = script.with_name(f"{name}-{seed}.txt")
        with self.errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, str(script), str(store), name, str(seed)],
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=Path(__file__).parents[2],
            )
        self.commits = 0
        self._is_ready = threading.Event()
        self._reader = threading.Thread(target=self._listen)
        self._reader.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                # The last line may be cut off: then nobody was told of that commit.
                if line.endswith(b"\n"):
                    self._hear(json.loads(line))
        self._is_ready.set()

    def _hear(self, said: dict[str, Any]) -> None:
        self.commits += "moves" in said
        self.moves |= said.get("moves", {})
        self._is_ready.set()

    def wait(self) -> None:
        """Wait until it has opened the store."""
        assert self._is_ready.wait(START_SECONDS)

    def kill(self) -> None:
        """End it without a word; what it has said until then is heard."""
        self._process.send_signal(signal.SIGKILL)
        code = self._process.wait()
        self._reader.join()
        assert code == -signal.SIGKILL, f"it ended by itself: {self.errors.read_text()}"


def look(path: Path, promised: dict[str, str | None], seed: int) -> None:
    """Open the store and check it; every move that was told of is there, or the one behind it."""
    with contextlib.closing(Store.open(path)) as store:
        refs = {name: str(link) for name, link in store.refs()}
        last: dict[str, str | None] = {}
        passed: dict[str, list[str | None]] = {}
        for move in store.journal():
            last[move.ref] = None if move.new is None else str(move.new)
            passed.setdefault(move.ref, []).append(last[move.ref])

        assert refs == {name: new for name, new in last.items() if new is not None}
        for name, new in promised.items():
            # Of a commit that was killed before it could tell, the last move may be one further.
            assert new in passed.get(name, [])[-2:], f"{name}, seed {seed}"
        report = store.check()
        assert report.ok, f"{report}, seed {seed}"
        assert not report.index_differs, f"seed {seed}"
        starts = [ObjectId.from_hex(new) for new in refs.values()]
        _, damaged = store.verify_closure(starts)
        assert not damaged, f"{damaged}, seed {seed}"
    promised |= last


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "child.py"
    path.write_text(CHILD)
    return path


@pytest.mark.parametrize(("durability", "count"), [("full", 1), ("full", 2), ("batch", 2)])
def test_whatever_is_killed_nothing_that_was_told_of_is_lost(durability, count, path, script, seed):
    (path / "config.toml").write_text(f'durability = "{durability}"\n')
    chance = random.Random(f"{seed} {durability} {count}")
    promised: dict[str, str | None] = {}
    commits = 0
    print(f"seed {seed}")
    for number in range(max(1, round(KILLS / 3 / count))):
        seeds = [count * number + i + 1 for i in range(count)]
        children = [Child(script, path, f"child{i}", s) for i, s in enumerate(seeds)]
        for child in children:
            child.wait()
        for child in chance.sample(children, count):
            time.sleep(chance.uniform(*ALIVE_SECONDS))
            child.kill()
        for child in children:
            promised |= child.moves
            commits += child.commits
        look(path, promised, seed)
    print(f"{commits} commits were told of")

    assert commits > 0
