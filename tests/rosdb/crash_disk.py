"""A disk that remembers every call that changes it, and what a power cut may leave of them.

``Recorder`` stands under whoever writes in a folder: files opened for writing, and the calls of
``os`` and ``fcntl``, are written down in order and done; only the syncs are not. ``Medium`` reads
such a log up to any point and says what is durable and what is only asked for. A *loss* takes some
of the latter away, and ``Medium.image`` is the folder that a restart would find.

What the model takes for granted is little more than POSIX:

- a sync of a file makes its bytes durable, a sync of a folder the names in it, and nothing else;
- of what is not synced, each write and each name is kept or lost by itself, in whatever order;
- a write may be torn: any of its 512-byte sectors is lost, and reads as what was there or as zeros;
- a name that was replaced leads to the old or to the new file, never to nothing;
- a file can have its name and not its bytes, or half of a rename: both names, or neither.
"""

import fcntl
import io
import itertools
import os
import pickle
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

SECTOR: Final = 512
ROOT: Final = 0

CACHES: Final = ("index.", "stat.")
"""Files that begin so are SQLite's; it writes past us, and they may be lost at any time."""

SILENT: Final = ("utime", "chmod", "chown", "lock", "share", "unlock")
"""What is written down and leaves every image as it is."""

Slot = tuple[int, str]
"""A name in a folder: the folder's number, the name."""

Image = dict[str, bytes]
"""A folder's files by path. A path that ends in a slash is a folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One call that changed the disk. ``inode`` numbers files and folders in order of birth."""

    verb: str
    path: str
    inode: int = -1
    slot: Slot | None = None
    old_slot: Slot | None = None
    offset: int = 0
    data: bytes = b""
    caches: int = 0
    note: str = ""

    def __str__(self) -> str:
        size = f" @{self.offset} +{len(self.data)}" if self.verb == "write" else ""
        size = f" to {self.offset}" if self.verb == "truncate" else size
        return f"{self.verb:8} {self.path or '.'}{size}{' ' if self.note else ''}{self.note}"


