"""Threads of one process on one store."""

import os
import threading

import pytest

from rosdb import Store


def test_threads_share_a_store(store, open_store):
    """They write, list and measure; merges go on below them."""
    problems: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for i in range(25):
                with store.transaction() as tx:
                    record = tx.put_record("x/v1", {"number": number, "i": i})
                    tx.put_blob(os.urandom(500))
                    tx.move_ref(f"names/t{number}-{i}", record, expected=None)
                assert store.ref(f"names/t{number}-{i}") == record
                assert list(store.refs("names/"))
                store.stats()
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert problems == []
    assert len(list(store.refs())) == 100
    assert open_store().check().ok


def test_a_check_beside_a_writer_blames_nothing(store, open_store):
    is_over = threading.Event()

    def write(other: Store) -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            with other.transaction() as tx:
                record = tx.put_record("x/v1", {"number": number})
                tx.move_ref(f"names/n{number}", record, expected=None)

    writer = threading.Thread(target=write, args=(open_store(),))
    writer.start()
    try:
        reports = [store.check() for _ in range(15)]
    finally:
        is_over.set()
        writer.join()

    assert all(report.ok for report in reports)


def test_a_transaction_that_is_over_takes_nothing(store):
    with store.transaction() as tx:
        blob = tx.put_blob(b"in time")

    with pytest.raises(AssertionError, match="over"):
        tx.put_blob(b"too late")
    with pytest.raises(AssertionError, match="over"):
        tx.move_ref("names/late", blob, expected=None)
