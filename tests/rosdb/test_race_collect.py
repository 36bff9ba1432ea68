"""Eight processes on one store, one of which removes garbage all the time: nothing is lost.

``ROS_RACE_SECONDS`` says for how long (a few seconds where it is not set), and ``ROS_RACE_SEED``
with which chance. What the processes do hangs on the machine's scheduler too, so a seed repeats a
race only roughly.
"""

import collections
import contextlib
import json
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rosdb import Link, ObjectId, Store, errors
from rosdb.objects import Kind

FORK = multiprocessing.get_context("fork")

# conftest takes all of ROS_ away from the tests, so this is read as the file is.
SECONDS = float(os.environ.get("ROS_RACE_SECONDS", "6"))
RACE_SEED = os.environ.get("ROS_RACE_SEED")

SHARED = [b"shared %d " % number * 40 for number in range(12)]
LONG = random.Random(1).randbytes(400_000)
NAMES_EACH = 6
COUNTER = "names/counter"

# Newer Pythons warn of a fork where numpy has threads; these children use none of them.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")

Work = Callable[[Path, int, random.Random, float], dict[str, Any]]
"""What a process does until an instant; it returns what it has seen to it."""


def long_content(number: int) -> bytes:
    """Return one of a few long blobs that have most of their chunks in common."""
    return LONG[: 300_000 + 10_000 * number] + b"end %d" % number


def write(path: Path, number: int, chance: random.Random, until: float) -> dict[str, Any]:
    """Put what others put too, under refs of its own; take refs away, break off, come back."""
    store = Store.open(path, who=f"writer-{number}")
    refs: dict[str, list[Any]] = {}
    landed = 0
    given_up: list[Link] = []
    while time.monotonic() < until:
        name = f"names/w{number}-{chance.randrange(NAMES_EACH)}"
        old = store.ref(name)
        kind = chance.random()
        if kind < 0.15 and old is not None:
            with store.transaction() as tx:
                tx.move_ref(name, None, expected=old)
            given_up.append(Link(old.digest, Kind.RECORD))
            refs.pop(name)
        elif kind < 0.25 and given_up:
            # By its id alone: it is there, with all that it leads to, or it is missing.
            with contextlib.suppress(errors.ObjectMissing):
                revived = chance.choice(given_up)
                with store.transaction() as tx:
                    tx.move_ref(name, revived, expected=old)
                refs[name] = [str(revived), None, None]
                landed += 1
            continue
        elif kind < 0.3:
            with contextlib.suppress(ZeroDivisionError), store.transaction() as tx:
                tx.put_blob(chance.choice(SHARED))
                raise ZeroDivisionError
            continue
        elif kind < 0.35:
            store.put_blob(chance.choice(SHARED))  # without a ref: it may go at once
            continue
        elif kind < 0.4:
            store.close()
            store = Store.open(path, who=f"writer-{number}")
            continue
        else:
            shared, long = chance.randrange(len(SHARED)), chance.randrange(4)
            with store.transaction() as tx:
                links = {"shared": tx.put_blob(SHARED[shared])}
                if kind > 0.8:
                    links["long"] = tx.put_blob(long_content(long))
                else:
                    long = -1
                inner = tx.put_record("inner/v1", {"shared": shared}, links)
                fields = {"by": number, "landed": landed}
                link = tx.put_record("outer/v1", fields, {"inner": inner})
                tx.move_ref(name, link, expected=old)
            refs[name] = [str(link), shared, long]
        landed += 1
        if landed % 5 == 0:
            assert_content(store, name, refs.get(name))
    return {"landed": landed, "refs": refs}


def assert_content(store: Store, name: str, expected: list[Any] | None) -> None:
    """Hold what a ref leads to against what its only writer has put there."""
    found = store.ref(name)
    if expected is None:
        assert found is None, name
        return
    link, shared, long = expected
    assert str(found) == link, name
    inner = store.get_record(store.get_record(ObjectId.from_hex(link)).links["inner"])
    assert store.get_blob(inner.links["shared"]) == SHARED[inner.fields["shared"]]
    if "long" in inner.links:
        assert store.get_blob(inner.links["long"]).startswith(LONG[:300_000])
    if shared is not None:
        assert inner.fields["shared"] == shared
        assert ("long" in inner.links) == (long >= 0)
        if long >= 0:
            assert store.get_blob(inner.links["long"]) == long_content(long)


def count_up(path: Path, number: int, chance: random.Random, until: float) -> dict[str, Any]:
    """Move one ref on by one, again and again, whoever moved it meanwhile."""
    store = Store.open(path, who=f"counter-{number}")
    landed = 0
    while time.monotonic() < until:
        old = store.ref(COUNTER)
        try:
            value = 1 if old is None else store.get_record(old).fields["value"] + 1
        except errors.ObjectMissing:
            assert store.ref(COUNTER) != old  # it has moved on, and what it was is gone
            continue
        with contextlib.suppress(errors.RefMoved):
            with store.transaction(f"{value}") as tx:
                blob = tx.put_blob(SHARED[value % len(SHARED)])
                link = tx.put_record("counter/v1", {"value": value}, {"shared": blob})
                tx.move_ref(COUNTER, link, expected=old)
            landed += 1
    return {"landed": landed}


