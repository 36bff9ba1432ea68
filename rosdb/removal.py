"""Removal: unlinking what a collection has doomed, all of it or nothing.

Owns the note ``doomed`` in the store's folder: one line for each file that is to go, ``pack NAME``
or ``loose ID``. Once the note is there the collection has happened: whoever finds it, unlinks the
rest. Without it, half a removal would leave objects whose parts are gone, and a later put of such
an object would find it stored. So nobody writes beside a note.
"""

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from rosdb import disk, turnstile
from rosdb.errors import BadName, StoreError
from rosdb.object_store import Objects
from rosdb.objects import ObjectId

_NOTE: Final = "doomed"
_MARK: Final = "collected"
_LEFTOVER_SECONDS: Final = 86_400


def mark(folder: Path) -> bytes:
    """Return what tells whether anything was removed since it was last asked for."""
    try:
        return (folder / _MARK).read_bytes()
    except OSError:
        return b""


def is_unfinished(folder: Path) -> bool:
    """Tell whether an interrupted removal has left its note."""
    return (folder / _NOTE).exists()


@contextlib.contextmanager
def writing(folder: Path, objects: Objects, seen: bytes | None) -> Iterator[bytes]:
    """Be one of the writers of a store in which nothing is half removed; give its mark.

    ``seen`` is the mark when the packs were listed last: a folder of thousands is listed anew only
    where something was removed since. What was merely merged is found by who misses it.
    Raises: StoreLocked, StoreUnwritable.
    """
    with contextlib.ExitStack() as held:
        while True:
            finish(folder, objects)
            with contextlib.ExitStack() as attempt:
                attempt.enter_context(turnstile.writing(folder))
                # Looked for again: a collector may have died while we waited at its gate.
                if not is_unfinished(folder):
                    held.push(attempt.pop_all())
                    break
        # From here on nothing vanishes; what has until now must not be taken for stored.
        now = mark(folder)
        if now != seen:
            objects.packs.refresh()
        yield now


class Writers:
    """The writers of one process: to the turnstile they are one.

    So a transaction within another never waits at a gate that is shut because of the outer one.
    """

    def __init__(self, folder: Path, objects: Objects) -> None:
        self._folder = folder
        self._objects = objects
        self._counting = threading.Lock()
        self._count = 0
        self._held = contextlib.ExitStack()
        self._seen: bytes | None = None

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Be one of the writers; nothing that is stored vanishes meanwhile.

        Raises: StoreLocked, StoreUnwritable.
        """
        with self._counting:
            if self._count == 0:
                entered = writing(self._folder, self._objects, self._seen)
                self._seen = self._held.enter_context(entered)
            self._count += 1
        try:
            yield
        finally:
            with self._counting:
                self._count -= 1
                if self._count == 0:
                    self._held.close()


@contextlib.contextmanager
def still(folder: Path, objects: Objects, writers: Writers) -> Iterator[None]:
    """Let nothing be moved or removed meanwhile; on a disk that is only read nobody does."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(StoreError):
            finish(folder, objects)
            held.enter_context(disk.exclusive_lock(folder / "merge.lock"))
            held.enter_context(writers.writing())
        yield


def remove(folder: Path, objects: Objects, packs: Iterable[str], loose: Iterable[ObjectId]) -> None:
    """Remove packs and loose objects. The caller is alone, and holds the lock of the merges.

    Raises: StoreUnwritable.
    """
    lines = [*(f"pack {name}\n" for name in packs), *(f"loose {each}\n" for each in loose)]
    if lines:
        disk.replace_file(folder / _NOTE, "".join(lines).encode(), folder / "tmp")
        _unlink(folder, objects, lines)


def leftovers(folder: Path) -> list[Path]:
    """List the temporary files that dead processes have left: none that is younger than a day."""
    oldest_ns = disk.now_ns() - _LEFTOVER_SECONDS * 1_000_000_000
    found: list[Path] = []
    for path in (folder / "tmp").glob("[0-9]*-[0-9]*"):
        with contextlib.suppress(OSError):
            if path.is_file() and path.stat().st_mtime_ns < oldest_ns:
                found.append(path)
    return found


def sweep(folder: Path) -> None:
    """Remove what dead processes have left. The caller is alone: nobody's pack is in the making.

    Raises: StoreUnwritable.
    """
    with disk.refusals(folder):
        for path in leftovers(folder):
            disk.remove(path)


def finish(folder: Path, objects: Objects, wait_seconds: float = disk.LOCK_SECONDS_MAX) -> None:
    """Finish a removal that was interrupted, if one was.

    Raises: StoreLocked, StoreUnwritable.
    """
    if is_unfinished(folder):
        with disk.exclusive_lock(folder / "merge.lock", wait_seconds):
            finish_under_lock(folder, objects, wait_seconds)


def finish_under_lock(folder: Path, objects: Objects, wait_seconds: float) -> None:
    """Finish one as the holder of the lock of the merges.

    Raises: StoreLocked, StoreUnwritable.
    """
    if is_unfinished(folder):
        with turnstile.alone(folder, wait_seconds):
            text = (folder / _NOTE).read_text(encoding="ascii", errors="replace")
            _unlink(folder, objects, text.splitlines(keepends=True))


def renew_mark(folder: Path) -> None:
    """Tell writers of other processes to list the packs again; before anything goes.

    Not synced: a power cut ends them all, and who comes after lists anyway.
    """
    with disk.refusals(folder):
        handle, temporary = disk.open_temporary(folder / "tmp")
        with handle:
            disk.write(handle, f"{disk.now_ns()} {os.getpid()}\n".encode())
        temporary.replace(folder / _MARK)


def _unlink(folder: Path, objects: Objects, lines: list[str]) -> None:
    packs: list[str] = []
    loose: list[ObjectId] = []
    for line in lines:
        kind, _, name = line.strip().partition(" ")
        try:
            object_id = ObjectId.from_hex(name)  # a pack's name looks the same
        except BadName:
            continue  # a damaged note removes less, never something else
        if kind == "pack":
            packs.append(name)
        elif kind == "loose":
            loose.append(object_id)
    renew_mark(folder)
    objects.packs.refresh()
    objects.packs.forget(packs)
    for each in loose:
        objects.loose.remove(each)
    with disk.refusals(folder):
        for parent in {objects.packs.folder, *(objects.loose.path(o).parent for o in loose)}:
            if parent.is_dir():
                disk.sync_folder(parent)
        disk.remove(folder / _NOTE)
        disk.sync_folder(folder)
