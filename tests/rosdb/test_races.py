"""Processes racing on one store: nothing is lost, nothing is half seen."""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from rosdb import Store, errors

FORK = multiprocessing.get_context("fork")
PROCESSES = 4
MOVES = 50

# Newer Pythons warn of a fork where numpy has threads; these children use none of them.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


def race(work: Callable[..., None], *arguments: Any, count: int = PROCESSES) -> None:
    """Run the work in several processes that start as one; each gets its number."""
    start = FORK.Barrier(count)

    def run(number: int) -> None:
        start.wait(30)
        work(number, *arguments)

    processes = [FORK.Process(target=run, args=(number,)) for number in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    assert [process.exitcode for process in processes] == [0] * count


def count_up(number: int, path: Path) -> None:
    """Move one ref on by one, again and again, whoever moved it meanwhile."""
    store = Store.open(path, who=f"worker-{number}")
    for _ in range(MOVES):
        while True:
            old = store.ref("names/counter")
            value = 0 if old is None else store.get_record(old).fields["value"]
            try:
                with store.transaction() as tx:
                    links = {} if old is None else {"previous": old}
                    new = tx.put_record("counter/v1", {"value": value + 1, "by": number}, links)
                    tx.move_ref("names/counter", new, expected=old)
                break
            except errors.RefMoved:
                continue


def test_one_ref_moved_by_many_processes_loses_no_move(store):
    race(count_up, store.path)

    moves = list(store.journal("names/counter"))
    values = [store.get_record(move.new).fields["value"] for move in moves if move.new]
    assert values == list(range(1, PROCESSES * MOVES + 1))
    assert [move.old for move in moves] == [None, *(move.new for move in moves)][:-1]
    by = [store.get_record(move.new).fields["by"] for move in moves if move.new]
    assert sorted(by) == sorted(list(range(PROCESSES)) * MOVES)
    assert [move.who for move in moves] == [f"worker-{number}" for number in by]
    report = store.check()
    assert report.ok
    assert report.journal.entries == PROCESSES * MOVES
    assert not report.index_differs


def put_shared(number: int, path: Path) -> None:
    store = Store.open(path)
    order = list(range(60))
    random.Random(number).shuffle(order)
    for i in order:
        with store.transaction() as tx:
            blob = tx.put_blob(b"shared %d " % i * 50)
            record = tx.put_record("shared/v1", {"i": i}, {"blob": blob})
            tx.move_ref(f"names/w{number}-{i}", record, expected=None)


def test_many_processes_put_the_same_objects(store):
    race(put_shared, store.path)

    refs = dict(store.refs("names/"))
    assert len(refs) == PROCESSES * 60
    assert len(set(refs.values())) == 60
    report = store.check()
    assert report.ok
    assert report.objects == 120
    assert list((store.path / "tmp").iterdir()) == []


def read_along(store: Store, processes: list[BaseProcess]) -> int:
    """Read while others write: each answer is one that the journal gave at some moment."""
    rounds = seen = 0
    while any(process.is_alive() for process in processes):
        moves = list(store.journal("names/counter"))
        assert len(moves) >= seen, "what was seen once is there for good"
        seen = len(moves)
        values = [store.get_record(move.new).fields["value"] for move in moves[-3:] if move.new]
        assert values == list(range(seen - len(values) + 1, seen + 1))
        ref = store.ref("names/counter")
        if ref is not None:
            assert store.get_record(ref).fields["value"] >= seen
        rounds += 1
    return rounds


def test_a_reader_beside_writers_sees_whole_entries_only(store):
    processes = [FORK.Process(target=count_up, args=(i, store.path)) for i in range(2)]
    for process in processes:
        process.start()

    rounds = read_along(store, [*processes])

    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert rounds > 5
    assert len(list(store.journal())) == 2 * MOVES


def write_on(path: Path, number: int, sent: Any) -> None:
    """Write until killed; say after each transaction what has landed."""
    store = Store.open(path)
    for i in range(10**6):
        name = f"names/k{number}-{i}"
        with store.transaction() as tx:
            blob = tx.put_blob(b"%d" % i * 1000)
            tx.move_ref(name, tx.put_record("k/v1", {"i": i}, {"b": blob}), expected=None)
        sent.send(name)


def test_killed_writers_leave_a_sound_store(store, seed):
    chance = random.Random(seed)
    landed: set[str] = set()
    for number in range(8):
        receive, send = FORK.Pipe(duplex=False)
        writer = FORK.Process(target=write_on, args=(store.path, number, send))
        writer.start()
        send.close()
        landed.add(receive.recv())
        time.sleep(chance.random() * 0.02)
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        while True:
            try:
                landed.add(receive.recv())
            except (EOFError, OSError):
                break

        report = store.check()
        assert report.ok
        assert landed <= dict(store.refs()).keys()
    with store.transaction() as tx:
        tx.move_ref("names/after", tx.put_blob(b"after"), expected=None)
    assert store.check().ok


def init_store(number: int, path: Path, sent: Any) -> None:
    try:
        store = Store.init(path)
        with store.transaction() as tx:
            tx.move_ref(f"names/w{number}", tx.put_blob(b"%d" % number), expected=None)
        sent.put("made")
    except errors.StoreExists:
        sent.put("exists")


def test_one_of_many_makes_the_store(tmp_path):
    for round_ in range(5):
        path = tmp_path / f"{round_}"
        sent = FORK.Queue()
        race(init_store, path, sent)

        assert sorted(sent.get(timeout=10) for _ in range(PROCESSES)) == ["exists"] * 3 + ["made"]
        assert len(list(Store.open(path).journal())) == 1