class Recorder:
    """Writes down what happens to a folder and all below it, from an image of it on."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.events: list[Event] = []
        self.start: Image = {}
        self.caches: list[Image] = [{}]
        self._numbers: dict[tuple[int, int], int] = {}
        self._paths: dict[int, str] = {}
        self._lock = threading.RLock()
        self._hook: Callable[[], None] = lambda: None
        self._hook_at = -1
        self._next = ROOT
        self._scan(self.root)

    def _scan(self, folder: Path) -> None:
        self._born(
            os.stat(folder), "" if folder == self.root else os.path.relpath(folder, self.root)
        )
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            path = os.path.relpath(entry.path, self.root)
            if entry.is_dir():
                self.start[path + "/"] = b""
                self._scan(Path(entry.path))
            elif not entry.name.startswith(CACHES):
                self.start[path] = Path(entry.path).read_bytes()
                self._born(entry.stat(), path)

    def mark(self, note: str) -> None:
        """Note something that the disk knows nothing of."""
        self._add(Event(verb="mark", path="", note=note))

    def call_at(self, number: int, hook: Callable[[], None]) -> None:
        """Call the hook behind the event of that number."""
        self._hook_at, self._hook = number, hook

    def remember(self) -> bytes:
        """Return all that was written down, for ``recall`` in another process."""
        return pickle.dumps(
            (self.events, self.caches, self._numbers, self._paths, self._next), protocol=5
        )

    def recall(self, memory: bytes) -> None:
        """Go on where another process has died."""
        self.events, self.caches, self._numbers, self._paths, self._next = pickle.loads(memory)

    def _add(self, event: Event) -> None:
        caches = self._caches_now()
        if caches != self.caches[-1]:
            self.caches.append(caches)
        self.events.append(replace(event, caches=len(self.caches) - 1))
        if len(self.events) - 1 == self._hook_at:
            self._hook()

    def _caches_now(self) -> Image:
        return {
            os.path.relpath(entry.path, self.root): Path(entry.path).read_bytes()
            for folder in (self.root, self.root / ".ros")
            if folder.is_dir()
            for entry in os.scandir(folder)
            if entry.name.startswith(CACHES) and entry.name.endswith((".db", "-wal"))
        }

    # --- Who is who

    def _born(self, stat: os.stat_result, path: str) -> int:
        """Give a file or folder its number: a new one, though the system may give one again."""
        number = self._numbers[stat.st_dev, stat.st_ino] = self._next
        self._paths[number] = path
        self._next += 1
        return number

    def _known(self, stat: os.stat_result) -> int | None:
        return self._numbers.get((stat.st_dev, stat.st_ino))

    def _of_handle(self, handle: int) -> int | None:
        return self._known(os.fstat(handle))

    def _slot(self, path: Any, folder_handle: int | None = None) -> Slot | None:
        """Return folder and name; None where that is not ours to record."""
        text = os.fsdecode(path)
        try:
            if folder_handle is None:
                text = os.path.abspath(text)
                folder = self._known(os.stat(os.path.dirname(text)))
            else:
                assert "/" not in text
                folder = self._of_handle(folder_handle)
        except OSError:
            return None
        name = os.path.basename(text)
        return None if folder is None or name.startswith(CACHES) else (folder, name)

    def _path(self, slot: Slot) -> str:
        return os.path.join(self._paths[slot[0]], slot[1])

    # --- The calls

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Stand under every call that can change a folder, until the patch is undone."""
        import builtins

        for name in ("rename", "replace"):
            patch.setattr(os, name, self._renaming(getattr(os, name)))
        for name in ("unlink", "remove", "rmdir"):
            patch.setattr(os, name, self._removing(getattr(os, name), name))
        for name in ("fsync", "fdatasync"):
            patch.setattr(os, name, self._sync)
        for name in ("utime", "chmod", "chown"):
            patch.setattr(os, name, self._noting(getattr(os, name), name))
        for name in ("symlink", "mknod", "mkfifo", "writev", "pwritev", "sendfile"):
            if hasattr(os, name):
                patch.setattr(os, name, self._unknown(getattr(os, name), name))
        for name in ("copy_file_range", "posix_fallocate", "splice"):
            if hasattr(os, name):
                patch.setattr(os, name, self._unknown(getattr(os, name), name))
        patch.setattr(os, "mkdir", self._making(os.mkdir))
        patch.setattr(os, "link", self._linking(os.link))
        patch.setattr(os, "open", self._opening(os.open))
        patch.setattr(os, "write", self._writing(os.write))
        patch.setattr(os, "pwrite", self._writing_at(os.pwrite))
        patch.setattr(os, "truncate", self._cutting(os.truncate))
        patch.setattr(os, "ftruncate", self._cutting(os.ftruncate))
        patch.setattr(fcntl, "flock", self._locking(fcntl.flock))
        patch.setattr(fcntl, "fcntl", self._controlling(fcntl.fcntl))
        opened = self._opened(io.open)
        patch.setattr(io, "open", opened)
        patch.setattr(builtins, "open", opened)

    def _sync(self, handle: Any) -> None:
        with self._lock:
            number = self._of_handle(handle if isinstance(handle, int) else handle.fileno())
            if number is not None:
                self._add(Event(verb="sync", path=self._paths[number], inode=number))

    def _controlling(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(handle: Any, command: int, *arguments: Any) -> Any:
            if command == getattr(fcntl, "F_FULLFSYNC", None):
                return self._sync(handle)
            return real(handle, command, *arguments)

        return call

    def _renaming(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(src: Any, dst: Any, **folders: Any) -> None:
            with self._lock:
                old = self._slot(src, folders.get("src_dir_fd"))
                new = self._slot(dst, folders.get("dst_dir_fd"))
                if old is None and new is None:
                    return real(src, dst, **folders)
                assert old is not None, f"moved in: {src} {dst}"
                assert new is not None, f"moved out: {src} {dst}"
                stat = os.lstat(src)
                is_same = os.path.lexists(dst) and os.path.samestat(stat, os.lstat(dst))
                real(src, dst, **folders)
                if is_same:
                    return None  # two names of one file: both stay
                number = self._known(stat)
                path = self._path(new)
                self._paths[number] = path
                note = f"from {self._path(old)}"
                self._add(
                    Event(verb="rename", path=path, inode=number, slot=new, old_slot=old, note=note)
                )

        return call

    def _removing(self, real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(path: Any, *, dir_fd: int | None = None) -> None:
            with self._lock:
                slot = self._slot(path, dir_fd)
                if slot is not None and name == "rmdir":
                    # The system may give its number to any other folder.
                    stat = os.stat(path, dir_fd=dir_fd)
                    real(path, dir_fd=dir_fd)
                    self._numbers.pop((stat.st_dev, stat.st_ino), None)
                else:
                    real(path, dir_fd=dir_fd)
                if slot is not None:
                    verb = "rmdir" if name == "rmdir" else "unlink"
                    self._add(Event(verb=verb, path=self._path(slot), slot=slot))

        return call

    def _noting(self, real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(path: Any, *arguments: Any, **named: Any) -> None:
            with self._lock:
                slot = None if isinstance(path, int) else self._slot(path, named.get("dir_fd"))
                real(path, *arguments, **named)
                if slot is not None:
                    self._add(Event(verb=name, path=self._path(slot)))

        return call

    def _unknown(self, real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            for argument in arguments:
                if isinstance(argument, int):
                    try:
                        number = self._of_handle(argument)
                    except OSError:
                        continue
                    assert number is None, f"os.{name} is not in the model"
                elif isinstance(argument, str | os.PathLike):
                    assert self._slot(argument) is None, f"os.{name} is not in the model"
            return real(*arguments, **named)

        return call

    def _making(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
            with self._lock:
                slot = self._slot(path, dir_fd)
                real(path, mode, dir_fd=dir_fd)
                if slot is not None:
                    number = self._born(os.stat(path, dir_fd=dir_fd), self._path(slot))
                    self._add(Event(verb="mkdir", path=self._path(slot), inode=number, slot=slot))

        return call

    def _linking(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(src: Any, dst: Any, **named: Any) -> None:
            with self._lock:
                slot = self._slot(dst, named.get("dst_dir_fd"))
                real(src, dst, **named)
                if slot is not None:
                    number = self._known(os.stat(dst))
                    assert number is not None, f"linked in: {src} {dst}"
                    note = f"from {self._paths[number]}"
                    path = self._path(slot)
                    self._add(Event(verb="link", path=path, inode=number, slot=slot, note=note))

        return call

    def _create(self, slot: Slot | None, is_new: bool, is_cut: bool, handle: int) -> int | None:
        """Note what opening a file has done; return its number."""
        if slot is None:
            return None
        stat = os.fstat(handle)
        if is_new:
            number = self._born(stat, self._path(slot))
            self._add(Event(verb="create", path=self._path(slot), inode=number, slot=slot))
            return number
        known = self._known(stat)
        if known is not None and is_cut:
            self._add(Event(verb="truncate", path=self._paths[known], inode=known))
        return known

    def _opening(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
                return real(path, flags, mode, dir_fd=dir_fd)
            with self._lock:
                slot = self._slot(path, dir_fd)
                is_new = slot is not None and not _is_there(path, dir_fd)
                handle = real(path, flags, mode, dir_fd=dir_fd)
                self._create(slot, is_new, bool(flags & os.O_TRUNC), handle)
            return handle

        return call

    def _locking(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(handle: Any, operation: int) -> None:
            real(handle, operation)
            with self._lock:
                number = self._of_handle(handle)
                if number is not None:
                    verb = "lock" if operation & fcntl.LOCK_EX else "share"
                    verb = "unlock" if operation & fcntl.LOCK_UN else verb
                    self._add(Event(verb=verb, path=self._paths[number]))

        return call

    def _write(self, number: int | None, offset: int, data: Any) -> None:
        if number is not None and len(data):
            path = self._paths[number]
            data = bytes(data)
            self._add(Event(verb="write", path=path, inode=number, offset=offset, data=data))

    def _writing(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(handle: int, data: Any) -> int:
            with self._lock:
                number = self._of_handle(handle)
                if number is None:
                    return real(handle, data)
                if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_APPEND:
                    os.lseek(handle, 0, os.SEEK_END)
                offset = os.lseek(handle, 0, os.SEEK_CUR)
                count = real(handle, data)
                self._write(number, offset, memoryview(data).cast("B")[:count])
                return count

        return call

    def _writing_at(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(handle: int, data: Any, offset: int) -> int:
            with self._lock:
                count = real(handle, data, offset)
                number = self._of_handle(handle)
                self._write(number, offset, memoryview(data).cast("B")[:count])
                return count

        return call

    def _cutting(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(target: Any, size: int) -> None:
            with self._lock:
                real(target, size)
                self._cut(self._known(os.stat(target)), size)

        return call

    def _cut(self, number: int | None, size: int) -> None:
        if number is not None:
            path = self._paths[number]
            self._add(Event(verb="truncate", path=path, inode=number, offset=size))

    def _opened(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(
            file: Any,
            mode: str = "r",
            buffering: int = -1,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
            closefd: bool = True,
            opener: Any = None,
        ) -> Any:
            is_ours = set(mode) & set("wxa+") and (
                self._of_handle(file) is not None
                if isinstance(file, int)
                else self._slot(file) is not None
            )
            if not is_ours:
                return real(file, mode, buffering, encoding, errors, newline, closefd, opener)
            raw = _RecordedFile(self, file, mode.replace("b", "").replace("t", ""), closefd, opener)
            if buffering == 0:
                return raw
            size = buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE
            wrap = io.BufferedRandom if "+" in mode else io.BufferedWriter
            buffered = wrap(raw, size)
            if "b" in mode:
                return buffered
            return io.TextIOWrapper(buffered, encoding, errors, newline, buffering == 1)

        return call


def _is_there(path: Any, folder_handle: int | None) -> bool:
    try:
        os.stat(path, dir_fd=folder_handle, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


class _RecordedFile(io.FileIO):
    """A file opened for writing: what reaches the system is written down."""

    def __init__(
        self, recorder: Recorder, file: Any, mode: str, closefd: bool, opener: Any
    ) -> None:
        self._recorder = recorder
        with recorder._lock:
            if isinstance(file, int):
                super().__init__(file, mode, closefd, opener)
                self._number = recorder._of_handle(file)
                return
            slot = recorder._slot(file)
            is_new = not _is_there(file, None)
            super().__init__(file, mode, closefd, opener)
            self._number = recorder._create(slot, is_new, "w" in mode, self.fileno())

    def write(self, data: Any) -> int:
        with self._recorder._lock:
            offset = os.fstat(self.fileno()).st_size if "a" in self.mode else self.tell()
            count = super().write(data)
            self._recorder._write(self._number, offset, memoryview(data).cast("B")[:count])
            return count

    def truncate(self, size: int | None = None) -> int:
        with self._recorder._lock:
            size = super().truncate(size)
            self._recorder._cut(self._number, size)
            return size


# --- What a power cut leaves --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Part:
    """What is left of a write: some of its sectors, by number; and whether the file grew by it."""

    sectors: frozenset[int] = frozenset()
    is_full_length: bool = False


NOTHING: Final = Part()

Item = tuple[str, Any, Any]
"""Something that is not durable: ``("name", folder, name)`` or ``("bytes", inode, change)``."""

Loss = Mapping[Item, Any]
"""What became of items: which older file a name leads to, which part of a write is left.

What it does not mention is kept in full.
"""


@dataclass(frozen=True, slots=True)
class Change:
    """A write (of ``data`` at an offset) or a truncation (to the offset) that is not durable."""

    offset: int
    data: bytes | None
    path: str

    def sectors(self) -> list[tuple[int, int]]:
        """Cut the data where the file's sectors end: pairs of start and end in the data."""
        size = len(self.data or b"")
        first = SECTOR - self.offset % SECTOR
        cuts = [0, *range(first, size, SECTOR), size]
        return [(a, b) for a, b in itertools.pairwise(cuts) if a < b]


class Medium:
    """A disk after some prefix of a log."""

    def __init__(self, start: Image) -> None:
        """Begin with an image, all of it durable."""
        self._folders: set[int] = {ROOT}
        self._durable: dict[int, bytes] = {}
        self._changes: dict[int, list[Change]] = {}
        self._names: dict[int, dict[str, list[int | None]]] = {ROOT: {}}
        self._open: dict[Slot, None] = {}
        self._kept: dict[int, bytes] = {}
        self._paths: dict[int, str] = {ROOT: ""}
        self._seed(start, "", ROOT, ROOT)

    def _seed(self, start: Image, prefix: str, folder: int, number: int) -> int:
        """Number what is there as the recorder does: folders and files by name, depth first."""
        children = {path[len(prefix) :].split("/")[0] for path in start if path.startswith(prefix)}
        for name in sorted(children - {""}):
            number += 1
            self._names[folder][name] = [number]
            self._paths[number] = prefix + name
            if prefix + name + "/" in start:
                self._folders.add(number)
                self._names[number] = {}
                number = self._seed(start, f"{prefix}{name}/", number, number)
            else:
                self._durable[number] = start[prefix + name]
        return number

    def apply(self, event: Event) -> None:
        """Go one event further."""
        number = event.inode
        if event.verb in ("create", "mkdir"):
            if event.verb == "create":
                self._durable[number] = b""
            else:
                self._folders.add(number)
                self._names[number] = {}
            self._paths[number] = event.path
            self._name(event.slot, number)
        elif event.verb == "write":
            self._change(number, Change(event.offset, event.data, event.path))
        elif event.verb == "truncate":
            self._change(number, Change(event.offset, None, event.path))
        elif event.verb == "sync":
            self._sync(number)
        elif event.verb == "link":
            self._paths[number] = event.path
            self._name(event.slot, number)
        elif event.verb == "rename":
            self._paths[number] = event.path
            self._name(event.old_slot, None)
            self._name(event.slot, number)
        elif event.verb in ("unlink", "rmdir"):
            self._name(event.slot, None)

    def _change(self, number: int, change: Change) -> None:
        self._changes.setdefault(number, []).append(change)
        self._kept.pop(number, None)

    def _name(self, slot: Slot | None, number: int | None) -> None:
        assert slot is not None
        history = self._names[slot[0]].setdefault(slot[1], [None])
        if history[-1] != number:
            history.append(number)
        self._open[slot] = None

    def _sync(self, number: int) -> None:
        if number in self._folders:
            for name, history in self._names[number].items():
                del history[:-1]
                self._open.pop((number, name), None)
        else:
            self._durable[number] = self._content(number, {})
            self._changes.pop(number, None)
            self._kept.pop(number, None)

    def items(self) -> dict[Item, int]:
        """Return what is not durable, and in how many ways a name may be lost (bytes: 0)."""
        found: dict[Item, int] = {}
        for folder, name in self._open:
            ways = len(self._names[folder][name]) - 1
            if ways:
                found["name", folder, name] = ways
        for number, changes in self._changes.items():
            for index in range(len(changes)):
                found["bytes", number, index] = 0
        return found

    def all_lost(self) -> dict[Item, Any]:
        """Return the loss of everything that is not durable."""
        return {item: 0 if item[0] == "name" else NOTHING for item in self.items()}

    def is_garbage(self, item: Item) -> bool:
        """Tell whether the item is a name or a file in a folder that is garbage by design."""
        path = self._paths[item[1]]
        if item[0] == "name":
            path += f"/{item[2]}"
        return any(part in f"/{path}" for part in ("/tmp/", "/leases/"))

    def change(self, item: Item) -> Change:
        """Return the write or truncation that an item is."""
        return self._changes[item[1]][item[2]]

    def parts(self, item: Item) -> Iterator[Part]:
        """List what may be left of a write, at a few of its sectors' borders: see ``Part``."""
        change = self.change(item)
        yield NOTHING
        if change.data is None:
            return
        count = len(change.sectors())
        everything = frozenset(range(count))
        yield Part(frozenset(), True)
        if count > 1:
            for cut in sorted({1, 2, count // 2, count - 1} - {0, count}):
                head = frozenset(range(cut))
                yield Part(head, False)
                yield Part(head, True)
                yield Part(everything - head, True)
            for hole in sorted({0, 1, count // 2, count - 1}):
                yield Part(everything - {hole}, True)

    def random_loss(self, chance: random.Random) -> dict[Item, Any]:
        """Draw a loss: of few things or of many."""
        loss: dict[Item, Any] = {}
        rate = chance.choice((0.1, 0.5, 0.9))
        for item, ways in self.items().items():
            if chance.random() >= rate:
                continue
            if item[0] == "name":
                loss[item] = chance.randrange(ways)
                continue
            count = len(self.change(item).sectors())
            kind = chance.randrange(4)
            if kind == 0 or self.change(item).data is None:
                loss[item] = NOTHING
            elif kind == 1:
                loss[item] = Part(frozenset(range(chance.randrange(count))), False)
            else:
                left = frozenset(i for i in range(count) if chance.random() < 0.5)
                loss[item] = Part(left, True)
        return loss

    def image(self, loss: Loss) -> Image:
        """Return the folder that is found after a loss."""
        found: Image = {}
        self._walk(ROOT, "", loss, found, set())
        return found

    def _walk(self, folder: int, prefix: str, loss: Loss, found: Image, above: set[int]) -> None:
        for name, history in self._names[folder].items():
            number = history[loss.get(("name", folder, name), -1)] if loss else history[-1]
            if number is None or number in above:
                continue
            if number in self._folders:
                found[f"{prefix}{name}/"] = b""
                self._walk(number, f"{prefix}{name}/", loss, found, above | {number})
            else:
                found[prefix + name] = self._content(number, loss)

    def _content(self, number: int, loss: Loss) -> bytes:
        changes = self._changes.get(number)
        if not changes:
            return self._durable[number]
        parts = [loss.get(("bytes", number, index)) for index in range(len(changes))]
        if any(part is not None for part in parts):
            return _applied(self._durable[number], changes, parts)
        if number not in self._kept:
            self._kept[number] = _applied(self._durable[number], changes, parts)
        return self._kept[number]

    def describe(self, loss: Loss) -> list[str]:
        """Say what was lost, one line each."""
        lines = []
        for item, choice in loss.items():
            if item[0] == "name":
                path = f"{self._paths[item[1]]}/{item[2]}"
                older, newer = (
                    self._names[item[1]][item[2]][choice],
                    self._names[item[1]][item[2]][-1],
                )
                was = "absent" if older is None else f"file {older}"
                now = "absent" if newer is None else f"file {newer}"
                lines.append(f"the name {path} is {was} (was asked for: {now})")
            else:
                change = self.change(item)
                what = "truncation to" if change.data is None else f"write of {len(change.data)} at"
                count = len(change.sectors())
                left = f"sectors {sorted(choice.sectors)} of {count}"
                length = "the file has its new length" if choice.is_full_length else "no new length"
                lines.append(f"of the {what} {change.offset} in {change.path}: {left}, {length}")
        return lines


def _applied(durable: bytes, changes: list[Change], parts: list[Part | None]) -> bytes:
    content = bytearray(durable)
    for change, part in zip(changes, parts, strict=True):
        if change.data is None:
            if part is None:
                _resize(content, change.offset)
        elif part is None:
            _overwrite(content, change.offset, change.data)
        else:
            if part.is_full_length:
                _resize(content, max(len(content), change.offset + len(change.data)))
            for number, (start, end) in enumerate(change.sectors()):
                if number in part.sectors:
                    _overwrite(content, change.offset + start, change.data[start:end])
    return bytes(content)


def _resize(content: bytearray, size: int) -> None:
    del content[size:]
    content.extend(bytes(size - len(content)))


def _overwrite(content: bytearray, offset: int, data: bytes) -> None:
    if offset > len(content):
        _resize(content, offset)
    content[offset : offset + len(data)] = data


def write_image(folder: Path, image: Image) -> None:
    """Make a folder out of an image."""
    folder.mkdir()
    for path, content in image.items():
        if path.endswith("/"):
            os.mkdir(folder / path)
        else:
            handle = os.open(folder / path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            os.write(handle, content)
            os.close(handle)


def read_image(folder: Path) -> Image:
    """Return the image of a folder, caches left out."""
    image: Image = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir():
            image[name + "/"] = b""
        elif not path.name.startswith(CACHES):
            image[name] = path.read_bytes()
    return image


def spoilt(caches: Image, chance: random.Random) -> Image:
    """Return what a power cut may leave of caches: logs and unsynced ones are torn, or gone."""
    left: Image = {}
    for path, content in caches.items():
        if path.endswith("index.db"):
            left[path] = content
        elif chance.random() < 0.8:
            torn = bytearray(content[: chance.randrange(len(content) + 1)])
            for start in range(0, len(torn), SECTOR):
                if chance.random() < 0.2:
                    torn[start : start + SECTOR] = bytes(len(torn[start : start + SECTOR]))
            left[path] = bytes(torn)
    return left
