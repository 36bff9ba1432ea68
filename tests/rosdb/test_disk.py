"""The disk's room: locks that end with their process, and files that are whole or not there."""

import contextlib
import fcntl
import multiprocessing
import os
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from rosdb import Link, create_file, disk, errors
from rosdb.disk import exclusive_lock, is_locked

FORK = multiprocessing.get_context("fork")

# Newer Pythons warn of a fork where numpy has threads; these children use none of them.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


# --- Locks --------------------------------------------------------------------------------------


class Holder:
    """Another process that holds a lock until it is told to let go."""

    def __init__(self, path: Path) -> None:
        self._pipe, there = FORK.Pipe()
        self.process = FORK.Process(target=self._hold, args=(path, there))
        self.process.start()
        there.close()
        assert self._pipe.recv() == "held"

    def _hold(self, path: Path, pipe: Connection) -> None:
        self._pipe.close()
        with exclusive_lock(path):
            pipe.send("held")
            with contextlib.suppress(EOFError):
                pipe.recv()

    def let_go(self) -> None:
        self._pipe.close()
        self.process.join()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "lock"


@pytest.fixture
def holder(lock: Path) -> Iterator[Holder]:
    holder = Holder(lock)
    yield holder
    holder.let_go()


def test_a_lock_is_seen_and_waited_for(lock, holder):
    assert is_locked(lock)
    with pytest.raises(errors.StoreLocked) as caught, exclusive_lock(lock, wait_seconds=0.05):
        pytest.fail("two hold one lock")
    assert caught.value.seconds == 0.05
    timer = threading.Timer(0.05, holder.let_go)
    timer.start()
    with exclusive_lock(lock, wait_seconds=30):
        assert is_locked(lock)
    assert not is_locked(lock)
    timer.join()


def test_a_lock_ends_with_its_process(lock, holder):
    holder.process.kill()
    holder.process.join()

    assert not is_locked(lock)
    with exclusive_lock(lock, wait_seconds=1):
        pass


def test_looking_at_a_lock_needs_no_right_to_write(tmp_path, monkeypatch):
    (tmp_path / "lock").touch()
    flags: list[int] = []
    real = os.open

    def watched(path: Path, flag: int) -> int:
        flags.append(flag)
        return real(path, flag)

    monkeypatch.setattr(os, "open", watched)

    assert not is_locked(tmp_path / "lock")
    assert not is_locked(tmp_path / "none")
    assert not any(flag & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) for flag in flags)


def test_a_lock_that_cannot_be_had_is_a_refusal(tmp_path, monkeypatch):
    with pytest.raises(errors.StoreUnwritable), exclusive_lock(tmp_path / "no" / "lock"):
        pytest.fail("there is no such folder")

    def refuse(handle: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        pytest.raises(errors.StoreUnwritable, match="No locks available"),
        exclusive_lock(tmp_path / "lock"),
    ):
        pytest.fail("the file system has no locks")


def test_a_writer_waits_for_the_lock_and_gives_up(store, monkeypatch):
    monkeypatch.setattr(disk, "LOCK_SECONDS_MAX", 0.05)
    real = disk.exclusive_lock
    monkeypatch.setattr(disk, "exclusive_lock", lambda path: real(path, 0.05))
    holder = Holder(store.path / "lock")

    with pytest.raises(errors.StoreLocked), store.transaction() as tx:
        tx.move_ref("names/x", tx.put_blob(b"x"), expected=None)

    assert list(store.journal()) == []
    blob: Link = store.put_blob(b"objects need no lock")
    assert store.has(blob)
    holder.let_go()


# --- Files --------------------------------------------------------------------------------------


def test_a_file_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "file"
    target.write_bytes(b"old")

    disk.replace_file(target, b"new", tmp_path)

    assert target.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_that_is_not_replaced_stays(tmp_path, monkeypatch):
    target = tmp_path / "file"
    target.write_bytes(b"old")

    def refuse(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk, "sync", refuse)
    with pytest.raises(errors.StoreUnwritable, match="No space left on device"):
        disk.replace_file(target, b"new", tmp_path)

    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_is_made_once(tmp_path):
    target = tmp_path / "file"

    create_file(target, b"first", tmp_path)
    with pytest.raises(FileExistsError):
        create_file(target, b"second", tmp_path)
    with pytest.raises(errors.StoreUnwritable):
        create_file(tmp_path / "no" / "file", b"x", tmp_path)

    assert target.read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_temporary_file_takes_nobody_s_place(tmp_path):
    handle, path = disk.open_temporary(tmp_path)
    handle.close()
    following = int(path.name.partition("-")[2]) + 1
    taken = tmp_path / f"{os.getpid()}-{following}"
    taken.write_bytes(b"left behind")

    handle, path = disk.open_temporary(tmp_path)
    handle.close()

    assert path != taken
    assert taken.read_bytes() == b"left behind"


def test_freshening_tells_whether_it_is_there(tmp_path, monkeypatch):
    (tmp_path / "x").touch()
    assert disk.freshen(tmp_path / "x")
    assert not disk.freshen(tmp_path / "y")
    for number in (1, 13, 30):  # EPERM, EACCES, EROFS
        with monkeypatch.context() as patch:
            patch.setattr(os, "utime", lambda *_, number=number, **__: refuse_with(number))
            assert disk.freshen(tmp_path / "x")
    with monkeypatch.context() as patch:
        patch.setattr(os, "utime", lambda *_, **__: refuse_with(5))
        with pytest.raises(OSError, match="refused"):
            disk.freshen(tmp_path / "x")


def refuse_with(number: int) -> None:
    raise OSError(number, "refused")


def test_who_writes_is_known(monkeypatch):
    assert "@" in disk.whoami()
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    assert disk.whoami().startswith("uid-4000000000@")


# --- Folders ------------------------------------------------------------------------------------


def test_a_folder_is_removed_however_deep_it_is_and_whatever_its_modes(tmp_path):
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"a")
    folder.mkdir()
    (folder / "link").symlink_to(outside)
    here = os.getcwd()
    try:
        os.chdir(folder)
        for _ in range(3000):
            os.mkdir("a" * 100)
            os.mkdir("b", 0)
            os.chdir("a" * 100)
            Path("file").touch()
    finally:
        os.chdir(here)

    disk.remove_folder(folder)

    assert not folder.exists()
    assert (outside / "kept").read_bytes() == b"a"