def collect(path: Path, number: int, chance: random.Random, until: float) -> dict[str, Any]:
    """Remove all that no ref reaches, again and again."""
    store = Store.open(path)
    rounds = removed = 0
    while time.monotonic() < until:
        removed += store.plan_collection(grace_seconds=0).execute().removed
        rounds += 1
        if chance.random() < 0.2:
            store.close()
            store = Store.open(path)
    return {"landed": 0, "rounds": rounds, "removed": removed}


def read(path: Path, number: int, chance: random.Random, until: float) -> dict[str, Any]:
    """Read all that refs lead to: what is missing was given up meanwhile."""
    store = Store.open(path)
    whole = seen = 0
    while time.monotonic() < until:
        found = list(store.refs("names/"))
        if not found:
            continue
        name, link = chance.choice(found)
        _, damaged = store.verify_closure([store.typed(link)] if store.has(link) else [])
        if damaged or not store.has(link):
            assert store.ref(name) != link, (name, link, damaged)
        else:
            whole += 1
        if chance.random() < 0.05:
            count = sum(1 for _ in store.journal(COUNTER))
            assert count >= seen, "what was seen once is there for good"
            seen = count
    return {"landed": 0, "whole": whole}


CREW: list[Work] = [write, write, write, count_up, count_up, collect, read, read]


def start(path: Path, number: int, work: Work, seed: int, until: float, sent: Any) -> None:
    sent.send(json.dumps(work(path, number, random.Random(seed * 100 + number), until)))


def race(path: Path, seed: int, seconds: float) -> list[dict[str, Any]]:
    """Let the crew work; return what each of them says that it has done."""
    until = time.monotonic() + seconds
    crew = []
    for number, work in enumerate(CREW):
        received, sent = FORK.Pipe(duplex=False)
        process = FORK.Process(target=start, args=(path, number, work, seed, until, sent))
        process.start()
        sent.close()
        crew.append((process, received))
    said = []
    for _, received in crew:
        try:
            said.append(json.loads(received.recv()))
        except EOFError:
            said.append({})  # its exit code says so below, when all have ended
    for process, _ in crew:
        process.join(60)

    assert [process.exitcode for process, _ in crew] == [0] * len(CREW)
    return said


def assert_gapless(store: Store) -> None:
    """Hold each ref's moves against each other: each begins where the one before has ended."""
    last: dict[str, Link | None] = {}
    for move in store.journal():
        assert move.old == last.get(move.ref), move
        last[move.ref] = move.new
    assert {name: link for name, link in last.items() if link} == dict(store.refs())


def test_eight_processes_lose_nothing_beside_a_collector(store, seed, fate):
    seed = int(RACE_SEED or seed)
    print(f"seed: ROS_RACE_SEED={seed} ROS_RACE_SECONDS={SECONDS}")

    said = race(store.path, seed, SECONDS)

    print([{k: v for k, v in each.items() if k != "refs"} for each in said])
    assert all(each["landed"] for each in said[:5])
    assert said[5]["rounds"]
    assert said[6]["whole"]
    report = store.check()
    assert report.ok, report
    assert not report.index_differs
    assert report.journal.entries == sum(each["landed"] for each in said)
    assert_gapless(store)
    values = [int(move.why) for move in store.journal(COUNTER)]
    assert values == list(range(1, said[3]["landed"] + said[4]["landed"] + 1))
    for number in range(3):
        for i in range(NAMES_EACH):
            name = f"names/w{number}-{i}"
            assert_content(store, name, said[number]["refs"].get(name))

    store.plan_collection(grace_seconds=0).execute()
    assert collections.Counter(map(len, fate.copies(store).values())).keys() == {1}
    assert store.check().ok
    assert store.check().dangling == ()
    assert list((store.path / "tmp").iterdir()) == []


def test_killed_collectors_beside_writers_lose_nothing(store, seed):
    """Whatever was under way when a collector died is finished, or never was."""
    seed = int(RACE_SEED or seed)
    print(f"seed: ROS_RACE_SEED={seed} ROS_RACE_SECONDS={SECONDS}")
    chance = random.Random(seed)
    until = time.monotonic() + SECONDS / 2
    crew = []
    for number in range(3):
        received, sent = FORK.Pipe(duplex=False)
        work = FORK.Process(target=start, args=(store.path, number, write, seed, until, sent))
        work.start()
        sent.close()
        crew.append((work, received))
    kills = 0
    while time.monotonic() < until:
        arguments = (store.path, 9, random.Random(kills), until + 60)
        collector = FORK.Process(target=collect, args=arguments)
        collector.start()
        time.sleep(chance.random() * 0.1)
        assert collector.pid is not None
        os.kill(collector.pid, signal.SIGKILL)
        collector.join()
        assert collector.exitcode == -signal.SIGKILL
        kills += 1
    said = [json.loads(received.recv()) for _, received in crew]
    for process, _ in crew:
        process.join(60)

    assert [process.exitcode for process, _ in crew] == [0] * 3
    assert kills
    assert store.check().ok
    assert_gapless(store)
    assert len(list(store._journal.entries())) == sum(each["landed"] for each in said)
    for number in range(3):
        for i in range(NAMES_EACH):
            name = f"names/w{number}-{i}"
            assert_content(store, name, said[number]["refs"].get(name))
    store.plan_collection(grace_seconds=0).execute()
    assert store.check().ok
    assert store.check().dangling == ()
