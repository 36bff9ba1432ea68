"""The turnstile: many writers, or one collector; and nobody waits for ever."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rosdb import disk, errors, turnstile

FORK = multiprocessing.get_context("fork")

# Newer Pythons warn of a fork where numpy has threads; these children use none of them.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


@pytest.fixture
def short_wait(monkeypatch) -> None:
    """Let a writer give up soon, where it would wait for a minute."""
    monkeypatch.setattr(disk.shared_lock, "__defaults__", (0.05,))


def test_writers_share(tmp_path):
    with turnstile.writing(tmp_path), turnstile.writing(tmp_path), turnstile.writing(tmp_path):
        pass


def test_a_collector_is_alone(tmp_path, short_wait):
    with turnstile.alone(tmp_path, 0):
        with pytest.raises(errors.StoreLocked), turnstile.writing(tmp_path):
            pass
        with pytest.raises(errors.StoreLocked), turnstile.alone(tmp_path, 0.05):
            pass


def test_a_collector_gives_up_while_somebody_writes(tmp_path):
    with (
        turnstile.writing(tmp_path),
        pytest.raises(errors.StoreLocked),
        turnstile.alone(tmp_path, 0.05),
    ):
        pass


def test_a_collector_that_gave_up_leaves_the_gate_open(tmp_path, short_wait):
    with turnstile.writing(tmp_path):
        with pytest.raises(errors.StoreLocked), turnstile.alone(tmp_path, 0.05):
            pass
        with turnstile.writing(tmp_path):
            pass
    with turnstile.alone(tmp_path, 0):
        pass


def test_the_locks_end_with_an_error(tmp_path, short_wait):
    for held in (turnstile.writing(tmp_path), turnstile.alone(tmp_path, 0)):
        with contextlib.suppress(ZeroDivisionError), held:
            raise ZeroDivisionError

    with turnstile.alone(tmp_path, 0):
        pass
    with turnstile.writing(tmp_path):
        pass


def test_a_writer_that_comes_while_a_collector_waits_is_let_in_behind_it(tmp_path, monkeypatch):
    order: list[str] = []
    has_gate, at_gate = threading.Event(), threading.Event()
    exclusive, shared = disk.exclusive_lock, disk.shared_lock

    @contextlib.contextmanager
    def announced(path: Path, *wait: float) -> Iterator[None]:
        with exclusive(path, *wait):
            if path.name == "gate.lock":
                has_gate.set()
            yield

    def collect() -> None:
        with turnstile.alone(tmp_path, 30):
            order.append("collector")

    def write() -> None:
        at_gate.set()
        with turnstile.writing(tmp_path):
            order.append("second writer")

    monkeypatch.setattr(disk, "exclusive_lock", announced)
    collector, writer = threading.Thread(target=collect), threading.Thread(target=write)
    with turnstile.writing(tmp_path):
        collector.start()
        assert has_gate.wait(30)
        writer.start()
        assert at_gate.wait(30)
        with pytest.raises(errors.StoreLocked), shared(tmp_path / "gate.lock", 0):
            pass
        order.append("first writer")
    collector.join(30)
    writer.join(30)

    assert order == ["first writer", "collector", "second writer"]


def enter_and_leave(path: Path, stop: Any) -> None:
    while not stop.is_set():
        with turnstile.writing(path):
            pass


def test_a_stream_of_writers_does_not_starve_a_collector(tmp_path):
    stop = FORK.Event()
    writers = [FORK.Process(target=enter_and_leave, args=(tmp_path, stop)) for _ in range(4)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(20):
            with turnstile.alone(tmp_path, 60):
                pass
    finally:
        stop.set()
        for writer in writers:
            writer.join(60)

    assert [writer.exitcode for writer in writers] == [0] * 4


def add_up(path: Path, is_alone: bool, rounds: int) -> None:
    """Count up a number in a file, which is right only if nobody does so at the same time."""
    number = path / "number"
    for _ in range(rounds):
        if is_alone:
            with turnstile.alone(path, 60):
                number.write_text(str(int(number.read_text()) + 1))
        else:
            with turnstile.writing(path):
                before = number.read_text()
                assert number.read_text() == before


def test_nobody_writes_beside_a_collector(tmp_path):
    (tmp_path / "number").write_text("0")
    kinds = [True, True, False, False, False]
    processes = [FORK.Process(target=add_up, args=(tmp_path, kind, 50)) for kind in kinds]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)

    assert [process.exitcode for process in processes] == [0] * 5
    assert (tmp_path / "number").read_text() == "100"


def hold(path: Path, is_alone: bool, sent: Any) -> None:
    with turnstile.alone(path, 0) if is_alone else turnstile.writing(path):
        sent.send("held")
        signal.pause()


@pytest.mark.parametrize("is_alone", [True, False], ids=["collector", "writer"])
def test_the_kernel_releases_what_a_killed_process_held(tmp_path, is_alone):
    received, sent = FORK.Pipe(duplex=False)
    process = FORK.Process(target=hold, args=(tmp_path, is_alone, sent))
    process.start()
    assert received.recv() == "held"
    with pytest.raises(errors.StoreLocked), turnstile.alone(tmp_path, 0):
        pass

    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()

    with turnstile.alone(tmp_path, 0):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gate.lock", "writers.lock"]


def test_a_folder_that_cannot_be_written_is_said_to_be_so(tmp_path):
    with pytest.raises(errors.StoreUnwritable), turnstile.writing(tmp_path / "gone"):
        pass
    with pytest.raises(errors.StoreUnwritable), turnstile.alone(tmp_path / "gone", 0):
        pass
